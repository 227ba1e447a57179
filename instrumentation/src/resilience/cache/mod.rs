//! Caches the results of calls by key for a limited time.

mod entries;
mod settings;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::current::Current;
use super::event::{EventKind, Kind};
use super::handle::policy;
use super::instrument::{Instrument, Running};
use super::policy::{Inner, Registered};
use super::snapshot::Snapshot;
use super::waiting::Waiters;
use crate::sync::Mutex;
use crate::time::clock::Clock;
use crate::time::nanos;
use entries::{Answer, Asking, End, Entries, Known};
pub use settings::CacheSettings;

/// The key of a cached value.
pub trait Key: Hash + Eq + Clone + Send + Sync + 'static {}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Key for K {}

/// A value that a cache stores.
pub trait Value: Clone + Send + Sync + 'static {}

impl<V: Clone + Send + Sync + 'static> Value for V {}

/// A cache. Clones are handles to the same cache.
///
/// Concurrent callers of the same key wait for one call, up to [`max_waiting`](CacheSettings::max_waiting) callers.
/// Errors are not cached: after an error the waiting callers make their own calls, all at once. If the caller that
/// makes the call is dropped or panics, one of the waiting callers makes the call instead.
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
    waiting: Waiters,
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
            waiting: Waiters::default(),
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
            waiting: Some(u64::from(self.waiting.count())),
            ..self.instrument.snapshot()
        }
    }

    fn is_idle(&self) -> bool {
        self.entries.lock().len() == 0
    }
}

impl<K: Key, V: Value> Cache<K, V> {
    /// Returns the value of `key`; runs the future that `call` returns if there is none.
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

    /// Removes the value of `key`, for example after it has changed. The result of a call in progress is not stored.
    pub fn remove(&self, key: &K) {
        let forgotten = self.inner.entries.lock().remove(key);
        drop(forgotten);
    }

    /// Removes all values.
    pub fn clear(&self) {
        let forgotten = self.inner.entries.lock().clear();
        drop(forgotten);
    }

    /// Returns the value of `key`, after waiting for it if another caller is making the call, or the right to make the
    /// call.
    pub(crate) async fn find(&self, key: K) -> Found<'_, K, V> {
        let store = &*self.inner;
        let mut running = Running::start(&store.instrument, 0);
        let max_waiting = store.settings.read(|settings| settings.max_waiting);
        let mut may_wait = true;
        let asking = loop {
            let answer = match store.known(&key) {
                Known::Answered(value) => return Found::answer(&mut running, &value),
                Known::Nothing(asking) => break Some(asking),
                Known::Asked(answer) => answer,
            };
            let Some(_waiting) = store.waiting.join(max_waiting).filter(|_| may_wait) else {
                break None;
            };
            match end_of(answer).await {
                Some(End::Answered(value)) => return Found::answer(&mut running, &value),
                // In a queue, each would wait for the timeouts of all calls before it.
                Some(End::Failed) => may_wait = false,
                // The calling task gave up, which says nothing about the target: one of the waiting callers makes the
                // call now.
                None => {}
            }
        };
        Found::Question(Question {
            store,
            running,
            key,
            asking,
        })
    }
}

/// Waits for the end of a call; returns `None` if its caller gave up.
async fn end_of<V: Value>(mut answer: Answer<V>) -> Option<End<V>> {
    let end = answer.wait_for(Option::is_some).await;
    end.ok().and_then(|end| end.clone())
}

impl<K: Key, V: Value> Store<K, V> {
    fn known(&self, key: &K) -> Known<V> {
        let (capacity, ttl) = self
            .settings
            .read(|settings| (settings.capacity, settings.ttl));
        let now = self.clock.now();
        // A value stored at this very nanosecond is not expired.
        let oldest = ttl.map_or(0, |ttl| (now + 1).saturating_sub(nanos(ttl)));
        let (known, forgotten) = self.entries.lock().find(key, oldest, capacity as usize);
        drop(forgotten);
        known
    }

    fn give_up(&self, key: &K, by: u64) {
        let forgotten = self.entries.lock().give_up(key, by);
        drop(forgotten);
    }
}

/// The result of a lookup.
pub(crate) enum Found<'a, K: Key, V: Value> {
    Answer(V),
    /// No value: the holder of this makes the call.
    Question(Question<'a, K, V>),
}

impl<K: Key, V: Value> Found<'_, K, V> {
    fn answer(running: &mut Running<'_>, value: &Arc<V>) -> Self {
        running.end(EventKind::FromCache, Duration::ZERO);
        Self::Answer(V::clone(value))
    }
}

/// The right to provide the value of a key. Dropped without a value, it passes to another caller.
pub(crate) struct Question<'a, K: Key, V: Value> {
    store: &'a Store<K, V>,
    running: Running<'a>,
    key: K,
    /// `None` if another caller is making the call; the value is then not stored.
    asking: Option<Asking<V>>,
}

impl<K: Key, V: Value> Question<'_, K, V> {
    /// Stores the value and passes it to the waiting callers.
    pub(crate) fn answered(mut self, value: V) {
        if let Some(Asking { by, end }) = self.asking.take() {
            let (value, now) = (Arc::new(value), self.store.clock.now());
            let kept = Arc::clone(&value);
            let answer = self.store.entries.lock().answer(&self.key, by, kept, now);
            drop(answer);
            end.send_replace(Some(End::Answered(value)));
        }
        self.running.end(EventKind::Succeeded, Duration::ZERO);
    }

    /// Ends without a value to store.
    pub(crate) fn failed(mut self) {
        if let Some(Asking { by, end }) = self.asking.take() {
            // Before the waiting callers look again.
            self.store.give_up(&self.key, by);
            end.send_replace(Some(End::Failed));
        }
        self.running.end(EventKind::Failed, Duration::ZERO);
    }
}

impl<K: Key, V: Value> Drop for Question<'_, K, V> {
    fn drop(&mut self) {
        if let Some(asking) = self.asking.take() {
            self.store.give_up(&self.key, asking.by);
        }
    }
}
