//! `HystrixCollapser`, the object for the collapsers in front of a breaker.

use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::command::{put_all, whole_ms};
use super::latency::PERCENTILES;
use crate::circuit_breaker::LatencyHistogram;

/// The figures of the collapsers in front of one breaker, or in front of the breakers of one name on several hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollapserEvent<'a> {
    /// The name of the breaker.
    pub name: &'a str,
    /// The current time, milliseconds since 1970.
    pub time_ms: u64,
    /// Number of reporting hosts, at least 1. Counts are sums over them.
    pub hosts: u64,
    /// Calls that were sent in batches in the window.
    pub calls: u64,
    /// Sizes of the batches of the window, as a [`LatencyHistogram`] with one call in place of one second.
    pub sizes: &'a LatencyHistogram,
    /// The window in which a batch gathers calls.
    pub delay: Duration,
    /// Most calls of a batch.
    pub size_max: u64,
}

impl Serialize for CollapserEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hosts = self.hosts.max(1);
        let batches = self.sizes.count();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "HystrixCollapser")?;
        map.serialize_entry("name", self.name)?;
        put_all(
            &mut map,
            &[
                ("currentTime", self.time_ms),
                ("rollingCountRequestsBatched", self.calls),
                ("rollingCountBatches", batches),
                // A collapser does not cache; a request cache can be used in front of it.
                ("rollingCountResponsesFromCache", 0),
                (
                    "batchSize_mean",
                    mean(self.calls, batches).saturating_mul(hosts),
                ),
            ],
        )?;
        map.serialize_entry("batchSize", &Sizes(self.sizes, hosts))?;
        map.serialize_entry("propertyValue_requestCacheEnabled", &false)?;
        put_all(
            &mut map,
            &[
                ("propertyValue_maxRequestsInBatch", self.size_max),
                (
                    "propertyValue_timerDelayInMilliseconds",
                    whole_ms(self.delay),
                ),
                ("reportingHosts", hosts),
            ],
        )?;
        map.end()
    }
}

/// Returns the mean size of a batch, rounded.
fn mean(calls: u64, batches: u64) -> u64 {
    let half = batches / 2;
    calls.saturating_add(half).checked_div(batches).unwrap_or(0)
}

/// The object with one field per percentile of the sizes, except the smallest, which Hystrix does not send.
struct Sizes<'a>(&'a LatencyHistogram, u64);

impl Serialize for Sizes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(sizes, hosts) = *self;
        let mut map = serializer.serialize_map(None)?;
        for (name, share) in &PERCENTILES[1..] {
            let size = sizes.quantile(*share).unwrap_or_default();
            let size = size.as_secs_f64().round() as u64;
            map.serialize_entry(name, &size.saturating_mul(hosts))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Guarantees: every field that Hystrix sends is present under its name; sizes of small batches are exact.
    #[test]
    fn a_collapser_has_every_field() {
        let index = |size| LatencyHistogram::index_of_seconds(f64::from(size));
        let sizes = LatencyHistogram::from_buckets((1..=10).map(|size| (index(size), 1)));
        let event = CollapserEvent {
            name: "prices",
            time_ms: 7,
            hosts: 1,
            calls: 55,
            sizes: &sizes,
            delay: Duration::from_millis(10),
            size_max: 1_000,
        };
        let expected = json!({
            "type": "HystrixCollapser", "name": "prices", "currentTime": 7, "rollingCountRequestsBatched": 55,
            "rollingCountBatches": 10, "rollingCountResponsesFromCache": 0, "batchSize_mean": 6,
            "batchSize": { "25": 3, "50": 5, "75": 8, "90": 9, "95": 10, "99": 10, "99.5": 10, "100": 10 },
            "propertyValue_requestCacheEnabled": false, "propertyValue_maxRequestsInBatch": 1000,
            "propertyValue_timerDelayInMilliseconds": 10, "reportingHosts": 1,
        });
        assert_eq!(serde_json::to_value(event).unwrap(), expected);
        let both = CollapserEvent { hosts: 2, ..event };
        let both = serde_json::to_value(both).unwrap();
        assert_eq!(
            (&both["batchSize_mean"], &both["batchSize"]["100"]),
            (&json!(12), &json!(20))
        );
    }
}
