//! The settings of a policy that are in force, which may change while calls run.

use std::sync::Arc;

use crate::sync::{Mutex, RwLock};

/// Settings in force, and those that the policy was built with.
#[derive(Debug)]
pub(super) struct Current<S> {
    first: Arc<S>,
    now: RwLock<Arc<S>>,
    /// Held for a change and all that it entails.
    change: Mutex<()>,
}

impl<S: PartialEq> Current<S> {
    pub(super) fn new(settings: S) -> Self {
        let first = Arc::new(settings);
        Self {
            now: RwLock::new(Arc::clone(&first)),
            first,
            change: Mutex::new(()),
        }
    }

    pub(super) fn get(&self) -> Arc<S> {
        Arc::clone(&self.now.read())
    }

    /// Reads one setting, or a few.
    pub(super) fn read<T>(&self, read: impl FnOnce(&S) -> T) -> T {
        read(&self.now.read())
    }

    /// Whether the policy was built with these.
    pub(super) fn began_with(&self, settings: &S) -> bool {
        *self.first == *settings
    }

    /// Replaces the settings and calls `apply` with the old and the new ones, one change after the other.
    pub(super) fn replace<T>(&self, settings: S, apply: impl FnOnce(&S, &S) -> T) -> T {
        let _change = self.change.lock();
        let new = Arc::new(settings);
        let old = std::mem::replace(&mut *self.now.write(), Arc::clone(&new));
        apply(&old, &new)
    }
}
