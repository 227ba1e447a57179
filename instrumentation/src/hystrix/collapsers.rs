//! Rolling figures of the collapsers in front of the breakers of a registry, computed from their totals.

use std::collections::{BTreeMap, VecDeque};

use super::collapser::CollapserEvent;
use super::rolling::{WINDOW_SECONDS, keep};
use crate::circuit_breaker::{CircuitBreaker, Collapsed, LatencyHistogram};

/// Totals of the collapsers in front of each breaker at the ends of the last seconds, oldest first.
#[derive(Debug, Default)]
pub(super) struct Collapsers {
    by_name: BTreeMap<String, VecDeque<Collapsed>>,
    /// False until the first reading of a stream, when the times of earlier batches are unknown.
    has_looked: bool,
}

impl Collapsers {
    /// Ends a second: reads every breaker.
    pub(super) fn end_second(&mut self, breakers: &[CircuitBreaker]) {
        let mut before = std::mem::take(&mut self.by_name);
        for breaker in breakers {
            let Some(now) = breaker.shell.shared.collapsed() else {
                continue;
            };
            let known = before.remove(breaker.name());
            // A breaker that was replaced starts again.
            let known =
                known.filter(|looks| looks.back().is_some_and(|last| last.calls <= now.calls));
            let mut looks = known.unwrap_or_else(|| match self.has_looked {
                true => VecDeque::from([Collapsed::default()]),
                false => VecDeque::from([now.clone()]),
            });
            looks.push_back(now);
            keep(&mut looks, WINDOW_SECONDS + 1);
            self.by_name.insert(breaker.name().to_owned(), looks);
        }
        self.has_looked = true;
    }

    /// Calls `put` with an object for the collapsers in front of each breaker.
    pub(super) fn each_event(&self, time_ms: u64, mut put: impl FnMut(&CollapserEvent<'_>)) {
        for (name, looks) in &self.by_name {
            let (Some(first), Some(last)) = (looks.front(), looks.back()) else {
                continue;
            };
            let sizes: LatencyHistogram = last.sizes.since(&first.sizes);
            put(&CollapserEvent {
                name,
                time_ms,
                hosts: 1,
                calls: last.calls - first.calls,
                sizes: &sizes,
                delay: last.delay,
                size_max: last.size_max.into(),
            });
        }
    }
}
