//! The series records: plain data with a kind, a time and a bit for filtering by key.

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram};
use opentelemetry::TraceId;
use serde::{Deserialize, Serialize};

use crate::model::policy::PolicyRecord;
use crate::model::{
    CircuitCalls, CircuitKey, CircuitSample, CircuitSettings, CircuitTransition, ControlRecord,
    Outage, OverrideView, OwnWindow, Provenance, RegistryEntry, Source, UnixNanos, optional_hex,
    zero_is_none,
};

/// The kinds of records; each has its own file per day.
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
    /// `RegistryEntry`.
    Registry = 10,
    /// `PolicyRecord`.
    Policy = 11,
    /// `AddressRecord`.
    Address = 12,
}

impl SeriesKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Sample,
        Self::Transition,
        Self::Settings,
        Self::Standing,
        Self::Rollup,
        Self::Red,
        Self::Dependency,
        Self::Instance,
        Self::Control,
        Self::Registry,
        Self::Policy,
        Self::Address,
    ];

    /// Returns the stem of its files' names.
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
            Self::Registry => "registry",
            Self::Policy => "policies",
            Self::Address => "addresses",
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
    /// A state change.
    Transition(CircuitTransition),
    /// The settings and override of a breaker, written at each change and every hour.
    Settings(SettingsRecord),
    /// The status of a breaker's instance, written when it is first seen and every minute.
    Standing(Standing),
    /// An hour of a breaker, by minute.
    Rollup(Rollup),
    /// A minute of an operation.
    Red(RedMinute),
    /// A minute of an edge of the dependency map.
    Dependency(DependencyMinute),
    /// An instance of a service.
    Instance(InstanceRecord),
    /// A change that an operator requested for a breaker, or its outcome in an instance.
    Control(ControlRecord),
    /// A change of a registered instance.
    Registry(Box<RegistryEntry>),
    /// A policy of an instance, written every minute while it changes and every five minutes else.
    Policy(Box<PolicyRecord>),
    /// The service at an address.
    Address(AddressRecord),
}

/// The settings and override of a breaker since a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingsRecord {
    /// The breaker.
    pub key: CircuitKey,
    /// The instance of the service.
    pub instance: String,
    /// When they were reported, by the collector's clock.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
    /// The reported settings.
    pub settings: CircuitSettings,
    /// The forced state, if any.
    pub forced: Option<OverrideView>,
}

/// The status of a breaker's instance, without its calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The breaker.
    pub key: CircuitKey,
    /// The instance of the service.
    pub instance: String,
    /// When this was written, by the collector's clock.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
    /// The library that reports it.
    pub source: Source,
    /// What it protects.
    pub target: String,
    /// State, overrides included.
    pub state: EffectiveState,
    /// Since when it has been in this state.
    #[serde(rename = "since_unix_nanos")]
    pub since: UnixNanos,
    /// When an open breaker allows a probe.
    #[serde(rename = "retry_at_unix_nanos")]
    pub retry_at: Option<UnixNanos>,
    /// The reason for its state.
    pub reason: String,
    /// Whether the instance reported its state or the collector derived it.
    pub provenance: Provenance,
    /// Trace of the call that opened it last.
    #[serde(with = "optional_hex")]
    pub opened_by: Option<TraceId>,
    /// When it opened last.
    #[serde(with = "zero_is_none")]
    #[serde(rename = "opened_at_unix_nanos")]
    pub opened_at: Option<UnixNanos>,
    /// The current or the last outage; unknown in records of earlier builds.
    #[serde(default)]
    pub outage: Option<Outage>,
    /// Running calls.
    pub in_flight: u32,
    /// When it was first seen, by the collector's clock.
    #[serde(rename = "first_seen_unix_nanos")]
    pub first_seen: UnixNanos,
    /// When it was last seen, by the collector's clock.
    #[serde(rename = "last_seen_unix_nanos")]
    pub last_seen: UnixNanos,
    /// Interval of its reports, milliseconds.
    pub interval_ms: u64,
    /// Figures that its library computes over its own window; unknown in records of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_window: Option<OwnWindow>,
    /// Values of its cumulative counts, if it has any; unknown in records of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
}

/// The values of an instance's cumulative counts, from which a restarted collector computes differences.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// The second of the last sample included, seconds since 1970.
    pub second: u64,
    /// The part of that second's calls that is included.
    pub of_second: CircuitCalls,
    /// Calls in samples but not in `series`: counted by a run that ended before it stored its totals.
    pub beyond: CircuitCalls,
    /// The values by series.
    pub series: Vec<SeriesTotal>,
}

/// The value of one cumulative count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesTotal {
    /// What it counts, as a number of `live::circuits::tracker`.
    pub kind: u8,
    /// Hash of the series' attributes.
    pub series: u64,
    /// Its start, by the instance's clock.
    pub start: UnixNanos,
    /// When it was read, by the instance's clock.
    pub time: UnixNanos,
    /// Its value.
    pub count: u64,
}

/// An hour of a breaker, with merged instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollup {
    /// The breaker.
    pub key: CircuitKey,
    /// Start of the hour.
    #[serde(rename = "hour_unix_nanos")]
    pub hour: UnixNanos,
    /// The minutes with reports, oldest first.
    pub minutes: Vec<RollupMinute>,
}

/// A minute of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollupMinute {
    /// Minute of the hour, 0 to 59.
    pub minute: u8,
    /// Calls in this minute.
    pub calls: CircuitCalls,
    /// The worst state in this minute.
    pub state: EffectiveState,
}

/// A minute of an operation of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct RedMinute {
    /// The service.
    pub service: String,
    /// The span name.
    pub operation: String,
    /// Start of the minute.
    pub minute: UnixNanos,
    /// Served calls.
    pub calls: u64,
    /// Calls with error status.
    pub errors: u64,
    /// Durations as bucket index and count, from `stored_buckets`.
    pub latency_buckets: Vec<(i32, u64)>,
}

/// Offset of stored bucket indexes. Stored buckets are relative to a nanosecond, those of `LatencyHistogram`
/// to a second, which is 2^(239.18/8) ns; so the bounds differ by a fifth of a bucket, 1.6 %.
const STORED_INDEX_OFFSET: i32 = 239;

impl RedMinute {
    /// Returns the histogram of the durations.
    pub fn latency(&self) -> LatencyHistogram {
        let buckets = self.latency_buckets.iter();
        let buckets =
            buckets.map(|(index, count)| (index.saturating_sub(STORED_INDEX_OFFSET), *count));
        LatencyHistogram::from_buckets(buckets)
    }
}

/// Converts a histogram to the buckets of `RedMinute`.
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
    /// Start of the minute.
    pub minute: UnixNanos,
    /// Calls along the edge.
    pub calls: u64,
    /// Calls with an error.
    pub errors: u64,
    /// Breakers of the parent around these calls.
    pub circuits: Vec<CircuitKey>,
}

/// An instance of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceRecord {
    /// The service.
    pub service: String,
    /// The id of the instance.
    pub id: String,
    /// When it was first seen.
    pub first_seen: UnixNanos,
    /// When it was last seen.
    pub last_seen: UnixNanos,
}

/// The service that answered at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRecord {
    /// The address, as clients name it.
    pub address: String,
    /// The service.
    pub service: String,
    /// When it first answered there.
    #[serde(rename = "since_unix_nanos")]
    pub since: UnixNanos,
    /// When it last answered there.
    #[serde(rename = "seen_unix_nanos")]
    pub seen: UnixNanos,
}

impl AddressRecord {
    pub(crate) fn key(&self) -> CircuitKey {
        CircuitKey {
            service: self.service.clone(),
            name: self.address.clone(),
        }
    }
}

impl SeriesRecord {
    /// Returns the record's kind.
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
            Self::Registry(_) => SeriesKind::Registry,
            Self::Policy(_) => SeriesKind::Policy,
            Self::Address(_) => SeriesKind::Address,
        }
    }

    /// Returns the time by which the record is filed and found.
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
            Self::Registry(record) => record.time,
            Self::Policy(record) => record.time,
            Self::Address(record) => record.seen,
        }
    }

    /// Returns the bit of its key; blocks without it are skipped in queries by key.
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
            Self::Registry(record) => key_bit(&record.service, &record.instance),
            Self::Policy(record) => key_bit(&record.key.service, &record.key.name),
            Self::Address(record) => key_bit(&record.service, &record.address),
        }
    }
}

impl Provenance {
    /// Infers the provenance of a transition stored without one: the reason began with it.
    pub(crate) fn of_stored_transition(reason: &str) -> Self {
        if reason.starts_with("reported by ") {
            Self::Derived
        } else {
            Self::Reported
        }
    }

    /// Infers the provenance of a state stored without one: an assumed state had no reason.
    pub(crate) fn of_stored_state(reason: &str) -> Self {
        if reason.is_empty() {
            Self::Derived
        } else {
            Self::of_stored_transition(reason)
        }
    }
}

/// Returns one of 64 bits for a pair of names; it is stored on disk, so it must never change.
pub fn key_bit(first: &str, second: &str) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(first.as_bytes());
    hasher.update(&[0]);
    hasher.update(second.as_bytes());
    1 << (hasher.finalize() % 64)
}
