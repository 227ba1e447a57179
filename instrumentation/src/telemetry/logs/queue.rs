//! The records that have not been sent, limited by number and bytes. New records are dropped and counted when the queue
//! is full, because earlier lines explain more than later ones.

use std::collections::VecDeque;
use std::sync::{Condvar, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;

use crate::sync::Mutex;

/// Most queued records: two seconds of a thousand lines a second.
const RECORDS_MAX: usize = 2_048;
/// Most bytes of queued records: enough for `RECORDS_MAX` of the usual 300 bytes and some stack traces.
const BYTES_MAX: usize = 4 << 20;
/// This number of waiting records wakes the thread early.
const WAKE_AT: usize = 512;

/// A record and where in the program it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// The target of the event, which becomes the scope.
    pub(super) target: &'static str,
    pub(super) record: LogRecord,
}

/// The queue, on which the thread sleeps.
#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    lines: VecDeque<Line>,
    bytes: usize,
    dropped: u64,
    is_stopped: bool,
}

impl Queue {
    /// Adds a line, if there is room.
    pub(super) fn push(&self, line: Line) {
        let bytes = line.record.encoded_len();
        let mut inner = self.inner.lock();
        if inner.lines.len() >= RECORDS_MAX || inner.bytes + bytes > BYTES_MAX {
            inner.dropped += 1;
            return;
        }
        inner.bytes += bytes;
        inner.lines.push_back(line);
        let is_much = inner.lines.len() == WAKE_AT;
        drop(inner);
        if is_much {
            self.changed.notify_one();
        }
    }

    /// Takes the oldest lines: at most `limit`, and about `bytes_max` bytes.
    pub(super) fn take(&self, limit: usize, bytes_max: usize) -> Vec<Line> {
        let mut inner = self.inner.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < limit && bytes < bytes_max {
            let Some(line) = inner.lines.pop_front() else {
                break;
            };
            bytes += line.record.encoded_len();
            taken.push(line);
        }
        inner.bytes -= bytes;
        taken
    }

    /// Puts lines back that could not be sent, in front of those added since, as far as there is room.
    pub(super) fn put_back(&self, lines: Vec<Line>) {
        let mut inner = self.inner.lock();
        for line in lines.into_iter().rev() {
            inner.bytes += line.record.encoded_len();
            inner.lines.push_front(line);
        }
        while inner.lines.len() > RECORDS_MAX || inner.bytes > BYTES_MAX {
            let Some(newest) = inner.lines.pop_back() else {
                break;
            };
            inner.bytes -= newest.record.encoded_len();
            inner.dropped += 1;
        }
    }

    /// Returns how many lines were dropped since the last call.
    pub(super) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.inner.lock().dropped)
    }

    /// Makes the thread end.
    pub(super) fn stop(&self) {
        self.inner.lock().is_stopped = true;
        self.changed.notify_one();
    }

    /// Sleeps until many lines wait, `limit` has passed, or the exporter is stopped; returns whether it was stopped.
    pub(super) fn sleep(&self, limit: Duration) -> bool {
        let sleeps = |inner: &mut Inner| inner.lines.len() < WAKE_AT && !inner.is_stopped;
        let inner = self.inner.lock();
        let woken = self.changed.wait_timeout_while(inner, limit, sleeps);
        woken.unwrap_or_else(PoisonError::into_inner).0.is_stopped
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};

    use super::*;

    fn line(time_unix_nano: u64, text: &str) -> Line {
        let value = Some(Value::StringValue(text.to_owned()));
        let record = LogRecord {
            time_unix_nano,
            body: Some(AnyValue { value }),
            ..LogRecord::default()
        };
        Line {
            target: "shop",
            record,
        }
    }

    fn times(lines: &[Line]) -> (usize, u64, u64) {
        let time = |line: Option<&Line>| line.map_or(0, |line| line.record.time_unix_nano);
        (lines.len(), time(lines.first()), time(lines.last()))
    }

    #[test]
    fn a_full_queue_drops_the_newest_and_counts() {
        let queue = Queue::default();
        let most = RECORDS_MAX as u64;
        (1..=most + 3).for_each(|time| queue.push(line(time, "")));
        assert_eq!(queue.take_dropped(), 3);
        let taken = queue.take(10, usize::MAX);
        assert_eq!(times(&taken), (10, 1, 10));
        (0..4).for_each(|_| queue.push(line(most + 4, "")));
        queue.put_back(taken);
        assert_eq!(queue.take_dropped(), 4);
        assert_eq!(
            times(&queue.take(usize::MAX, usize::MAX)),
            (RECORDS_MAX, 1, most)
        );
        assert_eq!(queue.inner.lock().bytes, 0);
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes() {
        let queue = Queue::default();
        let text = "x".repeat(BYTES_MAX / 4);
        (1..=8).for_each(|time| queue.push(line(time, &text)));
        assert_eq!(queue.take(usize::MAX, text.len()).len(), 1);
        queue.push(line(9, &text));
        assert_eq!(queue.take(usize::MAX, usize::MAX).len(), 3);
        assert_eq!(queue.take_dropped(), 5);
    }

    #[test]
    fn the_end_wakes_the_thread() {
        let queue = Queue::default();
        assert!(!queue.sleep(Duration::ZERO));
        queue.stop();
        assert!(queue.sleep(Duration::MAX));
    }
}
