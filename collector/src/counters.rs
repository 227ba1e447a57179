//! The collector's own counters, shown on `/metrics`: plain atomics, written per request or batch, never per span.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync::Mutex;

/// One monotonic count.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the count.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Subtracts from a gauge (queued bytes, open connections).
    pub fn sub(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    /// Returns the count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts by reason; reasons are fixed words, so their number is bounded.
#[derive(Debug, Default)]
pub struct Reasons(Mutex<BTreeMap<&'static str, u64>>);

impl Reasons {
    /// Adds to the count of a reason.
    pub fn add(&self, reason: &'static str, amount: u64) {
        if amount > 0 {
            *self.0.lock().entry(reason).or_default() += amount;
        }
    }

    /// Returns the sum over all reasons.
    pub fn total(&self) -> u64 {
        self.all().values().sum()
    }

    /// Returns every reason with its count.
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().clone()
    }
}

/// Declares the incidents with their words on `/metrics`.
macro_rules! incidents {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// An event worth counting: something was dropped, repaired, or failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Incident {
            $($(#[$doc])* $name,)*
        }

        impl Incident {
            /// Every incident, in the order of the words.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the word on `/metrics`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

incidents! {
    /// A connection could not be accepted.
    AcceptFailed = "accept_failed",
    /// A connection was closed because its client did not read an answer.
    AnswerUnread = "answer_unread",
    /// An attribute was stored outside of columns because its block has too many.
    AttributeOverflow = "attribute_overflow",
    /// A log record of a circuit event was invalid.
    BadCircuitEvent = "bad_circuit_event",
    /// A metric point of a circuit was invalid.
    BadCircuitPoint = "bad_circuit_point",
    /// A breaker beyond the limit of instances opened, which is not shown.
    CircuitOpeningLimit = "circuit_opening_limit",
    /// A block of spans could not be written; its senders got an error.
    CommitFailed = "commit_failed",
    /// A block failed its checksum and was skipped.
    DamagedBlock = "damaged_block",
    /// A segment's footer was rebuilt from its blocks.
    DamagedFooter = "damaged_footer",
    /// A span was lost: its block failed its checksum and could not be repaired.
    DamagedSpan = "damaged_span",
    /// Decoding a request panicked; the request was rejected.
    DecodePanicked = "decode_panicked",
    /// A call was counted under the dependency map's edge of the rest.
    DependencyEdgeLimit = "dependency_edge_limit",
    /// The dependency map started to sample a smaller share of traces.
    DependencySampling = "dependency_sampling",
    /// A call half was evicted before its other half arrived.
    DependencyTableFull = "dependency_table_full",
    /// A call half expired without its other half.
    DependencyUnpaired = "dependency_unpaired",
    /// A call half without a named peer expired.
    DependencyUnpairedWithoutPeer = "dependency_unpaired_without_peer",
    /// A value was stored literally because its dictionary is full.
    DictionaryOverflow = "dictionary_overflow",
    /// A foreign file among the segments was left alone.
    ForeignFile = "foreign_file",
    /// A query to InfluxDB failed.
    InfluxdbReadFailed = "influxdb_read_failed",
    /// A record too far in the future was not sent to InfluxDB.
    InfluxdbRecordAheadOfTime = "influxdb_record_ahead_of_time",
    /// A log record lay too far in the past to be sent to InfluxDB, which keeps none that old.
    InfluxdbRecordTooOld = "influxdb_record_too_old",
    /// A span, or what log records say of their sender, was shortened to fit into a point of InfluxDB.
    InfluxdbSpanShortened = "influxdb_span_shortened",
    /// A block to be sent to InfluxDB was unreadable.
    InfluxdbUnreadableBlock = "influxdb_unreadable_block",
    /// A segment to be sent to InfluxDB was unreadable.
    InfluxdbUnreadableSegment = "influxdb_unreadable_segment",
    /// A span was left out of the live figures because too many waited for one commit.
    LiveBlockLimit = "live_block_limit",
    /// A minute of the live figures could not be written.
    LiveMinuteLost = "live_minute_lost",
    /// A call was counted under its service's operation of the rest.
    LiveOperationLimit = "live_operation_limit",
    /// A repeated span was counted only once.
    LiveRepeatedSpan = "live_repeated_span",
    /// A log record was deleted before InfluxDB had it.
    LogRecordsLostUnshipped = "log_records_lost_unshipped",
    /// A full or old segment could not be sealed in time.
    MaintenanceFailed = "maintenance_failed",
    /// A damaged footer could not be rebuilt.
    RebuildFailed = "rebuild_failed",
    /// A page of a block failed its checksum and was restored.
    RepairedPage = "repaired_page",
    /// Data past the retention could not be deleted.
    RetentionFailed = "retention_failed",
    /// A segment could not be sealed; it stays readable.
    SealFailed = "seal_failed",
    /// A breaker beyond the limit of instances was dropped.
    SeriesLimit = "series_limit",
    /// An ingest shard panicked and recovered.
    ShardPanicked = "shard_panicked",
    /// A span was deleted before it was shipped to InfluxDB.
    SpansLostUnshipped = "spans_lost_unshipped",
    /// A span lost its name, its service or an attribute, because the damaged block that introduced it was
    /// lost; `(lost)` is shown.
    StrippedSpan = "stripped_span",
    /// A file ended within a block, which was truncated away.
    TornTail = "torn_tail",
    /// A part of the log records could not be read and was skipped.
    UnreadableLogs = "unreadable_logs",
    /// A record of the log store or the series journal was unreadable.
    UnreadableRecord = "unreadable_record",
    /// A part of the series journal could not be read and was skipped.
    UnreadableSeries = "unreadable_series",
}

impl Incident {
    /// Returns whether healthy senders and peers cause it.
    fn is_of_traffic(self) -> bool {
        matches!(
            self,
            Self::DependencyUnpaired | Self::DependencyUnpairedWithoutPeer | Self::LiveRepeatedSpan
        )
    }
}

/// Counts by incident.
#[derive(Debug)]
pub struct Incidents([Counter; Incident::ALL.len()]);

impl Default for Incidents {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl Incidents {
    /// Adds to the count of an incident.
    pub fn add(&self, incident: Incident, amount: u64) {
        self.0[incident as usize].add(amount);
    }

    /// Returns the count of an incident.
    pub fn of(&self, incident: Incident) -> u64 {
        self.0[incident as usize].get()
    }

    /// Returns the sum over all incidents.
    pub fn total(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }

    /// Returns the sum over incidents that mean damage, failure or overload of the collector. The others are
    /// part of normal traffic: a peer without spans leaves half a call without the other, and senders send
    /// again.
    pub fn faults(&self) -> u64 {
        let counts = Incident::ALL.iter().zip(&self.0);
        let faults = counts.filter(|(incident, _)| !incident.is_of_traffic());
        faults.map(|(_, count)| count.get()).sum()
    }

    /// Returns the nonzero counts, by the word of the incident.
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        let counts = Incident::ALL.iter().zip(&self.0);
        counts
            .map(|(incident, count)| (incident.as_str(), count.get()))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

/// Declares the counters with their help texts on `/metrics`.
macro_rules! counters {
    (
        totals { $($total:ident: $total_help:literal,)* }
        gauges { $($gauge:ident: $gauge_help:literal,)* }
        reasons { $($reason:ident: $kind:ident, $reason_help:literal,)* }
    ) => {
        /// Everything the collector counts about itself.
        ///
        /// Two invariants, which tests check while nothing is in flight: `spans_received = spans_written +
        /// spans_refused + spans_queued` and `requests_received = requests_accepted + requests_refused`.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = $total_help] pub $total: Counter,)*
            $(#[doc = $gauge_help] pub $gauge: Counter,)*
            $(#[doc = $reason_help] pub $reason: $kind,)*
            /// Nanoseconds from receiving the last committed block's first request to its sync (a gauge).
            pub commit_lag_nanos: AtomicU64,
        }

        impl Counters {
            pub(crate) fn totals(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($total), $total_help, self.$total.get()),)*].into_iter()
            }

            pub(crate) fn gauges(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($gauge), $gauge_help, self.$gauge.get()),)*].into_iter()
            }

            pub(crate) fn reasons(&self) -> impl Iterator<Item = (&'static str, &'static str, BTreeMap<&'static str, u64>)> {
                [$((stringify!($reason), $reason_help, self.$reason.all()),)*].into_iter()
            }
        }
    };
}

counters! {
    totals {
        requests_received: "Requests received.",
        requests_accepted: "Requests answered with success, partial success included.",
        bytes_received: "Body bytes received, as sent.",
        spans_received: "Spans found in readable requests.",
        spans_written: "Spans durable on disk.",
        bytes_written: "Bytes written to segments.",
        items_truncated: "Attributes, events and links cut by a limit.",
        texts_replaced: "Strings in which ill-formed text was replaced with U+FFFD.",
        values_left_out: "Values of JSON that their field cannot hold, left out.",
        messages_empty: "Messages in JSON that hold keys and nothing that is read.",
        metric_points_ignored: "Metric points that belong to no circuit.",
        metric_points_circuit: "Metric points of circuits.",
        log_records_written: "Log records made durable.",
        circuit_events: "Circuit events received.",
    }
    gauges {
        connections_open: "Connections open on all listeners.",
        spans_queued: "Spans accepted and not yet durable.",
        queue_bytes: "Request bytes held: received, inflated or waiting for a shard.",
    }
    reasons {
        requests_refused: Reasons, "Requests answered with an error.",
        connections_refused: Reasons, "Connections closed without serving a request.",
        spans_refused: Reasons, "Spans refused, one by one or with their block.",
        segments_deleted: Reasons, "Segments deleted, and days of the series.",
        spans_deleted: Reasons, "Spans deleted with their segments.",
        bytes_deleted: Reasons, "Bytes of segments and series deleted.",
        incidents: Incidents, "Things dropped or repaired on the way.",
    }
}
