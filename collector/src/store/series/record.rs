//! The records of the series: plain data, each with its kind, its time and a bit by which keys are filtered.

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram};
use opentelemetry::TraceId;
use serde::{Deserialize, Serialize};

use crate::model::{
    CircuitCalls, CircuitKey, CircuitSample, CircuitSettings, CircuitTransition, ControlRecord,
    Outage, OverrideView, OwnWindow, Provenance, Source, UnixNanos, optional_hex, zero_is_none,
};

/// The kinds of records; each has a file of its own per day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeriesKind {
    /// `CircuitSample`.
    Sample = 1,
    /// `CircuitTransition`.
    Transition = 2,
    /// `SettingsRecord`.
    Settings = 3,
    /// `Standing`.
    Standing = 4,
    /// `Rollup`.
    Rollup = 5,
    /// `RedMinute`.
    Red = 6,
    /// `DependencyMinute`.
    Dependency = 7,
    /// `InstanceRecord`.
    Instance = 8,
    /// `ControlRecord`.
    Control = 9,
}

impl SeriesKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Sample,
        Self::Transition,
        Self::Settings,
        Self::Standing,
        Self::Rollup,
        Self::Red,
        Self::Dependency,
        Self::Instance,
        Self::Control,
    ];

    /// Returns the name of its files.
    pub fn file_stem(self) -> &'static str {
        match self {
            Self::Sample => "samples",
            Self::Transition => "transitions",
            Self::Settings => "settings",
            Self::Standing => "standings",
            Self::Rollup => "rollups",
            Self::Red => "red",
            Self::Dependency => "dependencies",
            Self::Instance => "instances",
            Self::Control => "control",
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub enum SeriesRecord {
    /// What an instance of a breaker did in a second.
    Sample(CircuitSample),
    /// A change of state.
    Transition(CircuitTransition),
    /// The settings and override of a breaker, written when they change and each hour.
    Settings(SettingsRecord),
    /// All that is known of an instance of a breaker, written when it is first seen and each minute.
    Standing(Standing),
    /// An hour of a breaker, minute by minute.
    Rollup(Rollup),
    /// A minute of an operation.
    Red(RedMinute),
    /// A minute of an edge of the dependency map.
    Dependency(DependencyMinute),
    /// An instance of a service.
    Instance(InstanceRecord),
    /// A change of a breaker that an operator asked for, or its outcome in an instance.
    Control(ControlRecord),
}

/// The settings and override of a breaker from that time on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingsRecord {
    /// The breaker.
    pub key: CircuitKey,
    /// The instance of the service.
    pub instance: String,
    /// When they were reported, Unix nanoseconds of the collector's clock.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
    /// The settings.
    pub settings: CircuitSettings,
    /// The forced state, if any.
    pub forced: Option<OverrideView>,
}

/// All that is known of an instance of a breaker, except its calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The breaker.
    pub key: CircuitKey,
    /// The instance of the service.
    pub instance: String,
    /// When this was written, Unix nanoseconds of the collector's clock.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
    /// The library that reports it.
    pub source: Source,
    /// What it protects.
    pub target: String,
    /// Its state.
    pub state: EffectiveState,
    /// Since when, Unix nanoseconds.
    #[serde(rename = "since_unix_nanos")]
    pub since: UnixNanos,
    /// When an open breaker lets a probe through.
    #[serde(rename = "retry_at_unix_nanos")]
    pub retry_at: Option<UnixNanos>,
    /// Why it is in its state.
    pub reason: String,
    /// Whether the instance reported its state or the collector derived it.
    pub provenance: Provenance,
    /// The call that opened it last.
    #[serde(with = "optional_hex")]
    pub opened_by: Option<TraceId>,
    /// When it opened last, Unix nanoseconds.
    #[serde(with = "zero_is_none")]
    #[serde(rename = "opened_at_unix_nanos")]
    pub opened_at: Option<UnixNanos>,
    /// The outage under way, or the last one; unknown in what earlier builds wrote.
    #[serde(default)]
    pub outage: Option<Outage>,
    /// Calls running.
    pub in_flight: u32,
    /// When it was first heard of, Unix nanoseconds of the collector's clock.
    #[serde(rename = "first_seen_unix_nanos")]
    pub first_seen: UnixNanos,
    /// When it was last heard of, Unix nanoseconds of the collector's clock.
    #[serde(rename = "last_seen_unix_nanos")]
    pub last_seen: UnixNanos,
    /// How often it reports, milliseconds.
    pub interval_ms: u64,
    /// What its library computes of its own window; unknown in what earlier builds wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_window: Option<OwnWindow>,
    /// What its running counts had reached, where it has any; unknown in what earlier builds wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
}

/// What the running counts of an instance had reached: what a collector that starts again takes differences from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// The second of the last sample that they include, seconds since 1970.
    pub second: u64,
    /// How much of that second's calls they include.
    pub of_second: CircuitCalls,
    /// Calls that are in samples and not in `series`: counted by a run that ended before it stored its totals.
    pub beyond: CircuitCalls,
    /// The counts.
    pub series: Vec<SeriesTotal>,
}

/// What one running count had reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesTotal {
    /// What it counts, as a number of `live::circuits::tracker`.
    pub kind: u8,
    /// Which series of that kind: the hash of its attributes.
    pub series: u64,
    /// When it began, Unix nanoseconds of the instance's clock.
    pub start: UnixNanos,
    /// When it was read, Unix nanoseconds of the instance's clock.
    pub time: UnixNanos,
    /// What it had reached.
    pub count: u64,
}

/// An hour of a breaker, all instances merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollup {
    /// The breaker.
    pub key: CircuitKey,
    /// The hour's start, Unix nanoseconds.
    #[serde(rename = "hour_unix_nanos")]
    pub hour: UnixNanos,
    /// The minutes in which it was heard of, oldest first.
    pub minutes: Vec<RollupMinute>,
}

/// A minute of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollupMinute {
    /// 0 to 59.
    pub minute: u8,
    /// Its calls.
    pub calls: CircuitCalls,
    /// The worst state in it.
    pub state: EffectiveState,
}

/// A minute of an operation of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct RedMinute {
    /// The service.
    pub service: String,
    /// The span name.
    pub operation: String,
    /// The minute's start, Unix nanoseconds.
    pub minute: UnixNanos,
    /// Calls served.
    pub calls: u64,
    /// Those with status error.
    pub errors: u64,
    /// Durations: (bucket index, count), as `stored_buckets` returns them.
    pub latency_buckets: Vec<(i32, u64)>,
}

/// By how much the stored index of a bucket is higher. Stored buckets are counted from a nanosecond, those of
/// `LatencyHistogram` from a second, which is 2^(239.18/8) ns: the two are a fifth of a bucket apart, 1.6 %.
const STORED_INDEX_OFFSET: i32 = 239;

impl RedMinute {
    /// Returns the durations.
    pub fn latency(&self) -> LatencyHistogram {
        let buckets = self.latency_buckets.iter();
        let buckets =
            buckets.map(|(index, count)| (index.saturating_sub(STORED_INDEX_OFFSET), *count));
        LatencyHistogram::from_buckets(buckets)
    }
}

/// Returns the buckets of a histogram as minutes of operations store them.
pub fn stored_buckets(latency: &LatencyHistogram) -> Vec<(i32, u64)> {
    let buckets = latency.buckets().iter();
    let buckets = buckets.map(|(index, count)| ((index + STORED_INDEX_OFFSET).max(0), *count));
    buckets.collect()
}

/// A minute of an edge of the dependency map.
#[derive(Debug, Clone, PartialEq)]
pub struct DependencyMinute {
    /// The calling service.
    pub parent: String,
    /// The called service.
    pub child: String,
    /// Whether the child sent no spans.
    pub child_is_virtual: bool,
    /// The minute's start, Unix nanoseconds.
    pub minute: UnixNanos,
    /// Calls.
    pub calls: u64,
    /// Those with an error.
    pub errors: u64,
    /// Breakers that the parent holds around them.
    pub circuits: Vec<CircuitKey>,
}

/// An instance of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceRecord {
    /// The service.
    pub service: String,
    /// The instance.
    pub id: String,
    /// When it was first heard of, Unix nanoseconds.
    pub first_seen: UnixNanos,
    /// When it was last heard of, Unix nanoseconds.
    pub last_seen: UnixNanos,
}

impl SeriesRecord {
    /// Returns its kind.
    pub fn kind(&self) -> SeriesKind {
        match self {
            Self::Sample(_) => SeriesKind::Sample,
            Self::Transition(_) => SeriesKind::Transition,
            Self::Settings(_) => SeriesKind::Settings,
            Self::Standing(_) => SeriesKind::Standing,
            Self::Rollup(_) => SeriesKind::Rollup,
            Self::Red(_) => SeriesKind::Red,
            Self::Dependency(_) => SeriesKind::Dependency,
            Self::Instance(_) => SeriesKind::Instance,
            Self::Control(_) => SeriesKind::Control,
        }
    }

    /// Returns the time under which it is filed and found, Unix nanoseconds.
    pub fn time(&self) -> UnixNanos {
        match self {
            Self::Sample(record) => record.time,
            Self::Transition(record) => record.time,
            Self::Settings(record) => record.time,
            Self::Standing(record) => record.time,
            Self::Rollup(record) => record.hour,
            Self::Red(record) => record.minute,
            Self::Dependency(record) => record.minute,
            Self::Instance(record) => record.last_seen,
            Self::Control(record) => record.time(),
        }
    }

    /// Returns the bit of its key, by which blocks without that key are passed over.
    pub fn key_bit(&self) -> u64 {
        match self {
            Self::Sample(record) => key_bit(&record.key.service, &record.key.name),
            Self::Transition(record) => key_bit(&record.key.service, &record.key.name),
            Self::Settings(record) => key_bit(&record.key.service, &record.key.name),
            Self::Standing(record) => key_bit(&record.key.service, &record.key.name),
            Self::Rollup(record) => key_bit(&record.key.service, &record.key.name),
            Self::Red(record) => key_bit(&record.service, &record.operation),
            Self::Dependency(record) => key_bit(&record.parent, &record.child),
            Self::Instance(record) => key_bit(&record.service, &record.id),
            Self::Control(record) => key_bit(&record.key().service, &record.key().name),
        }
    }
}

impl Provenance {
    /// Returns the provenance of a transition that was stored without one: it was the beginning of the reason.
    pub(crate) fn of_stored_transition(reason: &str) -> Self {
        if reason.starts_with("reported by ") {
            Self::Derived
        } else {
            Self::Reported
        }
    }

    /// Returns the provenance of a state that was stored without one: an assumed state had no reason.
    pub(crate) fn of_stored_state(reason: &str) -> Self {
        if reason.is_empty() {
            Self::Derived
        } else {
            Self::of_stored_transition(reason)
        }
    }
}

/// Returns one of 64 bits for a pair of names; stable, because it is on disk.
pub fn key_bit(first: &str, second: &str) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(first.as_bytes());
    hasher.update(&[0]);
    hasher.update(second.as_bytes());
    1 << (hasher.finalize() % 64)
}
