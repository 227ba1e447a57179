//! The collector's own counters, shown on `/metrics`: plain atomics, written per request or batch, never per span.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// One monotonic count.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the count.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Takes away from a count that is a gauge (queued bytes, open connections).
    pub fn sub(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    /// Returns the count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts by a reason that is a fixed word of ours, so that the set stays small.
#[derive(Debug, Default)]
pub struct Reasons(Mutex<BTreeMap<&'static str, u64>>);

impl Reasons {
    /// Adds to the count of that reason.
    pub fn add(&self, reason: &'static str, amount: u64) {
        if amount > 0 {
            *self
                .0
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .entry(reason)
                .or_default() += amount;
        }
    }

    /// Returns the sum over all reasons.
    pub fn total(&self) -> u64 {
        self.all().values().sum()
    }

    /// Returns every reason with its count.
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }
}

/// Everything the collector counts about itself.
///
/// Two laws that tests hold at any quiet moment:
/// `spans_received = spans_written + spans_refused + spans_queued` and
/// `requests_received = requests_accepted + requests_refused`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests received, whatever came of them.
    pub requests_received: Counter,
    /// Requests answered with success, partial success included.
    pub requests_accepted: Counter,
    /// Requests answered with an error, by reason (`malformed`, `too_large`, `unsupported_encoding`, `full`, ...).
    pub requests_refused: Reasons,
    /// Connections open on all listeners (a gauge).
    pub connections_open: Counter,
    /// Connections closed without serving a request, by reason (`limit`, `tls`, `silent`).
    pub connections_refused: Reasons,
    /// Body bytes received, as sent (compressed).
    pub bytes_received: Counter,
    /// Spans found in readable requests.
    pub spans_received: Counter,
    /// Spans refused, by reason: one by one (partial success), or with their block (`store_error`).
    pub spans_refused: Reasons,
    /// Spans accepted and not yet durable (a gauge).
    pub spans_queued: Counter,
    /// Spans durable on disk.
    pub spans_written: Counter,
    /// Bytes written to segments.
    pub bytes_written: Counter,
    /// Attributes, events and links cut by a limit.
    pub items_truncated: Counter,
    /// Request bytes held: being received, being inflated or waiting for a shard (a gauge).
    pub queue_bytes: Counter,
    /// Metric points that belong to no circuit and are not kept.
    pub metric_points_ignored: Counter,
    /// Metric points of circuits.
    pub metric_points_circuit: Counter,
    /// Log records that are no circuit event and are not kept.
    pub log_records_ignored: Counter,
    /// Circuit events received.
    pub circuit_events: Counter,
    /// Things dropped or repaired on the way, by reason (`damaged_block`, `torn_tail`, `series_limit`, ...).
    pub incidents: Reasons,
    /// Nanoseconds from accepting the last committed block's first request to its sync (a gauge).
    pub commit_lag_nanos: AtomicU64,
}
