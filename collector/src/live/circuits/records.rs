//! The stored records for one answer: unreadable ones, or those not read in time, are left out, and the
//! answer says so.

use crate::model::{CircuitKey, HOUR, TimeRange, UnixNanos};
use crate::store::series::{SeriesKind, SeriesRecord};
use crate::store::{Missing, MissingPart, SeriesReader, StoreError};
use crate::sync::Mutex;

/// A reader for one answer.
#[derive(Debug)]
pub(super) struct Records<'a> {
    reader: &'a dyn SeriesReader,
    missing: Mutex<Option<Missing>>,
}

impl<'a> Records<'a> {
    pub(super) fn of(reader: &'a dyn SeriesReader) -> Self {
        let missing = Mutex::default();
        Self { reader, missing }
    }

    pub(super) fn missing(&self) -> Option<Missing> {
        self.missing.lock().clone()
    }

    /// Returns whether the time of the query is over, so that nothing more will be read.
    pub(super) fn is_over(&self) -> bool {
        let missing = self.missing.lock();
        let error = missing.as_ref().map(|missing| &missing.error);
        matches!(error, Some(StoreError::TimeOver))
    }

    /// Notes that the records go back no further than `at`.
    pub(super) fn end_at(&self, at: UnixNanos) {
        if let Some(missing) = &mut *self.missing.lock() {
            missing.part = MissingPart::OlderThan(at);
        }
    }

    fn keep<T>(&self, read: Result<T, StoreError>, nothing: T) -> Result<T, StoreError> {
        match read {
            Err(error @ (StoreError::Remote { .. } | StoreError::TimeOver)) => {
                let mut missing = self.missing.lock();
                missing.get_or_insert_with(|| self.reader.missing(error));
                Ok(nothing)
            }
            read => read,
        }
    }
}

impl SeriesReader for Records<'_> {
    fn scan(
        &self,
        kind: SeriesKind,
        range: TimeRange,
        only: Option<&CircuitKey>,
        visit: &mut dyn FnMut(SeriesRecord),
    ) -> Result<(), StoreError> {
        self.keep(self.reader.scan(kind, range, only, visit), ())
    }

    /// If unknown, the latest record may be current.
    fn latest(&self, kind: SeriesKind) -> Result<Option<UnixNanos>, StoreError> {
        let now = UnixNanos::now() + HOUR;
        self.keep(self.reader.latest(kind), Some(now))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;
    use crate::codec::circuits::request::{FakeBreaker, observed};
    use crate::counters::Counters;
    use crate::live::circuits::{CircuitSink, Circuits};
    use crate::model::{MINUTE, SECOND};
    use crate::store::cancel::{self, READ_TIME_MAX};
    use crate::store::series::SeriesLog;

    /// The behaviour of the remote part.
    #[derive(Debug)]
    enum Behind {
        Fails,
        /// Reads until it is stopped; reports its start, and why it ended.
        ReadsOn(mpsc::Sender<Option<StoreError>>),
    }

    /// A local journal with a remote part.
    #[derive(Debug)]
    struct Both(SeriesLog, Behind);

    impl SeriesReader for Both {
        fn scan(
            &self,
            kind: SeriesKind,
            range: TimeRange,
            only: Option<&CircuitKey>,
            visit: &mut dyn FnMut(SeriesRecord),
        ) -> Result<(), StoreError> {
            self.0.scan(kind, range, only, visit)?;
            let Behind::ReadsOn(said) = &self.1 else {
                return Err(unread());
            };
            let _ = said.try_send(None);
            let error = loop {
                match cancel::check() {
                    Ok(()) => std::thread::yield_now(),
                    Err(error) => break error,
                }
            };
            let _ = said.try_send(Some(error.clone()));
            Err(error)
        }

        fn latest(&self, _: SeriesKind) -> Result<Option<UnixNanos>, StoreError> {
            Err(unread())
        }
    }

    fn unread() -> StoreError {
        StoreError::Remote {
            action: "query",
            url: String::new(),
            problem: "no connection".to_owned(),
        }
    }

    async fn one_breaker(dir: &Path, behind: Behind) -> (Circuits, CircuitKey) {
        let (counters, now) = (Arc::new(Counters::default()), UnixNanos::now());
        let week = Duration::from_secs(604_800);
        let log = SeriesLog::open(dir, week, Arc::clone(&counters)).unwrap();
        let reader = Arc::new(Both(log.clone(), behind));
        let circuits = Circuits::with_reader(log, reader, counters, now).unwrap();
        let breaker = FakeBreaker::new("pod-1", (now - MINUTE).get());
        let report = circuits.ingest_metrics(observed(&breaker.metrics(now.get())), now);
        report.await.unwrap();
        let wall = circuits.wall(None).await.unwrap().value;
        (circuits, wall.circuits[0].key.clone())
    }

    /// *Guarantees*: local records are shown as incomplete; without any, the answer is an error.
    #[tokio::test]
    async fn what_cannot_be_read_is_missing_and_not_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (circuits, key) = one_breaker(dir.path(), Behind::Fails).await;
        let soon = UnixNanos::now() + SECOND;
        let wall = circuits.wall(Some(soon)).await.unwrap();
        assert_eq!(wall.value.circuits.len(), 1);
        let words = wall.missing_words().unwrap();
        assert!(words.contains("no connection"), "{words}");
        let one = circuits.circuit(&key, Some(soon)).await.unwrap();
        assert!(one.value.is_some() && one.missing.is_some());
        let early = Some(soon - HOUR);
        assert!(circuits.wall(early).await.is_err());
        assert!(circuits.circuit(&key, early).await.is_err());
        let none = circuits.transitions(Some(&key), TimeRange::ALL, 9).await;
        assert!(none.is_err());
    }

    /// *Scenario*: reading takes longer than the time limit of a query.
    /// *Guarantees*: the answer has what was read by then, and says that something is missing.
    #[tokio::test(start_paused = true)]
    async fn a_query_ends_when_its_time_is_over() {
        let (said, mut hears) = mpsc::channel(100);
        let dir = tempfile::tempdir().unwrap();
        let (circuits, key) = one_breaker(dir.path(), Behind::ReadsOn(said)).await;
        let later = async {
            assert!(hears.recv().await.unwrap().is_none());
            tokio::time::advance(READ_TIME_MAX + SECOND).await;
        };
        let soon = UnixNanos::now() + SECOND;
        let (one, ()) = tokio::join!(circuits.circuit(&key, Some(soon)), later);
        let one = one.unwrap();
        assert!(one.value.is_some());
        let error = one.missing.unwrap().error;
        assert!(matches!(error, StoreError::TimeOver), "{error}");
    }

    #[tokio::test]
    async fn a_reader_stops_when_its_client_leaves() {
        let (said, mut hears) = mpsc::channel(100);
        let dir = tempfile::tempdir().unwrap();
        let (circuits, key) = one_breaker(dir.path(), Behind::ReadsOn(said)).await;
        let history = circuits.history(&key, TimeRange::ALL, 9);
        tokio::select! {
            _ = history => panic!("it ends only when it is dropped"),
            began = hears.recv() => assert!(began.unwrap().is_none()),
        }
        let ended = hears.recv().await.unwrap();
        assert!(matches!(ended, Some(StoreError::Cancelled)), "{ended:?}");
    }
}
