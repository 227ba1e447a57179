//! Rolling figures of one breaker, computed from its totals once a second while there are readers; they add no cost to
//! calls.
//!
//! As in Hystrix, counts cover the last ten whole seconds and durations the last minute.

use std::collections::VecDeque;
use std::time::Duration;

use super::command::CommandCounts;
use super::latency::LatencyMs;
use crate::circuit_breaker::{CircuitSnapshot, LatencyHistogram};

/// Length of the window of counts (Hystrix, `metrics.rollingStats.timeInMilliseconds`).
pub(super) const WINDOW: Duration = Duration::from_secs(10);
pub(super) const WINDOW_SECONDS: usize = WINDOW.as_secs() as usize;

/// Durations cover this many windows (Hystrix, `metrics.rollingPercentile.timeInMilliseconds`: 60 s).
const LATENCY_WINDOWS: usize = 6;

/// The figures of one breaker, by second.
#[derive(Debug)]
pub(super) struct Rolling {
    /// Totals at the ends of the last seconds, oldest first; the counts of the window are the difference of last and
    /// first.
    totals: VecDeque<CommandCounts>,
    /// The largest number of running calls seen in each second.
    running: VecDeque<u64>,
    /// Durations at the ends of the last windows, oldest first.
    latencies: VecDeque<LatencyHistogram>,
    latency: LatencyHistogram,
    seconds: usize,
}

impl Rolling {
    /// Starts with a breaker that is new within the window, whose calls all belong to it, or with an older one, whose
    /// calls so far belong to no window.
    pub(super) fn new(first: &CircuitSnapshot, besides: &CommandCounts, is_new: bool) -> Self {
        let (totals, latency) = match is_new {
            true => (before(first, besides), LatencyHistogram::default()),
            false => (counts(first, besides), first.latency.merged()),
        };
        Self {
            totals: VecDeque::from([totals]),
            running: VecDeque::from([0]),
            latencies: VecDeque::from([latency.clone()]),
            latency,
            seconds: 0,
        }
    }

    /// Records the number of running calls; called several times a second.
    pub(super) fn saw_running(&mut self, calls: u64) {
        if let Some(most) = self.running.back_mut() {
            *most = calls.max(*most);
        }
    }

    /// Ends a second.
    pub(super) fn end_second(&mut self, now: &CircuitSnapshot, besides: &CommandCounts) {
        self.saw_running(now.in_flight);
        self.totals.push_back(counts(now, besides));
        keep(&mut self.totals, WINDOW_SECONDS + 1);
        self.running.push_back(now.in_flight);
        keep(&mut self.running, WINDOW_SECONDS + 1);
        self.latency = now.latency.merged();
        self.seconds += 1;
        if self.seconds.is_multiple_of(WINDOW_SECONDS) {
            self.latencies.push_back(self.latency.clone());
            keep(&mut self.latencies, LATENCY_WINDOWS + 1);
        }
    }

    /// Returns the counts of the window.
    pub(super) fn counts(&self) -> CommandCounts {
        match (self.totals.front(), self.totals.back()) {
            (Some(first), Some(last)) => last.since(first),
            _ => CommandCounts::default(),
        }
    }

    /// Returns the largest number of running calls seen in the window.
    pub(super) fn max_running(&self) -> u64 {
        self.running.iter().copied().max().unwrap_or(0)
    }

    /// Returns the durations of the last minute.
    pub(super) fn latency(&self) -> LatencyMs {
        let first = self.latencies.front();
        LatencyMs::of(
            &first.map_or_else(|| self.latency.clone(), |first| self.latency.since(first)),
        )
    }
}

/// Removes the oldest entries beyond `most`.
pub(super) fn keep<T>(of: &mut VecDeque<T>, most: usize) {
    while of.len() > most {
        of.pop_front();
    }
}

/// Returns the counts from before a new breaker: the pool has also counted refusals of earlier breakers of the same
/// name.
fn before(first: &CircuitSnapshot, besides: &CommandCounts) -> CommandCounts {
    let own = first.calls.bulkhead_full;
    CommandCounts {
        pool_rejected: besides.pool_rejected.saturating_sub(own),
        ..CommandCounts::default()
    }
}

fn counts(snapshot: &CircuitSnapshot, besides: &CommandCounts) -> CommandCounts {
    CommandCounts {
        calls: snapshot.calls,
        fallbacks: snapshot.fallbacks,
        ..*besides
    }
}

impl CommandCounts {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            calls: self.calls.since(&earlier.calls),
            pool_rejected: self.pool_rejected.saturating_sub(earlier.pool_rejected),
            fallbacks: self.fallbacks.since(&earlier.fallbacks),
            from_cache: self.from_cache.saturating_sub(earlier.from_cache),
            collapsed: self.collapsed.saturating_sub(earlier.collapsed),
        }
    }
}
