//! The local series journal combined with what other collectors wrote to InfluxDB; only the journal if there
//! are no others. If InfluxDB is unreachable, local records are visited and the error says that there may be
//! more.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{CircuitKey, DependencyLink, TimeRange, UnixNanos};
use crate::store::influxdb::Peers;
use crate::store::influxdb::series::InfluxSeries;
use crate::store::series::{SeriesKind, SeriesLog, SeriesRecord};
use crate::store::{Missing, MissingPart, Partial, SeriesReader, StoreError};

/// The local journal and other collectors' records. All functions block the thread.
#[derive(Debug)]
pub(crate) struct MergedSeries {
    own: SeriesLog,
    others: InfluxSeries,
    peers: Arc<Peers>,
}

impl MergedSeries {
    pub(crate) fn new(own: SeriesLog, others: InfluxSeries, peers: Arc<Peers>) -> Self {
        Self { own, others, peers }
    }

    /// Queries the other collectors' records; `None` if there are no other collectors.
    ///
    /// # Errors
    /// When InfluxDB does not answer, which is counted, or the caller no longer waits.
    pub(crate) fn ask<T>(
        &self,
        query: impl FnOnce(&InfluxSeries) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let others = self.others.wait(self.peers.others())?;
        if others.is_away && others.has_others {
            return Err(self.peers.away());
        }
        if !others.has_others {
            return Ok(None);
        }
        let answer = query(&self.others);
        if let Err(error @ StoreError::Remote { .. }) = &answer {
            self.peers.failed(error);
        }
        answer.map(Some)
    }

    /// As `ask`, with the error as what the answer lacks.
    fn partial<T: Default>(
        &self,
        query: impl FnOnce(&InfluxSeries) -> Result<T, StoreError>,
    ) -> Partial<T> {
        match self.ask(query) {
            Ok(answer) => answer.unwrap_or_default().into(),
            Err(error) => Partial::new(T::default(), Some(self.missing(error))),
        }
    }

    /// Returns the calls between services that other collectors saw.
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
