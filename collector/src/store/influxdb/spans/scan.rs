//! Looks backwards through what arrived, in windows that grow: whatever matches often is found in the first minutes,
//! and only what matches seldom reads a week.
//!
//! Where every condition is on a tag or field of the index points, those are read; else the payloads, whose spans then
//! decide (`compile`).

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::TraceId;
use tokio::time::Instant;

use super::Found;
use super::by_id::texts_of;
use super::compile::Compiled;
use super::payload;
use crate::model::{Span, TraceQuery};
use crate::store::StoreError;
use crate::store::influxdb::wire::client::Client;

/// How far a sender's clock may be ahead of ours and its spans still be in their place.
pub(crate) const CLOCK_SKEW_NANOS: u64 = 2 * 1_000_000_000;
/// The first window; each next one is longer by `WINDOW_GROWTH`: 5 min, 30 min, 3 h, 18 h, the rest of the week.
const FIRST_WINDOW_NANOS: u64 = 5 * 60 * 1_000_000_000;
const WINDOW_GROWTH: u64 = 6;
/// A window grows while it is read faster than that, so that the next one is read in time too.
const QUICK: Duration = Duration::from_secs(1);
/// Index points in the first answer, and in the largest.
const ROWS_FIRST: usize = 200;
const ROWS_MAX: usize = 5_000;
/// Payloads in one answer; each has up to 60 KB.
const PAYLOADS_MAX: usize = 100;

/// A look backwards.
#[derive(Debug)]
pub(crate) struct Scan {
    client: Arc<Client>,
    query: TraceQuery,
    compiled: Compiled,
    /// Where the look ends.
    since: u64,
    /// What arrived before is still to be looked at.
    until: u64,
    window: u64,
    rows: usize,
}

impl Scan {
    pub(super) fn new(client: Arc<Client>, query: &TraceQuery, since: u64, until: u64) -> Self {
        Self {
            client,
            query: query.clone(),
            compiled: Compiled::new(&query.conditions),
            since,
            until: until.max(since),
            window: FIRST_WINDOW_NANOS,
            rows: ROWS_FIRST,
        }
    }

    /// Returns before when nothing has been looked at; `None` when all has.
    pub(crate) fn frontier(&self) -> Option<u64> {
        (self.until > self.since).then_some(self.until)
    }

    /// Looks at the next stretch and returns the traces with a matching span in it.
    pub(crate) async fn step(&mut self) -> Result<Vec<Found>, StoreError> {
        let from = self.until.saturating_sub(self.window).max(self.since);
        let by_payload = self.compiled.needs_payloads();
        let most = if by_payload { PAYLOADS_MAX } else { self.rows };
        let query = self.compiled.query(from, self.until, most);
        let begun = Instant::now();
        let answer = self.client.query(&query).await?;
        let is_quick = begun.elapsed() < QUICK;
        let rows: Vec<(u64, &str)> = answer.iter().flat_map(texts_of).collect();
        self.until = match rows.iter().map(|(time, _)| *time).min() {
            // Several collectors may have written at the same nanosecond: that one is looked at again.
            Some(oldest) if rows.len() >= most => oldest.saturating_add(1).min(self.until - 1),
            _ => from,
        };
        if rows.len() < most && is_quick {
            self.window = self.window.saturating_mul(WINDOW_GROWTH);
        }
        self.rows = (self.rows * 2).min(ROWS_MAX);
        let found = |(time, text): &(u64, &str)| match by_payload {
            true => found_in_payload(&self.query, *time, text),
            false => found_in_index(*time, text),
        };
        Ok(rows.iter().flat_map(found).collect())
    }
}

/// Reads an index point's text: trace id, span id, start.
fn found_in_index(time: u64, text: &str) -> Option<Found> {
    let mut parts = text.split(' ');
    let id = TraceId::from_hex(parts.next()?).ok()?;
    let start = parts.nth(1)?.parse().ok()?;
    Some(Found {
        id,
        start,
        arrival: Some(time),
    })
}

/// Returns the trace of a payload if one of its spans matches, by the earliest that does.
fn found_in_payload(query: &TraceQuery, time: u64, text: &str) -> Option<Found> {
    let spans = payload::decode(text)?;
    let matching = spans.iter().filter(|span| query.matches(span));
    let first: &Span = matching.min_by_key(|span| span.start_unix_nanos)?;
    Some(Found {
        id: first.trace_id,
        start: first.start_unix_nanos,
        arrival: Some(time),
    })
}
