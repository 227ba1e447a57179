//! How it stands with the InfluxDB: for `/healthz`, `/metrics` and the About page. Written by the lanes, per request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{info, warn};

use super::wire::client::Server;
use crate::counters::{Counter, Reasons};
use crate::model::now_unix_nanos;

/// The shared state; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct InfluxdbStatus(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counts: Counts,
    standing: Mutex<Standing>,
}

/// What is counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Requests that wrote.
    pub(crate) requests: Counter,
    /// Bytes of lines in answered requests, whatever the answer.
    pub(crate) bytes: Counter,
    /// Points that the server took.
    pub(crate) points: Counter,
    /// Points that it will never take, by reason.
    pub(crate) refused: Reasons,
    /// Requests that were sent again.
    pub(crate) retries: Counter,
    /// Requests that were halved to find a line or to fit.
    pub(crate) bisections: Counter,
    /// Spans that are wholly there.
    pub(crate) spans: Counter,
}

/// Whether the server takes what is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether every lane gets on; `None` before the first answer.
    pub reachable: Option<bool>,
    /// Since when, Unix nanoseconds.
    pub since_unix_nanos: u64,
    /// The last trouble, in words; it stays after the trouble is over.
    pub last_error: Option<String>,
    /// When that was, Unix nanoseconds.
    pub last_error_unix_nanos: u64,
    /// What the server said last when it would not take points; they are counted and not sent again.
    pub last_refusal: Option<String>,
    /// What keeps which lane waiting.
    pub troubles: BTreeMap<&'static str, String>,
    /// The server's kind and version.
    pub server: Option<Server>,
}

impl Standing {
    fn change(&mut self, reachable: bool) {
        self.reachable = Some(reachable);
        self.since_unix_nanos = now_unix_nanos();
    }

    fn note(&mut self, problem: String) {
        self.last_error = Some(problem);
        self.last_error_unix_nanos = now_unix_nanos();
    }
}

/// The counts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InfluxdbFigures {
    /// Whether the server takes what is written.
    pub reachable: bool,
    /// Requests that wrote.
    pub requests: u64,
    /// Bytes of lines sent.
    pub bytes: u64,
    /// Points that the server took.
    pub points: u64,
    /// Points that it will never take, by reason (`type_conflict`, `outside_retention`, `unparsable`, `refused_alone`, ...).
    pub points_refused: BTreeMap<&'static str, u64>,
    /// Requests that were sent again.
    pub retries: u64,
    /// Requests that were halved, to find a line that cannot be read or to fit.
    pub bisections: u64,
    /// Spans that are wholly in InfluxDB.
    pub spans: u64,
}

impl InfluxdbStatus {
    /// Returns the counts.
    pub fn figures(&self) -> InfluxdbFigures {
        let counts = &self.0.counts;
        InfluxdbFigures {
            reachable: self.standing().reachable == Some(true),
            requests: counts.requests.get(),
            bytes: counts.bytes.get(),
            points: counts.points.get(),
            points_refused: counts.refused.all(),
            retries: counts.retries.get(),
            bisections: counts.bisections.get(),
            spans: counts.spans.get(),
        }
    }

    /// Returns whether the server can be reached, since when, and what was wrong last.
    pub fn standing(&self) -> Standing {
        self.lock().clone()
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Notes that the server did what a lane asked.
    pub(crate) fn well(&self, lane: &'static str) {
        let mut standing = self.lock();
        let recovered = standing.troubles.remove(lane).is_some();
        let first = standing.reachable.is_none();
        if standing.troubles.is_empty() && (recovered || first) {
            standing.change(true);
            drop(standing);
            info!("InfluxDB takes what is written");
        }
    }

    /// Notes what the server is.
    pub(crate) fn is(&self, server: Server) {
        self.lock().server = Some(server);
    }

    /// Notes a failure that may be over with the next try: nobody is alarmed yet.
    pub(crate) fn stumble(&self, problem: &dyn std::fmt::Display) {
        self.lock().note(problem.to_string());
    }

    /// Notes that a lane does not get on; logged when the words change, not at every try.
    pub(crate) fn trouble(&self, lane: &'static str, problem: &dyn std::fmt::Display) {
        let problem = problem.to_string();
        let mut standing = self.lock();
        standing.note(problem.clone());
        if standing.reachable != Some(false) {
            standing.change(false);
        }
        let before = standing.troubles.insert(lane, problem.clone());
        drop(standing);
        if before.as_ref() != Some(&problem) {
            warn!(
                lane,
                problem, "InfluxDB does not take what is written; the journal keeps it"
            );
        }
    }

    /// Counts points that the server will never take.
    pub(crate) fn refused(&self, reason: &'static str, points: u64, said: &str) {
        self.0.counts.refused.add(reason, points);
        self.lock().last_refusal = Some(said.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0
            .standing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_well_when_every_lane_is_and_the_last_trouble_stays_to_be_read() {
        let status = InfluxdbStatus::default();
        assert_eq!(status.standing().reachable, None);
        status.trouble("spans", &"no connection");
        let first = status.standing();
        status.trouble("series", &"503");
        status.well("spans");
        let second = status.standing();
        assert_eq!(second.reachable, Some(false));
        assert_eq!(first.since_unix_nanos, second.since_unix_nanos);
        assert_eq!(second.last_error.as_deref(), Some("503"));
        status.well("series");
        status.stumble(&"connection reset");
        let well = status.standing();
        assert_eq!(well.reachable, Some(true));
        assert_eq!(well.last_error.as_deref(), Some("connection reset"));
        assert!(status.clone().figures().reachable, "clones are the same");
    }
}
