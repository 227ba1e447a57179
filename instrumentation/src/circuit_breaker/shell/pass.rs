//! What a call keeps from its admission to its end.

use super::fast_path::{StateWord, TRACKED};
use super::running::Tick;
use crate::circuit_breaker::rules::call::Ticket;
use crate::circuit_breaker::rules::state::EffectiveState;

/// An admitted call: the state word at its admission, and its slot if it is a probe or where it is counted while it runs.
/// Each admission copies it, so it is small.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    pub(super) word: StateWord,
    /// The tick if `word` is tracked, else the slot of a probe; 0 without either. No call has both: a slot is given half-open
    /// and running calls are counted closed, and the word is read with the lock that gave the slot.
    number: u64,
}

impl Pass {
    /// Of a call that is no probe and is not counted while it runs.
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

    /// Whether it is neither a probe nor counted while it runs.
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

    /// Where it is counted while it runs.
    pub(super) fn tick(self) -> Tick {
        match self.word.has(TRACKED) {
            true => Tick(self.number),
            false => Tick::NONE,
        }
    }

    /// The call is no longer counted while it runs.
    pub(super) fn take_tick(&mut self) -> Tick {
        let tick = self.tick();
        if tick != Tick::NONE {
            self.number = Tick::NONE.0;
        }
        tick
    }

    /// The call of a tracked pass is counted again while it runs.
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
