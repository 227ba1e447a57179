//! Keeps the answers of calls by key, for a time.

mod entries;
mod settings;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::current::Current;
use super::event::{EventKind, Kind};
use super::handle::policy;
use super::instrument::{Instrument, Running};
use super::policy::{Inner, Registered};
use super::snapshot::Snapshot;
use crate::sync::Mutex;
use crate::time::clock::Clock;
use crate::time::nanos;
use entries::{Entries, Known};
pub use settings::CacheSettings;

/// What a cache finds answers by.
pub trait Key: Hash + Eq + Clone + Send + Sync + 'static {}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Key for K {}

/// An answer that a cache keeps.
pub trait Value: Clone + Send + Sync + 'static {}

impl<V: Clone + Send + Sync + 'static> Value for V {}

/// A cache; clones are handles to the same one.
///
/// Who asks for a key that is being asked for waits for that answer. An error is not kept: those who waited then ask for
/// themselves, all at once, as does whoever comes next. A cache of a name and other types than before replaces the one in the
/// registry.
///
/// ```
/// use fusebox::resilience::Cache;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let users: Cache<u32, String> = Cache::new("users");
/// for _ in 0..2 {
///     let user = users.call(7, || async { Ok::<_, std::io::Error>("Ada".to_owned()) }).await;
///     assert_eq!(user.unwrap(), "Ada");
/// }
/// use fusebox::resilience::EventKind;
/// assert_eq!(users.snapshot().count(EventKind::FromCache), 1);
/// # }
/// ```
pub struct Cache<K, V> {
    inner: Arc<Store<K, V>>,
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

policy!(Cache [K: Key, V: Value], Store<K, V>, CacheSettings);

/// What the handles share.
pub(super) struct Store<K, V> {
    instrument: Instrument,
    settings: Current<CacheSettings>,
    clock: Clock,
    entries: Mutex<Entries<K, V>>,
}

impl<K: Key, V: Value> Inner for Store<K, V> {
    type Settings = CacheSettings;

    const KIND: Kind = Kind::Cache;

    fn new(instrument: Instrument, settings: CacheSettings) -> Self {
        Self {
            instrument,
            settings: Current::new(settings),
            clock: Clock::start(),
            entries: Mutex::default(),
        }
    }

    fn settings(&self) -> &Current<CacheSettings> {
        &self.settings
    }
}

impl<K: Key, V: Value> Registered for Store<K, V> {
    fn instrument(&self) -> &Instrument {
        &self.instrument
    }

    fn snapshot(&self) -> Snapshot {
        let capacity = self.settings.read(|settings| settings.capacity);
        let kept = self.entries.lock().len() as u64;
        Snapshot {
            available: Some(u64::from(capacity).saturating_sub(kept)),
            ..self.instrument.snapshot()
        }
    }

    fn is_idle(&self) -> bool {
        self.entries.lock().len() == 0
    }
}

impl<K: Key, V: Value> Cache<K, V> {
    /// Returns the answer to `key`; runs the future that `call` returns if there is none.
    ///
    /// # Errors
    /// Returns the call's own error.
    pub async fn call<E, Fut>(&self, key: K, call: impl FnOnce() -> Fut) -> Result<V, E>
    where
        Fut: Future<Output = Result<V, E>>,
    {
        match self.find(key).await {
            Found::Answer(value) => Ok(value),
            Found::Question(question) => {
                let result = call().await;
                match &result {
                    Ok(value) => question.answered(value.clone()),
                    Err(_) => question.failed(),
                }
                result
            }
        }
    }

    /// Forgets the answer to `key`, after a change of what it is about. An answer that is under way is not kept.
    pub fn remove(&self, key: &K) {
        let forgotten = self.inner.entries.lock().remove(key);
        drop(forgotten);
    }

    /// Forgets all answers.
    pub fn clear(&self) {
        let forgotten = self.inner.entries.lock().clear();
        drop(forgotten);
    }

    /// Returns the answer to `key`, once there is one if another caller asks for it, or the question.
    pub(crate) async fn find(&self, key: K) -> Found<'_, K, V> {
        let store = &*self.inner;
        let mut running = Running::start(&store.instrument, 0);
        let (sender, answer) = watch::channel(None);
        let by = match store.known(&key, &answer) {
            Known::Answered(value) => return Found::answer(&mut running, &value),
            Known::Nothing(by) => by,
            Known::Asked(mut answer) => {
                // An error is that whoever asked got none.
                let answered = answer.wait_for(Option::is_some).await;
                if let Some(value) = answered.ok().and_then(|value| value.clone()) {
                    return Found::answer(&mut running, &value);
                }
                0 // Asks for itself.
            }
        };
        Found::Question(Question {
            store,
            running,
            key,
            by,
            sender,
        })
    }
}

impl<K: Key, V: Value> Store<K, V> {
    fn known(&self, key: &K, answer: &entries::Answer<V>) -> Known<V> {
        let (capacity, ttl) = self
            .settings
            .read(|settings| (settings.capacity, settings.ttl));
        let now = self.clock.now();
        // What was answered at this very moment has its time before it.
        let oldest = ttl.map_or(0, |ttl| (now + 1).saturating_sub(nanos(ttl)));
        let (known, forgotten) = self
            .entries
            .lock()
            .find(key, oldest, capacity as usize, answer);
        drop(forgotten);
        known
    }
}

/// What a cache has for a key.
pub(crate) enum Found<'a, K: Key, V: Value> {
    Answer(V),
    /// Nothing: whoever has this asks.
    Question(Question<'a, K, V>),
}

impl<K: Key, V: Value> Found<'_, K, V> {
    fn answer(running: &mut Running<'_>, value: &Arc<V>) -> Self {
        running.end(EventKind::FromCache, Duration::ZERO);
        Self::Answer(V::clone(value))
    }
}

/// The right to answer a key. Dropped without an answer it leaves the question to the others.
pub(crate) struct Question<'a, K: Key, V: Value> {
    store: &'a Store<K, V>,
    running: Running<'a>,
    key: K,
    /// 0 of one whose answer is not kept.
    by: u64,
    sender: watch::Sender<Option<Arc<V>>>,
}

impl<K: Key, V: Value> Question<'_, K, V> {
    /// Keeps the answer, and hands it to those who wait.
    pub(crate) fn answered(mut self, value: V) {
        let value = Arc::new(value);
        let now = self.store.clock.now();
        let answer = {
            let value = Arc::clone(&value);
            let mut entries = self.store.entries.lock();
            entries.answer(&self.key, self.by, value, now)
        };
        drop(answer);
        self.sender.send_replace(Some(value));
        self.running.end(EventKind::Succeeded, Duration::ZERO);
    }

    /// Ends without an answer to keep.
    pub(crate) fn failed(mut self) {
        self.running.end(EventKind::Failed, Duration::ZERO);
    }
}

impl<K: Key, V: Value> Drop for Question<'_, K, V> {
    fn drop(&mut self) {
        let forgotten = self.store.entries.lock().give_up(&self.key, self.by);
        drop(forgotten);
    }
}
