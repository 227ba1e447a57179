//! The events of breakers that have not been sent. Transitions are in a bounded queue; when it is full, the oldest is
//! dropped and counted. For settings only the latest of each breaker matter, so only names are queued.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::logs::v1::LogRecord;

use crate::sync::Mutex;

/// Most queued transitions, about 300 bytes each. A breaker makes at most a few a second, so this covers an outage of
/// minutes when many breakers flap, and of hours on a normal day.
const CAPACITY: usize = 1024;

/// The queue, on which the exporter's thread sleeps.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    pending: Pending,
    /// Whether something was added since the thread last woke.
    is_fresh: bool,
    is_stopped: bool,
    dropped: u64,
}

/// Events to be sent.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Names of breakers whose settings must be sent; at most as many as a registry holds.
    pub(super) settings: BTreeSet<String>,
    /// Records of transitions, oldest first.
    pub(super) transitions: VecDeque<LogRecord>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.transitions.is_empty()
    }

    /// Takes the next `limit` events: settings first, then the oldest transitions.
    pub(super) fn split(&mut self, limit: usize) -> Self {
        let settings: BTreeSet<_> = std::iter::from_fn(|| self.settings.pop_first())
            .take(limit)
            .collect();
        let rest = (limit - settings.len()).min(self.transitions.len());
        let transitions = self.transitions.drain(..rest).collect();
        Self {
            settings,
            transitions,
        }
    }

    /// Puts taken events back, in front of those added since.
    pub(super) fn put_back(&mut self, taken: Self) {
        self.settings.extend(taken.settings);
        for record in taken.transitions.into_iter().rev() {
            self.transitions.push_front(record);
        }
    }
}

impl Inbox {
    /// Adds a transition and wakes the thread.
    pub(super) fn transition(&self, record: LogRecord) {
        self.change(|inner| {
            inner.pending.transitions.push_back(record);
            inner.bound();
        });
    }

    /// Adds the settings of breaker `name` and wakes the thread.
    pub(super) fn settings(&self, name: &str) {
        let name = name.to_owned();
        self.change(|inner| {
            inner.pending.settings.insert(name);
        });
    }

    /// Puts events back that could not be sent.
    pub(super) fn put_back(&self, unsent: Pending) {
        let mut inner = self.inner.lock();
        inner.pending.put_back(unsent);
        inner.bound();
    }

    /// Takes everything.
    pub(super) fn take(&self) -> Pending {
        std::mem::take(&mut self.inner.lock().pending)
    }

    /// Returns the number of transitions dropped since the last call.
    pub(super) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.inner.lock().dropped)
    }

    /// Makes the thread end.
    pub(super) fn stop(&self) {
        self.change(|inner| inner.is_stopped = true);
    }

    /// Sleeps until something is added, `limit` has passed, or the exporter is stopped; returns whether it was stopped.
    pub(super) fn sleep(&self, limit: Duration) -> bool {
        let sleeps = |inner: &mut Inner| !inner.is_fresh && !inner.is_stopped;
        let inner = self.inner.lock();
        let woken = self.changed.wait_timeout_while(inner, limit, sleeps);
        let mut inner = woken.unwrap_or_else(PoisonError::into_inner).0;
        inner.is_fresh = false;
        inner.is_stopped
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.inner.lock();
        change(&mut inner);
        inner.is_fresh = true;
        drop(inner);
        self.changed.notify_one();
    }
}

impl Inner {
    fn bound(&mut self) {
        while self.pending.transitions.len() > CAPACITY {
            self.pending.transitions.pop_front();
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(time_unix_nano: u64) -> LogRecord {
        LogRecord {
            time_unix_nano,
            ..LogRecord::default()
        }
    }

    fn times(pending: &Pending) -> (usize, u64, u64) {
        let (first, last) = (pending.transitions.front(), pending.transitions.back());
        let time = |record: Option<&LogRecord>| record.unwrap().time_unix_nano;
        (pending.transitions.len(), time(first), time(last))
    }

    #[test]
    fn a_full_inbox_drops_the_oldest_transitions_and_counts() {
        let inbox = Inbox::default();
        let capacity = CAPACITY as u64;
        (0..capacity + 3).for_each(|time| inbox.transition(record(time)));
        let pending = inbox.take();
        assert_eq!(times(&pending), (CAPACITY, 3, capacity + 2));
        assert_eq!(inbox.take_dropped(), 3);
        inbox.transition(record(capacity + 3));
        inbox.put_back(pending);
        assert_eq!(inbox.take_dropped(), 1);
        assert_eq!(times(&inbox.take()), (CAPACITY, 4, capacity + 3));
    }

    #[test]
    fn a_batch_is_bounded_and_goes_back_in_order() {
        let mut pending = Pending::default();
        pending.transitions.extend((0..10).map(record));
        let batch = pending.split(4);
        assert_eq!((times(&batch), times(&pending)), ((4, 0, 3), (6, 4, 9)));
        pending.put_back(batch);
        assert_eq!(times(&pending), (10, 0, 9));
        assert_eq!(times(&pending.split(100)), (10, 0, 9));
        assert!(pending.is_empty());
    }

    #[test]
    fn settings_are_sent_once_however_often_they_changed() {
        let inbox = Inbox::default();
        inbox.settings("a");
        let unsent = inbox.take();
        inbox.settings("a");
        inbox.put_back(unsent);
        assert_eq!(inbox.take().settings.len(), 1);
        assert!(inbox.take().settings.is_empty());
    }

    #[test]
    fn an_event_wakes_the_thread_once_and_the_end_always() {
        let inbox = Inbox::default();
        inbox.transition(record(0));
        assert!(!inbox.sleep(Duration::MAX));
        inbox.stop();
        assert!(inbox.sleep(Duration::MAX) && inbox.sleep(Duration::MAX));
    }
}
