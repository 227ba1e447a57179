//! Caches results for the length of a request, as Hystrix's request cache does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::context::{Owner, RequestContext};
use crate::circuit_breaker::CircuitBreaker;
use crate::resilience::attempt::{self, Observed};
use crate::resilience::waiting::{Waiters, Waiting};
use crate::sync::Mutex;

/// Most results that one cache keeps per request; further keys are called each time.
pub const KEYS_MAX: usize = 1_000;
/// Most callers that wait for results in one cache per request, as many as of `resilience::Cache` by default; further ones
/// make their own call.
pub const WAITING_MAX: u32 = 1_000;

/// Caches the results of calls behind a breaker for the length of a request. Each key is called once: concurrent
/// callers wait for the same result, up to [`WAITING_MAX`] of them, and errors are cached too.
///
/// If the caller that makes the call is dropped, the next waiting caller makes it.
///
/// ```
/// use std::io::Error;
///
/// use fusebox::circuit_breaker::{CallError, CircuitBreaker};
/// use fusebox::request::{RequestCache, RequestContext};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let breaker = CircuitBreaker::new("user");
/// let users: RequestCache<u32, String, CallError<Error>> = RequestCache::new(&breaker);
/// let request = RequestContext::new();
/// for _ in 0..2 {
///     let ask = || breaker.call(async { Ok("Ada".to_owned()) });
///     assert_eq!(users.get(&request, 7, ask).await.unwrap(), "Ada");
/// }
/// assert_eq!(breaker.snapshot().calls.success, 1);
/// # }
/// ```
pub struct RequestCache<K, V, E> {
    owner: Owner,
    breaker: CircuitBreaker,
    answers: PhantomData<fn(K) -> Result<V, E>>,
}

/// The result for a key, once there is one, and what a breaker of each caller is to observe of the call.
type Answer<V, E> = Arc<OnceCell<(Result<V, Arc<E>>, Observed)>>;

/// The results of one request.
struct Answers<K, V, E> {
    by_key: Mutex<HashMap<K, Answer<V, E>>>,
    waiting: Waiters,
}

/// A key's result, and the place among those that wait for it if another caller is getting it.
struct Place<'a, V, E> {
    answer: Answer<V, E>,
    waiting: Option<Waiting<'a>>,
}

impl<K, V, E> Default for Answers<K, V, E> {
    fn default() -> Self {
        Self {
            by_key: Mutex::new(HashMap::new()),
            waiting: Waiters::default(),
        }
    }
}

impl<K: Hash + Eq, V, E> Answers<K, V, E> {
    /// Returns `None` if there is no room, for another key or for another one who waits.
    fn place(&self, key: K) -> Option<Place<'_, V, E>> {
        let (answer, is_new) = self.answer(key)?;
        let waits = !is_new && !answer.initialized();
        let waiting = waits.then(|| self.waiting.join(WAITING_MAX));
        match waiting {
            Some(None) => None,
            waiting => Some(Place {
                answer,
                waiting: waiting.flatten(),
            }),
        }
    }

    fn answer(&self, key: K) -> Option<(Answer<V, E>, bool)> {
        let mut by_key = self.by_key.lock();
        let has_room = by_key.len() < KEYS_MAX;
        match by_key.entry(key) {
            Entry::Occupied(known) => Some((Arc::clone(known.get()), false)),
            Entry::Vacant(new) => {
                has_room.then(|| (Arc::clone(new.insert(Answer::default())), true))
            }
        }
    }
}

impl<K, V, E> RequestCache<K, V, E>
where
    K: Hash + Eq + Send + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Creates a cache for the calls behind `breaker`. The breaker counts the calls that were answered from the cache.
    pub fn new(breaker: &CircuitBreaker) -> Self {
        Self {
            owner: Owner::new(),
            breaker: breaker.clone(),
            answers: PhantomData,
        }
    }

    /// Returns the result for `key` in this request; calls `ask` if there is none and no other caller is getting it.
    ///
    /// # Errors
    /// Returns the error of the call.
    pub async fn get<F>(
        &self,
        request: &RequestContext,
        key: K,
        ask: impl FnOnce() -> F,
    ) -> Result<V, Arc<E>>
    where
        F: Future<Output = Result<V, E>>,
    {
        let part = self.part(request);
        let Some(Place {
            answer,
            mut waiting,
        }) = part.place(key)
        else {
            return ask().await.map_err(Arc::new);
        };
        let mut asked = false;
        let result = answer.get_or_init(|| {
            asked = true;
            // Whoever makes the call does not wait any more.
            waiting = None;
            attempt::observed(async { ask().await.map_err(Arc::new) })
        });
        let (result, observed) = result.await.clone();
        observed.pass_on();
        if !asked {
            self.breaker.shell.shared.answered_from_cache();
        }
        result
    }

    /// Removes the result for `key` in this request, for example after the value has changed.
    pub fn clear(&self, request: &RequestContext, key: &K) {
        let forgotten = self.part(request).by_key.lock().remove(key);
        drop(forgotten); // Without the lock: it is the application's.
    }

    fn part(&self, request: &RequestContext) -> Arc<Answers<K, V, E>> {
        request.part(self.owner)
    }
}

impl<K, V, E> fmt::Debug for RequestCache<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestCache")
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}
