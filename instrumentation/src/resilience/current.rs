//! The settings of a policy in force, which may change while calls run.

use std::sync::Arc;

use crate::sync::{Mutex, RwLock};

/// The settings in force, and those that the policy was built with.
#[derive(Debug)]
pub(super) struct Current<S> {
    first: Arc<S>,
    now: RwLock<Arc<S>>,
    /// Held during a change and its consequences.
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

    /// Returns whether the policy was built with these settings.
    pub(super) fn began_with(&self, settings: &S) -> bool {
        *self.first == *settings
    }

    /// Replaces the settings and calls `apply` with the old and the new ones; concurrent changes are made one after the
    /// other.
    pub(super) fn replace<T>(&self, settings: S, apply: impl FnOnce(&S, &S) -> T) -> T {
        let _change = self.change.lock();
        let new = Arc::new(settings);
        let old = std::mem::replace(&mut *self.now.write(), Arc::clone(&new));
        apply(&old, &new)
    }
}
