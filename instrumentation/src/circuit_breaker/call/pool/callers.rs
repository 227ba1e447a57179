//! The breakers whose calls a pool runs.

use std::collections::BTreeMap;

use crate::name::Name;
use crate::sync::Mutex;

/// Breakers that are listed for one pool; names may come from outside. Calls of further ones run all the same.
const CALLERS_MAX: usize = 1_000;

/// Breakers by name, each with how many of its calls were refused.
#[derive(Debug, Default)]
pub(super) struct Callers(Mutex<BTreeMap<Name, u64>>);

impl Callers {
    /// Lists the breaker of a call.
    pub(super) fn called(&self, name: &Name) {
        self.add(name, 0);
    }

    /// Counts a call that the pool refused.
    pub(super) fn refused(&self, name: &Name) {
        self.add(name, 1);
    }

    fn add(&self, name: &Name, refused: u64) {
        let mut callers = self.0.lock();
        if let Some(known) = callers.get_mut(name) {
            *known += refused;
        } else if callers.len() < CALLERS_MAX {
            callers.insert(name.clone(), refused);
        }
    }

    #[cfg(any(test, feature = "axum"))]
    pub(super) fn all(&self) -> Vec<(Name, u64)> {
        let callers = self.0.lock();
        callers
            .iter()
            .map(|(name, refused)| (name.clone(), *refused))
            .collect()
    }
}
