//! The scope of a request.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::sync::Mutex;

/// The state that the calls of one request share. Clones are handles to the same scope, which ends with the last of
/// them.
#[derive(Clone, Default)]
pub struct RequestContext {
    parts: Arc<Mutex<HashMap<u64, Part>>>,
}

/// The data of one cache or collapser in a request.
type Part = Arc<dyn Any + Send + Sync>;

impl RequestContext {
    /// Starts the scope of a request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the data of `owner` in this request.
    pub(super) fn part<T: Default + Send + Sync + 'static>(&self, owner: Owner) -> Arc<T> {
        let part = {
            let mut parts = self.parts.lock();
            let part = parts.entry(owner.0);
            Arc::clone(part.or_insert_with(|| Arc::new(T::default())))
        };
        part.downcast().expect("an owner keeps one type")
    }
}

impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext").finish_non_exhaustive()
    }
}

/// Identifies a cache or a collapser of the process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner(u64);

impl Owner {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Relaxed))
    }
}
