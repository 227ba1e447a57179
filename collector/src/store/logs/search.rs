//! One page of log records, newest first.
//!
//! Extents are read in the order of their latest records, and the page keeps the newest matches. It is
//! complete once no remaining extent can have a newer record than the last one kept.

use std::collections::BTreeMap;

use super::block::{LogCodec, columns_of};
use super::columns::{Columns, Head};
use super::index::Found;
use crate::log::{Block, BlockCodec, StoreError, blocks};
use crate::model::{
    LogCursor, LogPage, LogQuery, LogRecord, NANOSECOND, SECOND, UnixNanos, format_timestamp,
};
use crate::store::cancel;

/// Memory of a page's records: with the overhead of reading and rendering it stays below the limit of a
/// request.
pub(super) const PAGE_BYTES_MAX: usize = 16 << 20;

/// The newest matching records so far, by time and id.
#[derive(Debug)]
pub(crate) struct Newest {
    query: LogQuery,
    lower: String,
    records: BTreeMap<(UnixNanos, u64), LogRecord>,
    bytes: usize,
    /// The newest record that did not fit: everything older belongs to the next page.
    left_out: Option<(UnixNanos, u64)>,
}

impl Newest {
    /// Returns the page of a search that has seen nothing yet.
    pub(crate) fn new(query: &LogQuery) -> Self {
        Self {
            query: query.clone(),
            lower: query.text.to_lowercase(),
            records: BTreeMap::new(),
            bytes: 0,
            left_out: None,
        }
    }

    /// Returns whether records up to `latest` cannot belong to this page any more.
    pub(crate) fn is_settled(&self, latest: UnixNanos) -> bool {
        self.left_out.is_some_and(|(time, _)| time > latest)
    }

    /// Reads the records of an extent; returns how many were unreadable.
    pub(super) fn read(&mut self, extent: &[u8]) -> Result<u64, StoreError> {
        let mut lost = 0;
        for block in blocks(LogCodec, extent) {
            cancel::check()?;
            let zone = &block.header.zone;
            let least = self.query.severity;
            if !zone.overlaps(self.query.page_range())
                || least.is_some_and(|least| zone.severity < least)
                || self.is_settled(zone.end)
            {
                continue;
            }
            lost += self.block(&block)?;
        }
        Ok(lost)
    }

    fn block(
        &mut self,
        block: &Block<'_, <LogCodec as BlockCodec>::Header>,
    ) -> Result<u64, StoreError> {
        let (query, left_out) = (self.query.clone(), self.left_out);
        let wanted = |head: &Head, service: &str| {
            query.matches_head(head.time, head.severity, head.trace_id, head.span_id)
                && query.is_behind_cursor(head.time, head.id)
                && left_out.is_none_or(|left_out| (head.time, head.id) > left_out)
                && query
                    .service
                    .as_deref()
                    .is_none_or(|wanted| wanted == service)
        };
        visit(block, wanted, |record| self.take(record))
    }

    /// Keeps a record if it matches, comes after the cursor and is among the newest.
    pub(crate) fn offer(&mut self, record: LogRecord) -> Result<(), StoreError> {
        match self.query.is_behind_cursor(record.time, record.id) {
            true => self.take(record),
            false => Ok(()),
        }
    }

    fn take(&mut self, record: LogRecord) -> Result<(), StoreError> {
        cancel::spend(record.own_bytes())?;
        let key = (record.time, record.id);
        let is_old = self.left_out.is_some_and(|left_out| key <= left_out);
        if is_old || self.records.contains_key(&key) || !self.query.matches(&record, &self.lower) {
            return Ok(());
        }
        self.bytes += record.memory_bytes();
        self.records.insert(key, record);
        let limit = self.query.limit.clamp(1, LogQuery::LIMIT_MAX);
        while self.records.len() > limit || (self.bytes > PAGE_BYTES_MAX && self.records.len() > 1)
        {
            if let Some((key, record)) = self.records.pop_first() {
                self.bytes -= record.memory_bytes();
                self.left_out = self.left_out.max(Some(key));
            }
        }
        Ok(())
    }

    /// Returns the page; if the search ran out of time with records up to `unread` left, only those after it.
    pub(crate) fn page(mut self, unread: Option<UnixNanos>) -> LogPage {
        let unread = unread.filter(|unread| !self.is_settled(*unread));
        if let Some(unread) = unread {
            self.records.retain(|(time, _), _| *time > unread);
        }
        let mut records: Vec<LogRecord> = self.records.into_values().collect();
        records.reverse();
        let last = records.last().map(|record| LogCursor {
            time: record.time,
            id: record.id,
        });
        let Some(unread) = unread else {
            let next = last.filter(|_| self.left_out.is_some());
            return LogPage {
                records,
                next,
                ..LogPage::default()
            };
        };
        let reached = format_timestamp(unread.floor(SECOND));
        let is_forward = unread + NANOSECOND < self.query.page_range().end;
        let next = LogCursor {
            time: unread,
            id: u64::MAX,
        };
        LogPage {
            records,
            next: is_forward.then_some(next),
            missing: Some(format!("the search took long and stopped at {reached}")),
            ended_early: true,
        }
    }
}

/// Visits the records of a block that `wanted` chooses by head and service; returns how many could not be read.
pub(super) fn visit(
    block: &Block<'_, <LogCodec as BlockCodec>::Header>,
    wanted: impl Fn(&Head, &str) -> bool,
    visit: impl FnMut(LogRecord) -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    let all = u64::from(block.header.records);
    let columns = block
        .is_whole
        .then(|| columns_of(&block.header, block.bytes))
        .flatten();
    let Some(columns) = columns else {
        return Ok(all);
    };
    match Columns::read(&columns).and_then(|columns| columns.visit(wanted, visit)) {
        Some(outcome) => outcome.map(|()| 0),
        None => Ok(all),
    }
}

/// Returns the latest time of a record in an extent, within the range of the page.
pub(super) fn latest(found: &Found, query: &LogQuery) -> UnixNanos {
    found.zone.end.min(query.page_range().end - NANOSECOND)
}
