//! What is counted on the way to InfluxDB since the start: for `/metrics`, the About page and the collector's own point.

use std::collections::BTreeMap;

use crate::counters::{Counter, Reasons};

/// The counters, shared by the lanes.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Requests that wrote.
    pub(crate) requests: Counter,
    /// Bytes of lines in answered requests, whatever the answer.
    pub(crate) bytes: Counter,
    /// Points that the server accepted.
    pub(crate) points: Counter,
    /// Points that it refused for good, by reason.
    pub(crate) refused: Reasons,
    /// Requests that were sent again.
    pub(crate) retries: Counter,
    /// Requests that were halved to find a line or to fit.
    pub(crate) bisections: Counter,
    /// Spans that are wholly there.
    pub(crate) spans: Counter,
}

/// The counts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InfluxdbFigures {
    /// Whether the server is reachable.
    pub reachable: bool,
    /// Requests that wrote.
    pub requests: u64,
    /// Bytes of lines sent.
    pub bytes: u64,
    /// Points that the server accepted.
    pub points: u64,
    /// Points that it refused for good, by reason (`type_conflict`, `outside_retention`, `unparsable`, `refused_alone`,
    /// ...).
    pub points_refused: BTreeMap<&'static str, u64>,
    /// Requests that were sent again.
    pub retries: u64,
    /// Requests that were halved, to find a line that cannot be parsed or to fit.
    pub bisections: u64,
    /// Spans that are wholly in InfluxDB.
    pub spans: u64,
}

impl Counts {
    /// Returns the counts now.
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
        }
    }
}
