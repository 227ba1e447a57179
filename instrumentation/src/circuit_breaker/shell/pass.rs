//! The data of a call that is kept from its admission to its end.

use super::fast_path::{StateWord, TRACKED};
use super::running::Tick;
use crate::circuit_breaker::rules::call::Ticket;
use crate::circuit_breaker::rules::state::EffectiveState;

/// An admitted call: the state word at its admission, and the slot of a probe or the tick of a running call. Each
/// admission copies it, so it is small.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    pub(super) word: StateWord,
    /// The tick if `word` is tracked, else the slot of a probe; 0 without either. No call has both: slots are given in
    /// half-open, running calls are counted in closed, and `word` is read under the lock that gave the slot.
    number: u64,
}

impl Pass {
    /// A call that is neither a probe nor counted while it runs.
    #[inline]
    pub(super) const fn plain(word: StateWord) -> Self {
        Self { word, number: 0 }
    }

    pub(super) fn probe(word: StateWord, slot: u64) -> Self {
        debug_assert!(!word.has(TRACKED), "a closed breaker has no probes");
        Self { word, number: slot }
    }

    pub(super) fn tracked(word: StateWord, tick: Tick) -> Self {
        let mut pass = Self::plain(word);
        pass.set_tick(tick);
        pass
    }

    /// Returns whether the call is neither a probe nor counted while it runs.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.number == 0 && !self.word.has(TRACKED)
    }

    pub(crate) fn state(self) -> EffectiveState {
        self.word.state()
    }

    pub(crate) fn is_probe(self) -> bool {
        self.number != 0 && !self.word.has(TRACKED)
    }

    /// Returns the tick in which the call is counted while it runs.
    pub(super) fn tick(self) -> Tick {
        match self.word.has(TRACKED) {
            true => Tick(self.number),
            false => Tick::NONE,
        }
    }

    /// Takes the tick: the call is no longer counted while it runs.
    pub(super) fn take_tick(&mut self) -> Tick {
        let tick = self.tick();
        if tick != Tick::NONE {
            self.number = Tick::NONE.0;
        }
        tick
    }

    /// Sets the tick of a tracked call that is counted again.
    pub(super) fn set_tick(&mut self, tick: Tick) {
        debug_assert!(self.word.has(TRACKED), "only then a number is a tick");
        self.number = tick.0;
    }

    pub(super) fn ticket(self) -> Ticket {
        Ticket {
            generation: self.word.generation(),
            probe: self.is_probe().then_some(self.number),
        }
    }
}
