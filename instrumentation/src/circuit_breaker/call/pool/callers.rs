//! The breakers whose calls a pool runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::circuit_breaker::shell::Shell;
use crate::name::Name;
use crate::sync::Mutex;

/// Most breakers listed for one pool, because names may come from outside. Calls of other breakers run but are not
/// listed.
const CALLERS_MAX: usize = 1_000;

/// Breakers by name, each with the number of its refused calls.
#[derive(Debug, Default)]
pub(super) struct Callers(Mutex<Listed>);

#[derive(Debug, Default)]
struct Listed {
    by_name: BTreeMap<Name, Caller>,
    /// The number of names left after the last removal of dropped breakers; `new` counts the names added since.
    left: usize,
    new: usize,
}

#[derive(Debug)]
struct Caller {
    /// Dead once no registry and no handle holds the breaker.
    breaker: Weak<Shell>,
    refused: u64,
}

impl Callers {
    /// Lists the breaker of a call, if there is room.
    pub(super) fn called(&self, breaker: &Arc<Shell>) {
        self.add(breaker, 0);
    }

    /// Counts a call that the pool refused.
    pub(super) fn refused(&self, breaker: &Arc<Shell>) {
        self.add(breaker, 1);
    }

    fn add(&self, breaker: &Arc<Shell>, refused: u64) {
        let mut listed = self.0.lock();
        if let Some(known) = listed.by_name.get_mut(&breaker.name) {
            known.refused += refused;
            if known.breaker.as_ptr() != Arc::as_ptr(breaker) {
                known.breaker = Arc::downgrade(breaker); // Another one of that name.
            }
        } else if listed.has_room() {
            let caller = Caller {
                breaker: Arc::downgrade(breaker),
                refused,
            };
            listed.by_name.insert(breaker.name.clone(), caller);
        }
    }

    /// Removes dropped breakers and returns the others.
    #[cfg(any(test, feature = "axum", feature = "telemetry"))]
    pub(super) fn all(&self) -> Vec<(Name, u64)> {
        let mut listed = self.0.lock();
        listed.forget_gone();
        let callers = listed.by_name.iter();
        callers
            .map(|(name, caller)| (name.clone(), caller.refused))
            .collect()
    }
}

impl Listed {
    /// Returns whether one more name may be listed. Searches for dropped breakers only after as many new names as there
    /// were left, so the cost per name is constant.
    fn has_room(&mut self) -> bool {
        self.new += 1;
        if self.new > self.left {
            self.forget_gone();
        }
        self.by_name.len() < CALLERS_MAX
    }

    fn forget_gone(&mut self) {
        self.by_name
            .retain(|_, caller| caller.breaker.strong_count() > 0);
        (self.left, self.new) = (self.by_name.len(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit_breaker::{CircuitBreaker, Registry};

    fn breaker(number: usize) -> CircuitBreaker {
        let name = format!("tenant-{number}");
        CircuitBreaker::builder(&name)
            .registry(&Registry::new())
            .build()
    }

    /// Guarantees: names of dropped breakers are removed even if no reader asks for the list, and a full list takes new
    /// names as soon as there is room.
    #[test]
    fn names_go_with_their_breakers() {
        let callers = Callers::default();
        for number in 0..10 * CALLERS_MAX {
            callers.called(&breaker(number).shell);
            assert!(callers.0.lock().by_name.len() <= 2);
        }
        let mut kept: Vec<_> = (0..CALLERS_MAX + 5).map(breaker).collect();
        kept.iter().for_each(|one| callers.called(&one.shell));
        assert_eq!(callers.all().len(), CALLERS_MAX);
        kept.drain(..CALLERS_MAX);
        for _ in 0..=CALLERS_MAX {
            kept.iter().for_each(|one| callers.called(&one.shell));
        }
        assert_eq!(callers.0.lock().by_name.len(), 5);
    }
}
