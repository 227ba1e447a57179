//! What a call keeps from its admission to its end.

use std::num::NonZeroU64;

use super::fast_path::StateWord;
use super::running::Tick;
use crate::circuit_breaker::rules::call::Ticket;
use crate::circuit_breaker::rules::state::EffectiveState;

/// An admitted call: the state word at its admission, its slot if it is a probe, and where it is counted while it runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    pub(super) word: StateWord,
    pub(super) probe: Option<NonZeroU64>,
    pub(super) tick: Tick,
    pub(super) started: u64,
}

/// `Pass::started` where the clock was not read.
const UNKNOWN: u64 = u64::MAX;

impl Pass {
    /// Of a call through a closed breaker that counts no running calls.
    #[inline]
    pub(super) const fn plain(word: StateWord) -> Self {
        Self {
            word,
            probe: None,
            tick: Tick::NONE,
            started: UNKNOWN,
        }
    }

    pub(crate) fn state(self) -> EffectiveState {
        self.word.state()
    }

    pub(crate) fn is_probe(self) -> bool {
        self.probe.is_some()
    }

    /// It runs from `now` on, if its start is known.
    pub(super) fn restarted(&mut self, now: u64) {
        if self.started != UNKNOWN {
            self.started = now;
        }
    }

    /// How long it has been running, if its start is known.
    pub(crate) fn elapsed(self, now: u64) -> u64 {
        if self.started == UNKNOWN {
            0
        } else {
            now.saturating_sub(self.started)
        }
    }

    pub(super) fn ticket(self) -> Ticket {
        Ticket {
            generation: self.word.generation(),
            probe: self.probe.map(NonZeroU64::get),
        }
    }
}
