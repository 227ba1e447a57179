//! Limits the number of retries or hedges of all calls together, so that a target that fails for every caller does not
//! receive a multiple of the load.

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use crate::setting::{Problem, ensure, within};
use crate::sync::Mutex;
use crate::time::clock::Clock;

/// Budgets count in thousandths of a token.
const TOKEN: u64 = 1_000;

/// Upper limit of the settings `max_saved` and `per_second`.
const MAX_TOKENS: u32 = 1_000_000;

/// A token budget: each retry or hedge takes a token; calls and time add fractions of tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetSettings {
    /// Extra attempts per 100 calls. Default 20.
    pub percent_of_calls: f64,
    /// Extra attempts per second, so that callers that rarely call can retry too. Default 10.
    pub per_second: u32,
    /// Most unused extra attempts that are saved up, which is also the number at the start. Default 100.
    pub max_saved: u32,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self {
            percent_of_calls: 20.0,
            per_second: 10,
            max_saved: 100,
        }
    }
}

impl BudgetSettings {
    pub(super) fn check(&self) -> Result<(), Problem> {
        let percent = self.percent_of_calls;
        ensure(
            (0.0..=1_000.0).contains(&percent),
            "budget.percent_of_calls",
            || format!("must be 0 to 1000, not {percent}"),
        )?;
        let second = self.per_second;
        ensure(second <= MAX_TOKENS, "budget.per_second", || {
            format!("must be at most {MAX_TOKENS}, not {second}")
        })?;
        within("budget.max_saved", self.max_saved, MAX_TOKENS)
    }
}

/// The tokens of a budget; without settings, tokens are unlimited.
#[derive(Debug)]
pub(super) struct Budget {
    is_limited: AtomicBool,
    per_call: AtomicU64,
    per_second: AtomicU32,
    most: AtomicU64,
    tokens: AtomicU64,
    clock: Clock,
    /// The time up to which tokens have been added.
    paid_until: Mutex<u64>,
}

impl Budget {
    pub(super) fn new(settings: Option<&BudgetSettings>) -> Self {
        let budget = Self {
            is_limited: AtomicBool::new(false),
            per_call: AtomicU64::new(0),
            per_second: AtomicU32::new(0),
            most: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            clock: Clock::start(),
            paid_until: Mutex::new(0),
        };
        budget.apply(settings);
        budget
    }

    /// Applies other settings: saved tokens are kept up to the new limit; a budget that was unlimited starts full.
    pub(super) fn apply(&self, settings: Option<&BudgetSettings>) {
        self.add_time();
        if let Some(settings) = settings {
            let per_call = settings.percent_of_calls * TOKEN as f64 / 100.0;
            let most = u64::from(settings.max_saved) * TOKEN;
            self.per_call.store(per_call as u64, Relaxed);
            self.per_second.store(settings.per_second, Relaxed);
            self.most.store(most, Relaxed);
            match self.is_limited.load(Relaxed) {
                true => self.tokens.fetch_min(most, Relaxed),
                false => self.tokens.swap(most, Relaxed),
            };
        }
        self.is_limited.store(settings.is_some(), Relaxed);
    }

    /// Adds the fraction of a token for a call.
    #[inline]
    pub(super) fn add_call(&self) {
        // A budget that is not used is full, and is only read.
        if self.is_limited.load(Relaxed) && self.tokens.load(Relaxed) < self.most.load(Relaxed) {
            self.add(self.per_call.load(Relaxed));
        }
    }

    /// Takes a token; returns `false` if there is none.
    pub(super) fn take(&self) -> bool {
        if !self.is_limited.load(Relaxed) {
            return true;
        }
        self.add_time();
        let take = |tokens: u64| tokens.checked_sub(TOKEN);
        self.tokens.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    /// Returns an unused token.
    pub(super) fn give_back(&self) {
        self.add(TOKEN);
    }

    pub(super) fn is_full(&self) -> bool {
        self.add_time();
        !self.is_limited.load(Relaxed) || self.tokens.load(Relaxed) >= self.most.load(Relaxed)
    }

    /// Returns the remaining tokens, if they are limited.
    pub(super) fn left(&self) -> Option<u64> {
        self.add_time();
        let is_limited = self.is_limited.load(Relaxed);
        is_limited.then(|| self.tokens.load(Relaxed) / TOKEN)
    }

    fn add(&self, tokens: u64) {
        let most = self.most.load(Relaxed);
        let add = |known: u64| Some(known.saturating_add(tokens).min(most));
        let _ = self.tokens.fetch_update(Relaxed, Relaxed, add); // It always adds.
    }

    fn add_time(&self) {
        let mut paid_until = self.paid_until.lock();
        let nanos_of_token = match self.per_second.load(Relaxed) {
            // The time until now adds no tokens.
            0 => return *paid_until = self.clock.now(),
            tokens => 1_000_000_000 / u64::from(tokens),
        };
        let whole = self.clock.now().saturating_sub(*paid_until) / nanos_of_token.max(1);
        *paid_until += whole * nanos_of_token;
        self.add(whole.saturating_mul(TOKEN));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn budget(percent_of_calls: f64, per_second: u32, max_saved: u32) -> Budget {
        Budget::new(Some(&BudgetSettings {
            percent_of_calls,
            per_second,
            max_saved,
        }))
    }

    fn takes(budget: &Budget) -> usize {
        (0..10_000).take_while(|_| budget.take()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn calls_and_time_add_to_what_is_saved() {
        let budget = budget(20.0, 2, 5);
        assert_eq!(takes(&budget), 5, "it starts full");
        (0..9).for_each(|_| budget.add_call());
        assert_eq!(
            takes(&budget),
            1,
            "a fifth of nine calls is one, and a rest"
        );
        budget.add_call();
        assert_eq!(takes(&budget), 1, "the rest was kept");
        tokio::time::advance(Duration::from_millis(1_499)).await;
        assert_eq!(takes(&budget), 2);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(takes(&budget), 1, "parts of a token are not lost");
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert_eq!(takes(&budget), 5, "no more is saved than the settings say");
    }

    /// Guarantees: several threads together take exactly the available tokens.
    #[test]
    fn tokens_are_taken_once() {
        let budget = budget(0.0, 0, 1_000);
        let taken = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| takes(&budget))).collect();
            let taken = threads.into_iter().map(|thread| thread.join().unwrap());
            taken.sum::<usize>()
        });
        assert_eq!(taken, 1_000);
    }
}
