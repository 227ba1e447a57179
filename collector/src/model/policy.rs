//! What a service has around its breakers, as its instances report it: isolation pools, collapsers, caches, retries, limiters.

use std::collections::BTreeMap;

use fusebox::circuit_breaker::LatencyHistogram;
use serde::Serialize;

/// What a policy is called in the words of the library and of pages.
pub const POOL: &str = "pool";
/// A collapser, which has the name of its breaker.
pub const COLLAPSER: &str = "collapser";
/// The caches of requests, which have the name of their breaker.
pub const REQUEST_CACHE: &str = "request_cache";

/// A policy of a service, all its instances together.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PolicyView {
    /// The service.
    pub service: String,
    /// `pool`, `collapser`, `request_cache`, `retry`, `rate_limiter`, `bulkhead`, `time_limiter`, `hedge` or `cache`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Instances that report it.
    pub hosts: u64,
    /// What is so now, such as `active`: the sum of the instances.
    pub now: BTreeMap<&'static str, u64>,
    /// The highest of each within the last ten seconds: the sum of the instances' own.
    pub peak: BTreeMap<&'static str, u64>,
    /// What happened within the last ten seconds, such as `executed`.
    pub last_10_s: BTreeMap<&'static str, u64>,
    /// What happened since the instances began to count.
    pub total: BTreeMap<&'static str, u64>,
    /// Of a pool: the breakers whose calls it runs, and how many of these it refused within the last ten seconds.
    pub callers: BTreeMap<String, u64>,
    /// Of a collapser: the sizes of the batches of the last ten seconds, with a call in place of a second.
    #[serde(skip)]
    pub sizes: LatencyHistogram,
}

impl PolicyView {
    /// Returns what is so now; 0 if it is not reported.
    pub fn now(&self, word: &str) -> u64 {
        self.now.get(word).copied().unwrap_or(0)
    }

    /// Returns what happened within the last ten seconds.
    pub fn recently(&self, word: &str) -> u64 {
        self.last_10_s.get(word).copied().unwrap_or(0)
    }
}
