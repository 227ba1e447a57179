//! Rolling figures of the pools of a registry, computed from their totals.

use std::collections::{BTreeMap, VecDeque};

use super::pool::PoolEvent;
use super::rolling::{WINDOW, WINDOW_SECONDS, keep};
use crate::circuit_breaker::{IsolationPool, Name, PoolSnapshot};

#[derive(Debug, Default)]
pub(super) struct Pools(BTreeMap<Name, Pool>);

#[derive(Debug)]
struct Pool {
    now: PoolSnapshot,
    /// Executed and refused calls at the ends of the last seconds, oldest first.
    totals: VecDeque<(u64, u64)>,
    /// The largest number of running calls seen in each second.
    active: VecDeque<u32>,
}

impl Pools {
    /// Reads every pool. At the first reading of a stream the times of earlier calls are unknown.
    pub(super) fn look(&mut self, pools: &[IsolationPool], ends_second: bool) {
        for pool in pools {
            let now = pool.snapshot();
            let known = self.0.entry(now.key.clone());
            let known = known.or_insert_with(|| Pool {
                totals: VecDeque::from([totals(&now)]),
                active: VecDeque::from([0]),
                now: now.clone(),
            });
            known.look(now, ends_second);
        }
    }

    /// Returns an object for each pool that ever ran a call.
    pub(super) fn events(&self, time_ms: u64) -> impl Iterator<Item = PoolEvent<'_>> {
        let used = self.0.values().filter(|pool| pool.now.executed > 0);
        used.map(move |pool| pool.event(time_ms))
    }
}

impl Pool {
    fn look(&mut self, now: PoolSnapshot, ends_second: bool) {
        if let Some(most) = self.active.back_mut() {
            *most = now.active.max(*most);
        }
        if ends_second {
            self.totals.push_back(totals(&now));
            keep(&mut self.totals, WINDOW_SECONDS + 1);
            self.active.push_back(now.active);
            keep(&mut self.active, WINDOW_SECONDS + 1);
        }
        self.now = now;
    }

    fn event(&self, time_ms: u64) -> PoolEvent<'_> {
        let now = &self.now;
        let (executed, rejected) = match (self.totals.front(), self.totals.back()) {
            (Some(first), Some(last)) => (last.0 - first.0, last.1 - first.1),
            _ => (0, 0),
        };
        PoolEvent {
            name: &now.key,
            time_ms,
            hosts: 1,
            active: now.active.into(),
            queued: now.queued.into(),
            completed: now.completed,
            core_size: now.settings.core_size.into(),
            largest_size: now.largest.into(),
            executed,
            rejected,
            max_active: self.active.iter().copied().max().unwrap_or(0).into(),
            queue_limit: now.settings.queue_limit().into(),
            window: WINDOW,
        }
    }
}

fn totals(pool: &PoolSnapshot) -> (u64, u64) {
    (pool.executed, pool.rejected)
}
