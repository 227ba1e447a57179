//! What breakers announce and the exporter's thread has not sent: bounded, the oldest dropped and counted.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Transitions and changes of settings that wait. A breaker makes at most a few a second, so this holds a
/// collector's outage of minutes in a storm and of hours on a normal day; about 300 bytes each.
const CAPACITY: usize = 1024;

/// A queue that a thread sleeps on.
#[derive(Debug)]
pub(super) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Inner<T> {
    waiting: VecDeque<T>,
    /// Something came since the thread last woke.
    is_fresh: bool,
    is_stopped: bool,
    dropped: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                waiting: VecDeque::new(),
                is_fresh: false,
                is_stopped: false,
                dropped: 0,
            }),
            changed: Condvar::new(),
        }
    }
}

impl<T> Queue<T> {
    /// Adds an item and wakes the thread.
    pub(super) fn push(&self, item: T) {
        let mut inner = self.lock();
        inner.waiting.push_back(item);
        inner.is_fresh = true;
        inner.bound();
        drop(inner);
        self.changed.notify_one();
    }

    /// Puts back what could not be sent, before what has come since.
    pub(super) fn put_back(&self, items: Vec<T>) {
        let mut inner = self.lock();
        for item in items.into_iter().rev() {
            inner.waiting.push_front(item);
        }
        inner.bound();
    }

    /// Takes everything.
    pub(super) fn take(&self) -> Vec<T> {
        self.lock().waiting.drain(..).collect()
    }

    /// Returns how many were dropped since the last time, and forgets it.
    pub(super) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.lock().dropped)
    }

    /// Tells the thread to end.
    pub(super) fn stop(&self) {
        self.lock().is_stopped = true;
        self.changed.notify_one();
    }

    /// Sleeps until something comes, the time is over, or the end; returns whether it is the end.
    pub(super) fn sleep(&self, limit: Duration) -> bool {
        let sleeps = |inner: &mut Inner<T>| !inner.is_fresh && !inner.is_stopped;
        let slept = self.changed.wait_timeout_while(self.lock(), limit, sleeps);
        let (mut inner, _) = slept.unwrap_or_else(PoisonError::into_inner);
        inner.is_fresh = false;
        inner.is_stopped
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Inner<T> {
    fn bound(&mut self) {
        while self.waiting.len() > CAPACITY {
            self.waiting.pop_front();
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts() {
        let queue = Queue::default();
        (0..CAPACITY + 3).for_each(|item| queue.push(item));
        let items = queue.take();
        assert_eq!(
            (items.len(), items[0], queue.take_dropped()),
            (CAPACITY, 3, 3)
        );
        queue.push(CAPACITY + 3);
        queue.put_back(items);
        assert_eq!(queue.take_dropped(), 1);
        let items = queue.take();
        assert_eq!((items[0], items[CAPACITY - 1]), (4, CAPACITY + 3));
    }

    #[test]
    fn what_comes_wakes_once_and_the_end_always() {
        let queue = Queue::default();
        queue.push(());
        assert!(!queue.sleep(Duration::MAX));
        queue.stop();
        assert!(queue.sleep(Duration::MAX) && queue.sleep(Duration::MAX));
    }
}
