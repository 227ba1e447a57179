//! Extents: runs of blocks of a segment, as listed in the index and its hints.

use std::time::Duration;

use super::block::{Header, LogCodec, Zone, service_bit};
use super::filter::TraceFilter;
use crate::log::BlockCodec;
use crate::model::{LogQuery, UnixNanos};

/// Size after which a new extent starts: the unit of reading in a search.
const EXTENT_BYTES: u64 = 256 * 1024;
/// Age after which a new extent starts.
const EXTENT: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) zone: Zone,
    pub(super) records: u64,
    pub(super) began: UnixNanos,
    pub(super) ended: UnixNanos,
    pub(super) traces: TraceFilter,
}

/// A written block: its place, header and traces.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) offset: u64,
    pub(super) header: Header,
    pub(super) traces: TraceFilter,
}

impl Extent {
    pub(super) fn of(block: &Placed) -> Self {
        let Placed {
            offset,
            header,
            traces,
        } = block;
        Self {
            offset: *offset,
            len: LogCodec.block_bytes(header),
            zone: header.zone,
            records: u64::from(header.records),
            began: header.arrived,
            ended: header.arrived,
            traces: traces.clone(),
        }
    }

    pub(super) fn add(&mut self, block: &Placed) {
        let Placed {
            offset,
            header,
            traces,
        } = block;
        self.len = offset + LogCodec.block_bytes(header) - self.offset;
        self.zone = self.zone.with(header.zone);
        self.records += u64::from(header.records);
        self.ended = self.ended.max(header.arrived);
        self.traces.merge(traces);
    }

    pub(super) fn has_room(&self, block: &Placed) -> bool {
        self.len < EXTENT_BYTES && block.header.arrived - self.began < EXTENT
    }

    pub(super) fn end_offset(&self) -> u64 {
        self.offset + self.len
    }

    /// Returns whether it may have a matching record.
    pub(super) fn may_hold(&self, query: &LogQuery) -> bool {
        let service = query.service.as_deref().map_or(u64::MAX, service_bit);
        let trace = query.trace_id;
        self.zone.overlaps(query.page_range())
            && self.zone.services & service != 0
            && query
                .severity
                .is_none_or(|least| self.zone.severity >= least)
            && trace.is_none_or(|trace| self.traces.may_hold(trace.to_bytes()))
    }
}
