//! What operators' changes set through actuators, and what was there before: it is put back when they expire. It is kept on disk
//! (`actuators.json`) and written before a change is made, so that neither a restart of the collector nor a lapse of a
//! registration forgets it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fusebox::control::EXPIRY_MAX;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as AsyncMutex;

use super::Id;
use crate::model::UnixNanos;
use crate::store::cancel::completed;
use crate::store::{StoreError, durable};
use crate::sync::Mutex;

/// Levels and switched circuit breakers of one instance.
const OF_INSTANCE_MAX: usize = 256;
/// The same of all instances, about 200 bytes each.
const ALL_MAX: usize = 20_000;

/// A level that was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeldLevel {
    /// The level, as the actuator names it.
    pub(super) set: String,
    /// The configured level before; `None` if it had none.
    pub(super) before: Option<String>,
    /// When it expires, by the collector's clock.
    #[serde(rename = "expires_unix_nanos")]
    pub(super) expires: UnixNanos,
    /// The process, as far as it is known: another one has a configuration of its own.
    pub(super) process: String,
}

/// A circuit breaker that was switched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeldBreaker {
    /// The state that it was given, as the actuator names it.
    pub(super) state: String,
    /// When it expires, by the collector's clock.
    #[serde(rename = "expires_unix_nanos")]
    pub(super) expires: UnixNanos,
}

/// What one instance has to be put back to, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct OfInstance {
    pub(super) levels: BTreeMap<String, HeldLevel>,
    pub(super) breakers: BTreeMap<String, HeldBreaker>,
}

/// By service and instance.
type All = BTreeMap<String, BTreeMap<String, OfInstance>>;

/// What all instances have to be put back to; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Held {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    state: Mutex<State>,
    /// The number of changes that are on disk; whoever waits for it finds that others have written them too.
    written: AsyncMutex<u64>,
}

#[derive(Debug, Default)]
struct State {
    all: All,
    changes: u64,
}

/// Why something could not be held.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeldError {
    #[error("too many levels and circuit breakers are changed through actuators; reset some")]
    Full,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Held {
    /// Reads the file; nothing is held if it is missing or unreadable.
    pub(super) fn open(path: PathBuf, now: UnixNanos) -> Self {
        let mut all = read(&path);
        // Whoever was away for so long was started again, or is gone.
        let is_recent = |expires: UnixNanos| expires + EXPIRY_MAX > now;
        for of in all.values_mut().flat_map(BTreeMap::values_mut) {
            of.levels.retain(|_, held| is_recent(held.expires));
            of.breakers.retain(|_, held| is_recent(held.expires));
        }
        let state = State { all, changes: 0 };
        Self {
            inner: Arc::new(Inner {
                path,
                state: Mutex::new(state),
                written: AsyncMutex::default(),
            }),
        }
    }

    pub(super) fn of(&self, (service, instance): &Id) -> OfInstance {
        let state = self.inner.state.lock();
        let of = state.all.get(service).and_then(|all| all.get(instance));
        of.cloned().unwrap_or_default()
    }

    /// Holds a level; `None` ends it. Returns once it is durable.
    pub(super) async fn set_level(
        &self,
        id: &Id,
        name: &str,
        level: Option<HeldLevel>,
    ) -> Result<(), HeldError> {
        self.change(id, |of| set(&mut of.levels, name, level)).await
    }

    /// Holds a circuit breaker; `None` ends it. Returns once it is durable.
    pub(super) async fn set_breaker(
        &self,
        id: &Id,
        name: &str,
        breaker: Option<HeldBreaker>,
    ) -> Result<(), HeldError> {
        self.change(id, |of| set(&mut of.breakers, name, breaker))
            .await
    }

    async fn change(
        &self,
        (service, instance): &Id,
        change: impl FnOnce(&mut OfInstance),
    ) -> Result<(), HeldError> {
        let now = UnixNanos::now();
        let number = {
            let mut state = self.inner.state.lock();
            let of_service = state.all.entry(service.clone()).or_default();
            let of = of_service.entry(instance.clone()).or_default();
            let before = of.clone();
            change(of);
            let (is_more, is_full) = (of.len() > before.len(), of.len() > OF_INSTANCE_MAX);
            let is_refused = is_full || (state.len() > ALL_MAX && !state.forget_oldest(now));
            if is_more && is_refused {
                state.put(service, instance, before);
                return Err(HeldError::Full);
            }
            state.forget_empty(service, instance);
            state.changes += 1;
            state.changes
        };
        let held = self.clone();
        let path = self.inner.path.clone();
        // Also if the round of its instance ends meanwhile.
        completed(&path, async move { held.write(number).await }).await?;
        Ok(())
    }

    /// Writes the file, unless another change has written this one too.
    async fn write(&self, number: u64) -> Result<(), StoreError> {
        let mut written = self.inner.written.lock().await;
        if *written >= number {
            return Ok(());
        }
        let (changes, json) = {
            let state = self.inner.state.lock();
            (state.changes, serde_json::to_vec(&state.all))
        };
        let path = self.inner.path.clone();
        let failed = |error| StoreError::io("write", &self.inner.path, error);
        let json = json.map_err(|error| failed(std::io::Error::other(error)))?;
        let write = tokio::task::spawn_blocking(move || durable::write(&path, &json));
        write
            .await
            .map_err(|error| failed(std::io::Error::other(error)))??;
        *written = changes;
        Ok(())
    }
}

impl State {
    fn len(&self) -> usize {
        let all = self.all.values().flat_map(BTreeMap::values);
        all.map(OfInstance::len).sum()
    }

    /// Makes room by forgetting what has expired first: its instance did not come back to be put back. Returns false if nothing
    /// has expired.
    fn forget_oldest(&mut self, now: UnixNanos) -> bool {
        let all = self.all.values().flat_map(BTreeMap::values);
        let Some(oldest) = all.filter_map(OfInstance::first_expiry).min() else {
            return false;
        };
        if oldest > now {
            return false;
        }
        for of in self.all.values_mut().flat_map(BTreeMap::values_mut) {
            of.levels.retain(|_, held| held.expires > oldest);
            of.breakers.retain(|_, held| held.expires > oldest);
        }
        self.all.retain(|_, of_service| {
            of_service.retain(|_, of| of.len() > 0);
            !of_service.is_empty()
        });
        true
    }

    fn put(&mut self, service: &str, instance: &str, of: OfInstance) {
        let of_service = self.all.entry(service.to_owned()).or_default();
        of_service.insert(instance.to_owned(), of);
        self.forget_empty(service, instance);
    }

    fn forget_empty(&mut self, service: &str, instance: &str) {
        if let Some(of_service) = self.all.get_mut(service) {
            if of_service.get(instance).is_some_and(|of| of.len() == 0) {
                of_service.remove(instance);
            }
            if of_service.is_empty() {
                self.all.remove(service);
            }
        }
    }
}

impl OfInstance {
    fn len(&self) -> usize {
        self.levels.len() + self.breakers.len()
    }

    fn first_expiry(&self) -> Option<UnixNanos> {
        let levels = self.levels.values().map(|held| held.expires);
        let breakers = self.breakers.values().map(|held| held.expires);
        levels.chain(breakers).min()
    }
}

fn set<T>(of: &mut BTreeMap<String, T>, name: &str, held: Option<T>) {
    match held {
        Some(held) => of.insert(name.to_owned(), held),
        None => of.remove(name),
    };
}

fn read(path: &Path) -> All {
    let lost = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, "could not read what actuators have to be put back to");
        All::default()
    };
    match durable::read_json(path) {
        Ok(None) => All::default(),
        Ok(Some(json)) => serde_json::from_value(json).unwrap_or_else(|error| lost(&error)),
        Err(error) => lost(&error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn breaker(expires: UnixNanos) -> Option<HeldBreaker> {
        let state = "FORCED_OPEN".to_owned();
        Some(HeldBreaker { state, expires })
    }

    /// Scenario: more circuit breakers are held than may be; one of them ends; the file is read again, then a day later.
    /// Guarantees: what was held is there again as long as it may be in force, and there is never more than allowed.
    #[tokio::test]
    async fn what_is_held_is_bounded_and_outlives_the_collector() {
        let dir = tempfile::tempdir().unwrap();
        let (path, now) = (dir.path().join("actuators.json"), UnixNanos::now());
        let held = Held::open(path.clone(), now);
        let id = ("shop".to_owned(), "a".to_owned());
        let names = (0..OF_INSTANCE_MAX).map(|n| format!("b{n}"));
        let set = names.map(|name| {
            let (held, id) = (held.clone(), id.clone());
            async move { held.set_breaker(&id, &name, breaker(now)).await.unwrap() }
        });
        futures_util::future::join_all(set).await;
        let full = held.set_breaker(&id, "more", breaker(now)).await;
        assert!(matches!(full, Err(HeldError::Full)));
        assert_eq!(Held::open(path.clone(), now).of(&id), held.of(&id));
        held.set_breaker(&id, "b0", None).await.unwrap();
        held.set_breaker(&id, "more", breaker(now)).await.unwrap();
        assert_eq!(held.of(&id).len(), OF_INSTANCE_MAX);
        let later = Held::open(path, now + 2 * EXPIRY_MAX);
        assert_eq!(later.of(&id), OfInstance::default());
    }

    /// Scenario: instances that are gone hold two circuit breakers whose changes have expired, one of them longer ago.
    /// Guarantees: room is made by the one that expired first, and nothing that is in force makes room.
    #[test]
    fn what_expired_first_makes_room() {
        let now = UnixNanos::now();
        let ago = Duration::from_secs(60);
        let mut state = State::default();
        for (id, expires) in [("a", now - ago), ("b", now - 2 * ago), ("c", now + ago)] {
            let mut of = OfInstance::default();
            set(&mut of.breakers, "stock", breaker(expires));
            state.put("shop", id, of);
        }
        let ids = |state: &State| {
            let of_service = state.all.get("shop").into_iter().flatten();
            of_service.map(|(id, _)| id.clone()).collect::<String>()
        };
        for expected in ["ac", "c"] {
            assert!(state.forget_oldest(now));
            assert_eq!(ids(&state), expected);
        }
        assert!(!state.forget_oldest(now));
        assert_eq!(ids(&state), "c");
    }
}
