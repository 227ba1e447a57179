//! Every name in InfluxDB: the one place shared by the writer, the readers and Grafana's panels.
//!
//! Times: `span` and `span_idx` carry the arrival clock (`embedded::ArrivalClock`): strictly rising within a
//! collector, so no two points share series and time; `log` has a rule of its own. All else carries the time of its window, minute or event.
//! Where a field holds such a time it is a text of digits: openGemini keeps no integer more exactly than a float.
//! Tags are bounded (`names`): services x operations x instances decide how many series there are, never traffic.
//! Every measurement has the tag `c`, so that collectors that share a bucket never overwrite each other.

/// A measurement with the tags and fields that the writer sends and panels may query.
#[derive(Debug, Clone, Copy)]
pub struct Measurement {
    /// Its name.
    pub name: &'static str,
    /// Its tags, sorted.
    pub tags: &'static [&'static str],
    /// Its fields and their types, sorted.
    pub fields: &'static [(&'static str, FieldType)],
}

/// The type of a field; it never changes, because InfluxDB rejects a field with two types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// A 64-bit integer.
    Int,
    /// A 64-bit float.
    Float,
    /// A boolean.
    Bool,
    /// Text.
    String,
}

use FieldType::{Bool, Float, Int, String};

use fusebox::circuit_breaker::EffectiveState;

/// The field with the original names of the tags, as a JSON array in tag order without `c`; present only if a
/// tag was cut or is `__other__`. Such points carry their time plus up to a millisecond, so that several
/// names behind one tag never overwrite each other.
pub const NAMES: &str = "n";

/// Returns the number of a state in the field `state`: higher is worse, so that `max()` over instances,
/// collectors or time is the worst state. Panels map these numbers to words and colours.
pub fn state_number(state: EffectiveState) -> i64 {
    match state {
        EffectiveState::Closed => 0,
        EffectiveState::Disabled => 1,
        EffectiveState::MetricsOnly => 2,
        EffectiveState::ForcedClosed => 3,
        EffectiveState::HalfOpen => 4,
        EffectiveState::ForcedOpen => 5,
        EffectiveState::Open => 6,
    }
}

/// Inverse of `state_number`.
pub fn state_of(number: i64) -> Option<EffectiveState> {
    let mut states = EffectiveState::ALL.into_iter();
    states.find(|state| state_number(*state) == number)
}

/// The collector that wrote a point: six characters, generated once per data directory.
pub const COLLECTOR: &str = "c";
/// The last three hex digits of a trace id: 4,096 values, so that traces are found without a series each. Of a filter, two
/// digits of hashes.
pub const SHARD: &str = "sh";
/// A service.
pub const SERVICE: &str = "svc";
/// An operation: the span name.
pub const OPERATION: &str = "op";
/// A span kind (`SpanKind::as_str`), or the kind of a policy (`PolicyView::kind`).
pub const KIND: &str = "kind";
/// `1` on spans whose status is error, else `0`.
pub const ERROR: &str = "err";
/// The breaker that a span passed.
pub const BREAKER: &str = "cb";
/// The outcome that the breaker recorded on the span.
pub const OUTCOME: &str = "out";
/// The outcome of that call's fallback.
pub const FALLBACK: &str = "fb";
/// The level of log records (`Severity::as_str`).
pub const LEVEL: &str = "lvl";
/// A breaker's name; `svc` is the service that owns it.
pub const NAME: &str = "name";
/// An instance of a service.
pub const INSTANCE: &str = "inst";
/// The calling service.
pub const SOURCE: &str = "src";
/// The called service or peer.
pub const DESTINATION: &str = "dst";

/// The spans of a trace in one block of the journal, as text (`payload`); split below 60 KB.
///
/// A trace is read in two steps: `th` (an integer column) gives the times, then `d` is read in that narrow
/// range.
pub const SPAN: Measurement = Measurement {
    name: "span",
    tags: &[COLLECTOR, SHARD],
    fields: &[("d", String), ("th", Int)],
};

/// One point per span, for search and for tables in Grafana: `dur` in nanoseconds; `v` is the trace id, the
/// span id and the start in Unix nanoseconds, separated by spaces.
pub const SPAN_IDX: Measurement = Measurement {
    name: "span_idx",
    tags: &[
        COLLECTOR, BREAKER, ERROR, FALLBACK, KIND, OPERATION, OUTCOME, SERVICE,
    ],
    fields: &[("dur", Int), ("v", String)],
};

/// The filter of a section, which is some thousand rows of the journal: which attributes its spans have, as text
/// (`filters::filter`), by the upper six bits of their hashes, two hex digits.
///
/// The time is the arrival of the section's first row.
pub const SPAN_FILTER: Measurement = Measurement {
    name: "span_filter",
    tags: &[COLLECTOR, SHARD],
    fields: &[("f", String)],
};

/// A range of arrival times of which all rows are in sections, from the point's time until `until` (Unix nanoseconds as
/// text). `s` has the sections (`filters::Section`); it is absent if there are none.
///
/// What no such point covers has no filters, and is searched without.
pub const SPAN_COVER: Measurement = Measurement {
    name: "span_cover",
    tags: &[COLLECTOR],
    fields: &[("s", String), ("until", String)],
};

/// Log records of one service and level that arrived together, all of one minute, as text (`logs::payload`): `n` of them;
/// split as `span` is. `tr` has the last five hex digits of each trace that they name, each behind a point.
///
/// The time is the second of the latest record, and within it a number that no other point of the collector has there.
pub const LOG: Measurement = Measurement {
    name: "log",
    tags: &[COLLECTOR, LEVEL, SERVICE],
    fields: &[("d", String), ("n", Int), ("tr", String)],
};

/// Ten seconds of one instance of a breaker, at the start of the ten seconds: calls by outcome, their
/// `total`, the state and the running calls at the end, the state as number (`state_number`) and word; `s`
/// holds the single seconds for exact replay.
pub const CIRCUIT: Measurement = Measurement {
    name: "circuit",
    tags: &[COLLECTOR, INSTANCE, NAME, SERVICE],
    fields: &[
        ("bulkhead_full", Int),
        ("cancelled", Int),
        ("failure", Int),
        ("fallback_failure", Int),
        ("fallback_success", Int),
        ("ignored", Int),
        ("in_flight", Int),
        (NAMES, String),
        ("rejected", Int),
        ("s", String),
        ("state", Int),
        ("state_name", String),
        ("success", Int),
        ("timeout", Int),
        ("total", Int),
    ],
};

/// Ten seconds of a breaker, instances merged: sums, and quantiles (nanoseconds) of the merged histograms,
/// absent without durations; a query could not compute them from the instances' quantiles. `failure_rate` is
/// percent of the judged calls. `slow_rate` is percent of the durations, in buckets of 9 %, if the breaker
/// defines slow calls. The thresholds (percent) are included if the breaker has them. `state` is the worst of
/// any instance in any second. Breakers behind one tag are merged.
pub const CIRCUIT_10S: Measurement = Measurement {
    name: "circuit_10s",
    tags: &[COLLECTOR, NAME, SERVICE],
    fields: CIRCUIT_SUMS,
};

/// As `circuit_10s` for five minutes, merged exactly.
pub const CIRCUIT_5M: Measurement = Measurement {
    name: "circuit_5m",
    tags: &[COLLECTOR, NAME, SERVICE],
    fields: CIRCUIT_SUMS,
};

const CIRCUIT_SUMS: &[(&str, FieldType)] = &[
    ("bulkhead_full", Int),
    ("cancelled", Int),
    ("failure", Int),
    ("failure_rate", Float),
    ("failure_threshold", Float),
    ("fallback_failure", Int),
    ("fallback_success", Int),
    ("ignored", Int),
    ("p50", Int),
    ("p90", Int),
    ("p95", Int),
    ("p99", Int),
    ("p995", Int),
    ("rejected", Int),
    ("slow_rate", Float),
    ("slow_threshold", Float),
    ("state", Int),
    ("success", Int),
    ("timeout", Int),
    ("total", Int),
];

/// The state of an instance of a breaker: at each change (at the time of the change) and once a minute.
/// `since` and `retry_at` (when an open one tries again) are Unix milliseconds; `opened_by` is the trace of
/// the call that opened it last (at a change, only of a change to open); `j` is the whole standing (only in
/// the points of each minute).
pub const CIRCUIT_STATE: Measurement = Measurement {
    name: "circuit_state",
    tags: &[COLLECTOR, INSTANCE, NAME, SERVICE],
    fields: &[
        ("j", String),
        ("opened_by", String),
        ("reason", String),
        ("retry_at", Int),
        ("since", Int),
        ("state", Int),
        ("state_name", String),
    ],
};

/// One state change, as words and number. `tid` and `sid` are the call that caused it. `at` and `open_until`
/// are exact Unix nanoseconds (the point's own time differs by less than a microsecond, so that simultaneous
/// changes are all kept). `derived` tells whether the collector derived the change from metrics.
pub const CIRCUIT_EVENT: Measurement = Measurement {
    name: "circuit_event",
    tags: &[COLLECTOR, INSTANCE, NAME, SERVICE],
    fields: &[
        ("at", String),
        ("derived", Bool),
        ("from", String),
        (NAMES, String),
        ("open_until", String),
        ("reason", String),
        ("sid", String),
        ("state", Int),
        ("tid", String),
        ("to", String),
    ],
};

/// The settings and override of a breaker, at each change and every hour; `j` holds all of them. A setting
/// that is off, unlimited or unknown is absent; `open_ms`, `slow_call_ms`, `timeout_ms` and `window_ms` are
/// milliseconds, the thresholds percent.
pub const CIRCUIT_SETTINGS: Measurement = Measurement {
    name: "circuit_settings",
    tags: &[COLLECTOR, INSTANCE, NAME, SERVICE],
    fields: &[
        ("failure_threshold", Float),
        ("half_open_probes", Int),
        ("j", String),
        ("max_concurrent", Int),
        ("minimum_calls", Int),
        ("open_ms", Int),
        ("slow_call_ms", Int),
        ("slow_threshold", Float),
        ("timeout_ms", Int),
        ("window_calls", Int),
        ("window_ms", Int),
    ],
};

/// An hour of a breaker by minute, within a millisecond of the hour's start; `j` holds the minutes.
pub const CIRCUIT_HOUR: Measurement = Measurement {
    name: "circuit_hour",
    tags: &[COLLECTOR, NAME, SERVICE],
    fields: &[("j", String)],
};

/// A minute of an operation, at its start: calls served, errors, quantiles (nanoseconds); `h` is the
/// histogram as JSON, an array of bucket index and count, with eight buckets per doubling of nanoseconds.
pub const RED: Measurement = Measurement {
    name: "red",
    tags: &[COLLECTOR, OPERATION, SERVICE],
    fields: &[
        ("calls", Int),
        ("errors", Int),
        ("h", String),
        (NAMES, String),
        ("p50", Int),
        ("p90", Int),
        ("p95", Int),
        ("p99", Int),
    ],
};

/// As `red` without the histogram, for five minutes, merged exactly; operations behind one tag are merged
/// too.
pub const RED_5M: Measurement = Measurement {
    name: "red_5m",
    tags: &[COLLECTOR, OPERATION, SERVICE],
    fields: RED_SUMS,
};

/// A minute of a service, its operations merged.
pub const RED_SERVICE: Measurement = Measurement {
    name: "red_service",
    tags: &[COLLECTOR, SERVICE],
    fields: RED_SUMS,
};

/// Five minutes of a service, its operations merged.
pub const RED_SERVICE_5M: Measurement = Measurement {
    name: "red_service_5m",
    tags: &[COLLECTOR, SERVICE],
    fields: RED_SUMS,
};

const RED_SUMS: &[(&str, FieldType)] = &[
    ("calls", Int),
    ("errors", Int),
    ("p50", Int),
    ("p90", Int),
    ("p95", Int),
    ("p99", Int),
];

/// A minute of an edge in the dependency map. `circuits` lists the breakers around the calls as JSON (objects
/// with `service` and `name`); `virtual` tells whether the callee sent no spans.
pub const DEP: Measurement = Measurement {
    name: "dep",
    tags: &[COLLECTOR, DESTINATION, SOURCE],
    fields: &[
        ("calls", Int),
        ("circuits", String),
        ("errors", Int),
        (NAMES, String),
        ("virtual", Bool),
    ],
};

/// An instance of a service, whenever it was seen. `id` is its full name, `first` and `last` are Unix
/// milliseconds, and `exact` has both in nanoseconds, separated by a space.
pub const INSTANCE_SEEN: Measurement = Measurement {
    name: "instance",
    tags: &[COLLECTOR, INSTANCE, SERVICE],
    fields: &[
        ("exact", String),
        ("first", Int),
        ("id", String),
        ("last", Int),
        (NAMES, String),
    ],
};

/// What an instance has around its breakers (a pool, a collapser, a cache, a limiter, a retry), every minute while it
/// changes, else every five: its current values, and its counts since the instance started; `j` is all of it. Policies share
/// the bounds of breakers' names.
pub const POLICY: Measurement = Measurement {
    name: "policy",
    tags: &[COLLECTOR, INSTANCE, KIND, NAME, SERVICE],
    fields: &[
        ("active", Int),
        ("available", Int),
        ("batches", Int),
        ("budget_exhausted", Int),
        ("calls", Int),
        ("cancelled", Int),
        ("completed", Int),
        ("delay_ms", Int),
        ("executed", Int),
        ("failed", Int),
        ("failed_after_retry", Int),
        ("from_cache", Int),
        ("hedged", Int),
        ("j", String),
        ("largest", Int),
        ("limit", Int),
        ("loser_cancelled", Int),
        (NAMES, String),
        ("panicked", Int),
        ("permitted", Int),
        ("queue_limit", Int),
        ("queued", Int),
        ("refused", Int),
        ("rejected", Int),
        ("retried", Int),
        ("size", Int),
        ("size_max", Int),
        ("succeeded", Int),
        ("succeeded_after_retry", Int),
        ("timed_out", Int),
        ("waiting", Int),
    ],
};

/// The collector itself, every ten seconds: counts since its start, and current values (`backlog_*`,
/// `queue_bytes`, `store_*`, `connections_open`).
pub const COLLECTOR_STATS: Measurement = Measurement {
    name: "collector",
    tags: &[COLLECTOR],
    fields: &[
        ("backlog_bytes", Int),
        ("backlog_spans", Int),
        ("bytes_received", Int),
        ("bytes_written", Int),
        ("commit_lag_ns", Int),
        ("connections_open", Int),
        ("incidents", Int),
        ("influxdb_points", Int),
        ("influxdb_points_refused", Int),
        ("influxdb_retries", Int),
        ("names_capped", Int),
        ("queue_bytes", Int),
        ("requests_accepted", Int),
        ("requests_refused", Int),
        ("spans_lost", Int),
        ("spans_received", Int),
        ("spans_refused", Int),
        ("spans_shipped", Int),
        ("spans_written", Int),
        ("store_bytes", Int),
        ("store_spans", Int),
    ],
};

/// Every measurement.
pub const ALL: [Measurement; 20] = [
    SPAN,
    SPAN_IDX,
    SPAN_FILTER,
    SPAN_COVER,
    LOG,
    CIRCUIT,
    CIRCUIT_10S,
    CIRCUIT_5M,
    CIRCUIT_STATE,
    CIRCUIT_EVENT,
    CIRCUIT_SETTINGS,
    CIRCUIT_HOUR,
    RED,
    RED_5M,
    RED_SERVICE,
    RED_SERVICE_5M,
    DEP,
    INSTANCE_SEEN,
    POLICY,
    COLLECTOR_STATS,
];
