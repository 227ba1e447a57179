//! What a service has around its breakers, as its instances report it: thread pools, collapsers, caches,
//! retries, limiters.

use std::collections::BTreeMap;

use fusebox::circuit_breaker::LatencyHistogram;
use serde::Serialize;

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
