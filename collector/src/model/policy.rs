//! What a service has around its breakers, as its instances report it: thread pools, collapsers, caches,
//! retries, limiters.

use std::collections::BTreeMap;

use fusebox::circuit_breaker::LatencyHistogram;
use serde::{Deserialize, Serialize};

use super::{CircuitKey, UnixNanos};

/// A thread pool, a kind of policy.
pub const POOL: &str = "pool";
/// A collapser, named as its breaker.
pub const COLLAPSER: &str = "collapser";
/// Request caches, named as their breaker.
pub const REQUEST_CACHE: &str = "request_cache";

/// A policy of a service, over all its instances.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PolicyView {
    /// The service.
    pub service: String,
    /// `pool`, `collapser`, `request_cache`, `retry`, `rate_limiter`, `bulkhead`, `time_limiter`, `hedge` or `cache`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Number of instances that report it.
    pub hosts: u64,
    /// Current values such as `active`, summed over the instances.
    pub now: BTreeMap<&'static str, u64>,
    /// Maximum of each value within the last ten seconds, summed over the instances.
    pub peak: BTreeMap<&'static str, u64>,
    /// Counts within the last ten seconds, such as `executed`.
    pub last_10_s: BTreeMap<&'static str, u64>,
    /// Counts since the instances started.
    pub total: BTreeMap<&'static str, u64>,
    /// For a pool: the breakers whose calls it runs, and how many of these it rejected within the last ten
    /// seconds.
    pub callers: BTreeMap<String, u64>,
    /// For a collapser: batch sizes within the last ten seconds; one second stands for one call.
    #[serde(skip)]
    pub sizes: LatencyHistogram,
}

impl PolicyView {
    /// Returns a current value; 0 if it is not reported.
    pub fn now(&self, word: &str) -> u64 {
        self.now.get(word).copied().unwrap_or(0)
    }

    /// Returns a count within the last ten seconds.
    pub fn recently(&self, word: &str) -> u64 {
        self.last_10_s.get(word).copied().unwrap_or(0)
    }
}

/// A policy of one instance, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// The service, and the name of the policy.
    pub key: CircuitKey,
    /// As [`PolicyView::kind`].
    pub kind: String,
    /// The instance of the service.
    pub instance: String,
    /// When this was written, by the collector's clock.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
    /// When it was last reported, by the collector's clock.
    #[serde(rename = "last_seen_unix_nanos")]
    pub last_seen: UnixNanos,
    /// Current values.
    pub values: BTreeMap<String, PolicyValue>,
    /// Counts.
    pub counts: BTreeMap<String, PolicyCount>,
    /// For a pool: the calls of each breaker that it rejected.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub callers: BTreeMap<String, PolicyCount>,
}

/// A current value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyValue {
    /// The value.
    pub now: u64,
    /// Its maximum within the last ten seconds.
    pub peak: u64,
}

/// A count, from which a restarted collector computes differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyCount {
    /// When it began, by the instance's clock.
    #[serde(rename = "start_unix_nanos")]
    pub start: UnixNanos,
    /// The count since then.
    pub total: u64,
    /// The count within the last ten seconds.
    pub last_10_s: u64,
}
