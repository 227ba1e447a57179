//! Converts reported pools and collapsers to Hystrix's objects, and adds their figures to those of breakers.

use std::collections::HashMap;
use std::time::Duration;

use fusebox::hystrix::{CollapserEvent, PoolEvent};

use crate::model::CircuitKey;
use crate::model::policy::{COLLAPSER, POOL, PolicyView, REQUEST_CACHE};

/// The window of the counts of pools.
const WINDOW: Duration = Duration::from_secs(10);

/// Pools and caches around each breaker, by service and name.
#[derive(Debug, Default)]
pub(super) struct Around<'a>(HashMap<(&'a str, &'a str), OfBreaker>);

#[derive(Debug, Clone, Default)]
pub(super) struct OfBreaker {
    pub(super) pool: Option<String>,
    pub(super) pool_rejected: u64,
    pub(super) from_cache: u64,
    pub(super) collapsed: u64,
}

impl<'a> Around<'a> {
    pub(super) fn of(policies: &'a [PolicyView]) -> Self {
        let mut around = Self::default();
        for policy in policies {
            match policy.kind {
                POOL => {
                    for (breaker, rejected) in &policy.callers {
                        let of = around.entry(policy, breaker);
                        of.pool = Some(policy.name.clone());
                        of.pool_rejected = of.pool_rejected.saturating_add(*rejected);
                    }
                }
                COLLAPSER => {
                    around.entry(policy, &policy.name).collapsed = policy.recently("calls")
                }
                REQUEST_CACHE => {
                    around.entry(policy, &policy.name).from_cache = policy.recently("from_cache");
                }
                _ => {}
            }
        }
        around
    }

    pub(super) fn of_breaker(&self, key: &CircuitKey) -> OfBreaker {
        let known = self.0.get(&(key.service.as_str(), key.name.as_str()));
        known.cloned().unwrap_or_default()
    }

    fn entry(&mut self, policy: &'a PolicyView, breaker: &'a str) -> &mut OfBreaker {
        self.0.entry((&policy.service, breaker)).or_default()
    }
}

/// Returns the number of completed calls of a pool; Hystrix reports it as a value, not as a count.
pub(super) fn completed(pool: &PolicyView) -> u64 {
    let total = pool.total.get("completed").copied();
    total.unwrap_or_else(|| pool.now("completed"))
}

pub(super) fn pool<'a>(pool: &PolicyView, name: &'a str, time_ms: u64) -> PoolEvent<'a> {
    PoolEvent {
        name,
        time_ms,
        hosts: pool.hosts,
        active: pool.now("active"),
        queued: pool.now("queued"),
        completed: completed(pool),
        core_size: pool.now("size"),
        largest_size: pool.now("largest"),
        executed: pool.recently("executed"),
        rejected: pool.recently("rejected"),
        max_active: pool.peak.get("active").copied().unwrap_or(0),
        queue_limit: pool.now("queue_limit") / pool.hosts.max(1),
        window: WINDOW,
    }
}

pub(super) fn collapser<'a>(
    collapser: &'a PolicyView,
    name: &'a str,
    time_ms: u64,
) -> CollapserEvent<'a> {
    let of_one = |word| collapser.now(word) / collapser.hosts.max(1);
    CollapserEvent {
        name,
        time_ms,
        hosts: collapser.hosts,
        calls: collapser.recently("calls"),
        sizes: &collapser.sizes,
        delay: Duration::from_millis(of_one("delay_ms")),
        size_max: of_one("size_max"),
    }
}
