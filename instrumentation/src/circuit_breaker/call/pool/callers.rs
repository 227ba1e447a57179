//! The breakers whose calls a pool runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::circuit_breaker::shell::Shell;
use crate::name::Name;
use crate::sync::Mutex;

/// Breakers that are listed for one pool; names may come from outside. Calls of further ones run all the same.
const CALLERS_MAX: usize = 1_000;

/// Breakers by name, each with how many of its calls were refused.
#[derive(Debug, Default)]
pub(super) struct Callers(Mutex<BTreeMap<Name, Caller>>);

#[derive(Debug)]
struct Caller {
    /// Gone once no registry and no handle has it.
    breaker: Weak<Shell>,
    refused: u64,
}

impl Callers {
    /// Lists the breaker of a call.
    pub(super) fn called(&self, breaker: &Arc<Shell>) {
        self.add(breaker, 0);
    }

    /// Counts a call that the pool refused.
    pub(super) fn refused(&self, breaker: &Arc<Shell>) {
        self.add(breaker, 1);
    }

    fn add(&self, breaker: &Arc<Shell>, refused: u64) {
        let mut callers = self.0.lock();
        if let Some(known) = callers.get_mut(&breaker.name) {
            known.refused += refused;
            if known.breaker.as_ptr() != Arc::as_ptr(breaker) {
                known.breaker = Arc::downgrade(breaker); // Another one of that name.
            }
        } else if callers.len() < CALLERS_MAX {
            let caller = Caller {
                breaker: Arc::downgrade(breaker),
                refused,
            };
            callers.insert(breaker.name.clone(), caller);
        }
    }

    /// Forgets the breakers that are gone, and returns the others.
    #[cfg(any(test, feature = "axum"))]
    pub(super) fn all(&self) -> Vec<(Name, u64)> {
        let mut callers = self.0.lock();
        callers.retain(|_, caller| caller.breaker.strong_count() > 0);
        callers
            .iter()
            .map(|(name, caller)| (name.clone(), caller.refused))
            .collect()
    }
}
