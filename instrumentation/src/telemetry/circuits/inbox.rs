//! What breakers announce and the exporter's thread has not sent. Transitions are kept in a bounded queue, the
//! oldest dropped and counted; of settings only the last of each breaker matter, so names are remembered.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use opentelemetry_proto::tonic::logs::v1::LogRecord;

use crate::sync::{Condvar, Mutex};

/// Transitions that wait. A breaker makes at most a few a second, so this holds a collector's outage of minutes
/// in a storm and of hours on a normal day; about 300 bytes each.
const CAPACITY: usize = 1024;

/// What waits; a thread sleeps on it.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    news: News,
    /// Something came since the thread last woke.
    is_fresh: bool,
    is_stopped: bool,
    dropped: u64,
}

/// What is to be sent.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Breakers whose settings are to be told, by name: as many as a registry holds at most.
    pub(super) settings: BTreeSet<String>,
    /// Records of transitions, oldest first.
    pub(super) transitions: VecDeque<LogRecord>,
}

impl News {
    pub(super) fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.transitions.is_empty()
    }

    /// Takes the next `limit` of both: settings, then the oldest transitions.
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

    /// Puts back what was taken, before what has come since.
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
            inner.news.transitions.push_back(record);
            inner.bound();
        });
    }

    /// Remembers that the settings of breaker `name` are to be told and wakes the thread.
    pub(super) fn settings(&self, name: &str) {
        let name = name.to_owned();
        self.change(|inner| {
            inner.news.settings.insert(name);
        });
    }

    /// Puts back what could not be sent.
    pub(super) fn put_back(&self, unsent: News) {
        let mut inner = self.inner.lock();
        inner.news.put_back(unsent);
        inner.bound();
    }

    /// Takes everything.
    pub(super) fn take(&self) -> News {
        std::mem::take(&mut self.inner.lock().news)
    }

    /// Returns how many transitions were dropped since the last time, and forgets it.
    pub(super) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.inner.lock().dropped)
    }

    /// Tells the thread to end.
    pub(super) fn stop(&self) {
        self.change(|inner| inner.is_stopped = true);
    }

    /// Sleeps until something comes, the time is over, or the end; returns whether it is the end.
    pub(super) fn sleep(&self, limit: Duration) -> bool {
        let sleeps = |inner: &mut Inner| !inner.is_fresh && !inner.is_stopped;
        let inner = self.inner.lock();
        let mut inner = self.changed.wait_timeout_while(inner, limit, sleeps);
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
        while self.news.transitions.len() > CAPACITY {
            self.news.transitions.pop_front();
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

    fn times(news: &News) -> (usize, u64, u64) {
        let (first, last) = (news.transitions.front(), news.transitions.back());
        let time = |record: Option<&LogRecord>| record.unwrap().time_unix_nano;
        (news.transitions.len(), time(first), time(last))
    }

    #[test]
    fn a_full_inbox_drops_the_oldest_transitions_and_counts() {
        let inbox = Inbox::default();
        let capacity = CAPACITY as u64;
        (0..capacity + 3).for_each(|time| inbox.transition(record(time)));
        let news = inbox.take();
        assert_eq!(times(&news), (CAPACITY, 3, capacity + 2));
        assert_eq!(inbox.take_dropped(), 3);
        inbox.transition(record(capacity + 3));
        inbox.put_back(news);
        assert_eq!(inbox.take_dropped(), 1);
        assert_eq!(times(&inbox.take()), (CAPACITY, 4, capacity + 3));
    }

    #[test]
    fn a_batch_is_bounded_and_goes_back_in_order() {
        let mut news = News::default();
        news.transitions.extend((0..10).map(record));
        let batch = news.split(4);
        assert_eq!((times(&batch), times(&news)), ((4, 0, 3), (6, 4, 9)));
        news.put_back(batch);
        assert_eq!(times(&news), (10, 0, 9));
        assert_eq!(times(&news.split(100)), (10, 0, 9));
        assert!(news.is_empty());
    }

    #[test]
    fn settings_are_told_once_however_often_they_changed() {
        let inbox = Inbox::default();
        inbox.settings("a");
        let unsent = inbox.take();
        inbox.settings("a");
        inbox.put_back(unsent);
        assert_eq!(inbox.take().settings.len(), 1);
        assert!(inbox.take().settings.is_empty());
    }

    #[test]
    fn what_comes_wakes_once_and_the_end_always() {
        let inbox = Inbox::default();
        inbox.transition(record(0));
        assert!(!inbox.sleep(Duration::MAX));
        inbox.stop();
        assert!(inbox.sleep(Duration::MAX) && inbox.sleep(Duration::MAX));
    }
}
