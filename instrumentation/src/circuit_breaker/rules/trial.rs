//! The probes of a half-open breaker: their slots, and the results so far.

use super::call::{Admission, Ending};
use super::state::Outcome;
use super::verdict::judge_probe;
use super::window::Tally;

/// A series of probes that decides together. It lasts until the breaker closes, or opens because of their results; it
/// continues after the half-open time.
#[derive(Debug)]
pub(super) struct Trial {
    wanted: u64,
    /// The id of its first probe; lower ids belong to earlier trials.
    first: u64,
    running: Vec<Probe>,
    results: Tally,
    /// The last bad result of a probe that had lost its slot.
    late: Option<Ending>,
    /// Probes that were counted as slow before they returned; at most `wanted`.
    counted: Vec<u64>,
}

#[derive(Debug)]
struct Probe {
    id: u64,
    started: u64,
    lease_until: u64,
    /// Whether the target has answered and the probe is still running; such a probe cannot become slow.
    answered: bool,
}

impl Trial {
    /// Starts a trial that decides by `wanted` results of the probes from id `first` on.
    pub(super) fn new(wanted: u64, first: u64) -> Self {
        Self {
            wanted: wanted.max(1),
            first,
            running: Vec::new(),
            results: Tally::default(),
            late: None,
            counted: Vec::new(),
        }
    }

    /// Frees the slots of the running probes; their results still count.
    pub(super) fn without_slots(mut self) -> Self {
        self.running.clear();
        self
    }

    pub(super) fn wanted(&self) -> u64 {
        self.wanted
    }

    pub(super) fn results(&self) -> Tally {
        self.results
    }

    /// Admits a probe if a slot is free.
    pub(super) fn admit(
        &mut self,
        now: u64,
        lease: u64,
        until: u64,
        next_probe: &mut u64,
    ) -> Admission {
        self.end_leases(now);
        if !self.has_room() {
            return Admission::Refuse {
                until: self.first_lease_end().min(until),
            };
        }
        *next_probe += 1;
        self.running.push(Probe {
            id: *next_probe,
            started: now,
            lease_until: now.saturating_add(lease),
            answered: false,
        });
        Admission::Probe(*next_probe)
    }

    /// Marks a probe as answered. It is slow only if it is slow already, which its result will tell.
    #[cfg(feature = "http")]
    pub(super) fn answered(&mut self, id: u64) {
        let probe = self.running.iter_mut().find(|probe| probe.id == id);
        if let Some(probe) = probe {
            probe.answered = true;
        }
    }

    /// Adds the result of a probe; returns whether it counts for the decision now. A bad result of a probe that has
    /// lost its slot waits for the probe that took the slot: if that succeeds, the target works again.
    pub(super) fn record(&mut self, id: u64, ending: Ending) -> bool {
        if id < self.first {
            return false;
        }
        let slot = self.running.iter().position(|probe| probe.id == id);
        if let Some(slot) = slot {
            self.running.swap_remove(slot);
        }
        let Some(bad) = judge_probe(ending).filter(|_| !self.counted.contains(&id)) else {
            return false;
        };
        if slot.is_none() && (bad || ending.slow) && !self.running.is_empty() {
            self.late = Some(ending);
            return false;
        }
        self.results.add(bad, ending.slow);
        true
    }

    /// Counts and returns the next result that is due by time: a probe that has been running for longer than
    /// `slow_after`, or a late bad result once the probe that took its slot has lost the slot too.
    pub(super) fn take_overdue(&mut self, now: u64, slow_after: Option<u64>) -> Option<Ending> {
        self.take_slow(now, slow_after)
            .or_else(|| self.take_late(now))
    }

    fn take_slow(&mut self, now: u64, slow_after: Option<u64>) -> Option<Ending> {
        let limit = slow_after?;
        let elapsed = |probe: &Probe| now.saturating_sub(probe.started);
        let slow = self
            .running
            .iter()
            .position(|probe| !probe.answered && elapsed(probe) > limit)?;
        let probe = self.running.swap_remove(slow);
        self.counted.push(probe.id);
        self.results.add(false, true);
        Some(Ending {
            outcome: Outcome::Success,
            elapsed_nanos: elapsed(&probe),
            slow: true,
        })
    }

    fn take_late(&mut self, now: u64) -> Option<Ending> {
        if self.late.is_none() || !self.end_leases(now) {
            return None;
        }
        let late = self.late.take()?;
        self.results.add(judge_probe(late)?, late.slow);
        Some(late)
    }

    pub(super) fn has_room(&self) -> bool {
        self.running.len() as u64 + self.results.calls() < self.wanted
    }

    fn first_lease_end(&self) -> u64 {
        let ends = self.running.iter().map(|probe| probe.lease_until);
        ends.min().unwrap_or(0)
    }

    /// When a slot becomes free or a running probe slow, whichever comes first.
    pub(super) fn next_change(&self, slow_after: Option<u64>) -> u64 {
        let waiting = self.running.iter().filter(|probe| !probe.answered);
        let starts = waiting.map(|probe| probe.started);
        let slow_at = starts.min().zip(slow_after);
        let slow_at = slow_at.map(|(start, limit)| start.saturating_add(limit + 1));
        self.first_lease_end().min(slow_at.unwrap_or(u64::MAX))
    }

    /// Frees the slots whose lease has expired; returns whether there were any.
    fn end_leases(&mut self, now: u64) -> bool {
        let before = self.running.len();
        self.running.retain(|probe| now < probe.lease_until);
        self.running.len() < before
    }
}
