//! A service: its rate, errors and duration, its operations and instances.

use super::UnixNanos;
use serde::Serialize;

/// Rate, errors and duration over some time range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct RedStats {
    /// Number of server and consumer spans (served calls).
    pub calls: u64,
    /// Number of these with error status.
    pub errors: u64,
    /// Calls per second over the range.
    pub calls_per_second: f64,
    /// Median duration, nanoseconds, from an exponential histogram (relative error at most 5 %).
    pub p50_nanos: Option<u64>,
    /// 90th percentile, nanoseconds.
    pub p90_nanos: Option<u64>,
    /// 99th percentile, nanoseconds.
    pub p99_nanos: Option<u64>,
}

/// A service with its figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceSummary {
    /// `service.name`.
    pub name: String,
    /// Figures of its served calls.
    pub red: RedStats,
    /// Its operations, most calls first.
    pub operations: Vec<OperationStats>,
    /// Its instances, the latest report first.
    pub instances: Vec<InstanceSeen>,
    /// Its served calls in each of the last 60 complete minutes, the oldest first; empty if it sent none since the start.
    pub minutes: Vec<MinuteCalls>,
}

/// Served calls of a minute; zero counts are not serialised, because most services are idle in most minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MinuteCalls {
    /// Number of served calls.
    #[serde(skip_serializing_if = "is_zero")]
    pub calls: u64,
    /// Number of these with error status.
    #[serde(skip_serializing_if = "is_zero")]
    pub errors: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One operation of a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OperationStats {
    /// The span name.
    pub name: String,
    /// Figures of its served calls.
    pub red: RedStats,
}

/// An instance of a service, with the times of its reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceSeen {
    /// `service.instance.id`, else `host.name`, else empty.
    pub id: String,
    /// When its first telemetry arrived, by the collector's clock.
    #[serde(rename = "first_seen_unix_nanos")]
    pub first_seen: UnixNanos,
    /// When its last telemetry arrived, by the collector's clock.
    #[serde(rename = "last_seen_unix_nanos")]
    pub last_seen: UnixNanos,
}
