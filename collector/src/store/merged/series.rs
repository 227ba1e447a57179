//! The own journal together with what other collectors wrote to InfluxDB. While there are no others it is the journal
//! alone. Where InfluxDB does not answer, what is local was visited, and the error says that there may be more.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{CircuitKey, DependencyLink, TimeRange, UnixNanos};
use crate::store::influxdb::Peers;
use crate::store::influxdb::series::InfluxSeries;
use crate::store::series::{SeriesKind, SeriesLog, SeriesRecord};
use crate::store::{Missing, MissingPart, Partial, SeriesReader, StoreError};

/// The own journal and what other collectors wrote. Everything here blocks the thread.
#[derive(Debug)]
pub(crate) struct MergedSeries {
    own: SeriesLog,
    others: InfluxSeries,
    peers: Arc<Peers>,
}

impl MergedSeries {
    /// Returns a reader of both.
    pub(crate) fn new(own: SeriesLog, others: InfluxSeries, peers: Arc<Peers>) -> Self {
        Self { own, others, peers }
    }

    /// Asks the other collectors' records; `None` if there are no other collectors.
    ///
    /// # Errors
    /// When InfluxDB does not answer, which is counted, or no caller waits any longer.
    pub(crate) fn ask<T>(
        &self,
        question: impl FnOnce(&InfluxSeries) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let others = self.others.wait(self.peers.others())?;
        if others.is_away && others.has_others {
            return Err(self.peers.away());
        }
        if !others.has_others {
            return Ok(None);
        }
        let answer = question(&self.others);
        if let Err(error @ StoreError::Remote { .. }) = &answer {
            self.peers.failed(error);
        }
        answer.map(Some)
    }

    /// Returns the answer of other collectors' records as far as there is one.
    fn partial<T: Default>(
        &self,
        question: impl FnOnce(&InfluxSeries) -> Result<T, StoreError>,
    ) -> Partial<T> {
        match self.ask(question) {
            Ok(answer) => answer.unwrap_or_default().into(),
            Err(error) => Partial::new(T::default(), Some(self.missing(error))),
        }
    }

    /// Returns who called whom as other collectors saw it.
    pub(crate) fn dependencies(&self, range: TimeRange) -> Partial<Vec<DependencyLink>> {
        self.partial(|others| others.dependencies(range))
    }

    /// Returns the services that other collectors know.
    pub(crate) fn service_names(&self) -> Partial<BTreeSet<String>> {
        self.partial(InfluxSeries::service_names)
    }
}

impl SeriesReader for MergedSeries {
    fn scan(
        &self,
        kind: SeriesKind,
        range: TimeRange,
        only: Option<&CircuitKey>,
        visit: &mut dyn FnMut(SeriesRecord),
    ) -> Result<(), StoreError> {
        self.own.scan(kind, range, only, visit)?;
        let asked = self.ask(|others| others.scan(kind, range, only, visit));
        asked.map(drop)
    }

    fn latest(&self, kind: SeriesKind) -> Result<Option<UnixNanos>, StoreError> {
        let others = self.ask(|others| others.latest(kind))?;
        Ok(self.own.latest(kind)?.max(others.flatten()))
    }

    fn missing(&self, error: StoreError) -> Missing {
        match error {
            error @ StoreError::Remote { .. } => self.peers.missing(error, MissingPart::OfOthers),
            error => Missing::rest(error),
        }
    }
}
