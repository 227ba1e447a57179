//! Counters of what was sent to InfluxDB since the start: for `/metrics`, the About page and the collector's
//! own point.

use std::collections::BTreeMap;

use crate::counters::{Counter, Reasons};

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: Counter,
    /// Bytes of lines in answered requests, whatever the status.
    pub(crate) bytes: Counter,
    pub(crate) points: Counter,
    /// Points rejected for good, by reason.
    pub(crate) refused: Reasons,
    pub(crate) retries: Counter,
    /// Requests split in half to isolate a bad line or to fit.
    pub(crate) bisections: Counter,
    pub(crate) spans: Counter,
    /// Log records that are.
    pub(crate) log_records: Counter,
}

/// A snapshot of the counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InfluxdbFigures {
    /// Whether the server is reachable.
    pub reachable: bool,
    /// Write requests.
    pub requests: u64,
    /// Bytes of lines sent.
    pub bytes: u64,
    /// Points accepted by the server.
    pub points: u64,
    /// Points rejected for good, by reason (`type_conflict`, `outside_retention`, `unparsable`,
    /// `refused_alone`, ...).
    pub points_refused: BTreeMap<&'static str, u64>,
    /// Retried requests.
    pub retries: u64,
    /// Requests split in half to isolate a bad line or to fit.
    pub bisections: u64,
    /// Spans written completely.
    pub spans: u64,
    /// Log records that are.
    pub log_records: u64,
}

impl Counts {
    pub(crate) fn figures(&self, reachable: bool) -> InfluxdbFigures {
        InfluxdbFigures {
            reachable,
            requests: self.requests.get(),
            bytes: self.bytes.get(),
            points: self.points.get(),
            points_refused: self.refused.all(),
            retries: self.retries.get(),
            bisections: self.bisections.get(),
            spans: self.spans.get(),
            log_records: self.log_records.get(),
        }
    }
}
