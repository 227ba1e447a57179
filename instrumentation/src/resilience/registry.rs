//! The policies of a process by kind and name, so that two places that name the same limiter share it, and so that all
//! are exported. Names may come from outside, so a registry that has reached its limit removes unused policies.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use super::event::{Kind, Listener, Listeners};
use super::instrument::Instrument;
use super::policy::{Inner as PolicyInner, Policy, Registered};
use super::snapshot::Snapshot;
use crate::name::Name;
use crate::sync::RwLock;

/// Default limit of policies per registry, the same as for breakers.
pub const MAX_POLICIES: usize = 10_000;

/// The fraction (1/16) of the limit that is removed at once, so that one search makes room for many names.
const SHARE: usize = 16;

/// Policies by kind and name. Clones are handles to the same registry.
///
/// When a new name exceeds the limit, some policies without other handles are removed, first those whose state equals
/// that of a new one. A policy with a handle is never removed, so if all have handles, the registry grows beyond its
/// limit.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

type Key = (Kind, Name);
type Policies = BTreeMap<Key, Arc<dyn Registered>>;

struct Inner {
    limit: usize,
    policies: RwLock<Policies>,
    listeners: Arc<Listeners>,
}

impl Registry {
    /// Returns the registry of the process. `fusebox::init` exports its policies.
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<Registry> = OnceLock::new();
        GLOBAL.get_or_init(Self::new)
    }

    /// Creates an empty registry, separate from the process's, with a limit of [`MAX_POLICIES`].
    pub fn new() -> Self {
        Self::with_limit(MAX_POLICIES)
    }

    /// As [`new`](Self::new), with a limit of `limit` policies, at least one.
    pub fn with_limit(limit: usize) -> Self {
        let inner = Inner {
            limit: limit.max(1),
            policies: RwLock::default(),
            listeners: Arc::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns the policy of this name.
    pub fn get<P: Policy>(&self, name: &str) -> Option<P> {
        let found = self.find::<P::Inner>(&key::<P::Inner>(name))?;
        Some(P::from_inner(found))
    }

    /// Removes the policy of this name and returns it. Other handles to it keep working; building the name again
    /// creates a new policy. A cache of other types is not removed.
    pub fn remove<P: Policy>(&self, name: &str) -> Option<P> {
        let key = key::<P::Inner>(name);
        let mut policies = self.inner.policies.write();
        let found = downcast(policies.get(&key)?.clone())?;
        let removed = policies.remove(&key);
        drop(policies);
        drop(removed);
        Some(P::from_inner(found))
    }

    /// Returns whether the name belongs to a cache of other types.
    pub(super) fn has_other_types<I: PolicyInner>(&self, name: &str) -> bool {
        if I::KIND != Kind::Cache {
            return false; // The others have none.
        }
        let key = key::<I>(name);
        let found = self.inner.policies.read().get(&key).cloned();
        found.is_some_and(|found| downcast::<I>(found).is_none())
    }

    /// Returns the counts of every policy, sorted by kind and name.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let all: Vec<_> = self.inner.policies.read().values().cloned().collect();
        all.iter().map(|policy| policy.snapshot()).collect()
    }

    /// Returns the number of policies.
    pub fn len(&self) -> usize {
        self.inner.policies.read().len()
    }

    /// Returns whether the registry has no policies.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a listener for future events.
    pub fn subscribe(&self, listener: Arc<dyn Listener>) {
        self.inner.listeners.add(listener);
    }

    /// Returns the policy of this name; registers one with these (valid) settings if there is none. If the name belongs
    /// to a cache of other types, the new cache is not registered.
    pub(super) fn get_or_register<I: PolicyInner>(
        &self,
        name: &str,
        settings: impl FnOnce() -> I::Settings,
    ) -> Arc<I> {
        let key = key::<I>(name);
        // Usually it exists: some callers look it up for every call, and readers do not block each other.
        if let Some(policy) = self.find(&key) {
            return policy;
        }
        let mut policies = self.inner.policies.write();
        let known = policies.get(&key).cloned();
        if let Some(policy) = known.clone().and_then(downcast) {
            return policy;
        }
        let listeners = Arc::clone(&self.inner.listeners);
        let instrument = Instrument::new(I::KIND, key.1.clone(), listeners);
        let policy = Arc::new(I::new(instrument, settings()));
        if let Some(known) = known {
            drop(policies);
            warn_of_other_types(known.instrument());
            return policy;
        }
        let evicted = make_room(&mut policies, self.inner.limit);
        policies.insert(key, Arc::<I>::clone(&policy));
        drop(policies);
        drop(evicted);
        policy
    }

    fn find<I: PolicyInner>(&self, key: &Key) -> Option<Arc<I>> {
        let found = self.inner.policies.read().get(key).cloned()?;
        downcast(found)
    }
}

fn warn_of_other_types(known: &Instrument) {
    known.conflict.call_once(|| {
        tracing::warn!(target: "fusebox", policy = &*known.name, "a cache of this name and other types is not registered, so it is neither shared nor exported; not logged again");
    });
}

fn key<I: PolicyInner>(name: &str) -> Key {
    // A name from outside is kept only as long as its policy.
    (I::KIND, Name::counted(name))
}

fn downcast<I: PolicyInner>(policy: Arc<dyn Registered>) -> Option<Arc<I>> {
    let policy: Arc<dyn Any + Send + Sync> = policy;
    policy.downcast().ok()
}

/// Removes and returns policies if there are at least `limit`.
fn make_room(policies: &mut Policies, limit: usize) -> Vec<Arc<dyn Registered>> {
    if policies.len() < limit {
        return Vec::new();
    }
    let unused = policies
        .iter()
        .filter(|(_, policy)| Arc::strong_count(policy) == 1);
    let mut unused: Vec<_> = unused
        .map(|(key, policy)| (!policy.is_idle(), key.clone()))
        .collect();
    // Equal candidates are ordered by name, so that the choice is deterministic.
    unused.sort_unstable();
    unused.truncate(policies.len() + 1 - limit + limit / SHARE);
    let keys = unused.into_iter().map(|(_, key)| key);
    keys.filter_map(|key| policies.remove(&key)).collect()
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.inner.policies.read().keys())
            .finish()
    }
}
