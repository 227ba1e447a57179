//! Cancellable work on blocking threads. A query stops at its next check once its caller no longer waits,
//! because the client left or the collector stops, or once the time of its search is over.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::StoreError;

/// Longest time of one query, except a page of a search, which ends by itself a second earlier. Zipkin's
/// server has the same timeout.
pub(crate) const READ_TIME_MAX: Duration = Duration::from_secs(11);
/// Bytes processed between two looks at the clock: a regex takes at most a few milliseconds for them.
const LOOK_AFTER_BYTES: usize = 4 << 10;
/// Fixed cost of a value beside its bytes: a test takes longer than a comparison.
const VALUE_BYTES: usize = 64;

thread_local! {
    /// The query that this thread works on.
    static CURRENT: RefCell<Option<Cancel>> = const { RefCell::new(None) };
    /// The time limit of the search that this thread runs.
    static LIMIT: RefCell<Option<TimeLimit>> = const { RefCell::new(None) };
    /// Work since the clock was last read.
    static WORK: Cell<usize> = const { Cell::new(0) };
}

tokio::task_local! {
    /// What the request of this task reserved.
    static RESERVED: Reserved;
}

/// What a request reserved; its work on other threads keeps it as well, as it may outlast the request.
pub(crate) type Reserved = Arc<dyn Any + Send + Sync>;

/// Answers a request, whose work on blocking threads keeps what it reserved.
pub(crate) async fn reserving<T>(reserved: Reserved, answer: impl Future<Output = T>) -> T {
    RESERVED.scope(reserved, answer).await
}

/// As `reserving`, for a part of an answer's body.
pub(crate) fn reserving_part<T>(reserved: Reserved, part: impl FnOnce() -> T) -> T {
    RESERVED.sync_scope(reserved, part)
}

/// Completes a change even if its caller goes away: it must not stay half made, or unrecorded.
///
/// # Errors
/// Those of the change, or when it panics; `what` is the path that is being written.
pub(crate) async fn completed<T: Send + 'static>(
    what: &Path,
    change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let made = match RESERVED.try_with(Arc::clone) {
        Ok(reserved) => tokio::spawn(reserving(reserved, change)),
        Err(_) => tokio::spawn(change),
    };
    let made = made.await;
    made.unwrap_or_else(|error| Err(StoreError::io("write", what, std::io::Error::other(error))))
}

/// Runs blocking work on another thread; it stops at its next check once the future is dropped.
///
/// # Errors
/// Those of the work, or when it panics; `what` is the path that is being read.
pub(crate) async fn off_worker<T: Send + 'static>(
    what: &Path,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let asked = Asked::default();
    let cancel = asked.cancel();
    let reserved = RESERVED.try_with(Arc::clone).ok();
    let task = tokio::task::spawn_blocking(move || {
        let _reserved = reserved;
        let _cancellable = cancel.enter();
        check()?;
        work()
    });
    let done = task.await;
    done.unwrap_or_else(|error| Err(StoreError::io("read", what, std::io::Error::other(error))))
}

/// As `off_worker`, for work that also stops at its first check after `deadline`.
///
/// # Errors
/// As `off_worker`.
pub(crate) async fn off_worker_until<T: Send + 'static>(
    what: &Path,
    deadline: Instant,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let limit = TimeLimit::new(move || Instant::now() > deadline);
    off_worker(what, move || {
        let _limited = limit.enter();
        work()
    })
    .await
}

/// A running query; dropping it cancels its reader.
#[derive(Debug, Default)]
pub(crate) struct Asked(Arc<AtomicBool>);

impl Asked {
    /// Returns the flag that the reader checks.
    pub(crate) fn cancel(&self) -> Cancel {
        Cancel(Arc::clone(&self.0))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Makes this the current query of the thread until the returned guard is dropped.
    pub(crate) fn enter(self) -> Entered {
        CURRENT.set(Some(self));
        Entered
    }
}

/// Guard: the thread works on a query.
pub(crate) struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

/// Tells whether the time of a search is over; once it is, it stays so.
#[derive(Clone)]
pub(crate) struct TimeLimit(Arc<dyn Fn() -> bool + Send + Sync>);

impl TimeLimit {
    pub(crate) fn new(is_over: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_over))
    }

    /// Limits reads on this thread until the returned guard is dropped.
    pub(crate) fn enter(&self) -> Limited {
        LIMIT.set(Some(self.clone()));
        Limited
    }
}

/// Guard: reads on this thread have a time limit.
pub(crate) struct Limited;

impl Drop for Limited {
    fn drop(&mut self) {
        LIMIT.set(None);
    }
}

/// Fails once the query of this thread was cancelled or its time is over.
pub(crate) fn check() -> Result<(), StoreError> {
    WORK.set(0);
    let is_cancelled = CURRENT.with_borrow(|current| {
        let cancel = current.as_ref();
        cancel.is_some_and(|Cancel(flag)| flag.load(Ordering::Relaxed))
    });
    if is_cancelled {
        return Err(StoreError::Cancelled);
    }
    let is_over = LIMIT.with_borrow(|limit| limit.as_ref().is_some_and(|limit| (limit.0)()));
    match is_over {
        true => Err(StoreError::TimeOver),
        false => Ok(()),
    }
}

/// As `check`, before a value of `bytes` bytes is examined; reads the clock only every `LOOK_AFTER_BYTES`.
#[inline]
pub(crate) fn spend(bytes: usize) -> Result<(), StoreError> {
    let work = WORK.get() + VALUE_BYTES + bytes;
    WORK.set(work);
    if work < LOOK_AFTER_BYTES {
        return Ok(());
    }
    check()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_stops_when_its_query_is_dropped() {
        let asked = Asked::default();
        let entered = asked.cancel().enter();
        assert!(check().is_ok());
        drop(asked);
        assert!(matches!(check(), Err(StoreError::Cancelled)));
        let looked = (0..LOOK_AFTER_BYTES).find(|_| spend(0).is_err());
        assert_eq!(looked, Some(LOOK_AFTER_BYTES / VALUE_BYTES - 1));
        drop(entered);
        assert!(check().is_ok());
    }

    #[tokio::test]
    async fn work_stops_when_no_caller_waits_for_it() {
        let (started, mut has_started) = tokio::sync::mpsc::channel(1);
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        let work = off_worker(Path::new("a trace"), move || {
            started.blocking_send(()).unwrap();
            let error = loop {
                match check() {
                    Ok(()) => std::thread::yield_now(),
                    Err(error) => break error,
                }
            };
            ended.send(error).unwrap();
            Ok(())
        });
        tokio::select! {
            _ = work => panic!("it ends only when it is dropped"),
            _ = has_started.recv() => {}
        }
        assert!(matches!(has_ended.await, Ok(StoreError::Cancelled)));
    }

    /// *Scenario*: a client leaves while a blocking thread works on its request.
    /// *Guarantees*: what the request reserved is free when the work has ended, and not before.
    #[tokio::test]
    async fn work_keeps_what_its_request_reserved() {
        let (reserved, free) = (Arc::new(()), |it: &Arc<()>| Arc::strong_count(it) == 1);
        let (started, mut has_started) = tokio::sync::mpsc::channel(1);
        let (go_on, waits) = std::sync::mpsc::channel::<()>();
        let work = off_worker(Path::new("a file"), move || {
            started.blocking_send(()).unwrap();
            let _ = waits.recv();
            Ok(())
        });
        tokio::select! {
            _ = reserving(reserved.clone(), work) => panic!("it waits"),
            _ = has_started.recv() => {}
        }
        assert!(!free(&reserved));
        drop(go_on);
        while !free(&reserved) {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_search_stops_at_a_large_value_once_its_time_is_over() {
        let limited = TimeLimit::new(|| true).enter();
        assert!(spend(1).is_ok());
        assert!(matches!(spend(LOOK_AFTER_BYTES), Err(StoreError::TimeOver)));
        drop(limited);
        assert!(spend(LOOK_AFTER_BYTES).is_ok());
    }
}
