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
