//! The own journal together with what other collectors wrote to InfluxDB. While there are no others, or InfluxDB does
//! not answer, it is the journal alone: a page shows what is local rather than nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{CircuitKey, DependencyLink, TimeRange, UnixNanos};
use crate::store::influxdb::Peers;
use crate::store::influxdb::series::InfluxSeries;
use crate::store::series::{SeriesKind, SeriesLog, SeriesRecord};
use crate::store::{SeriesReader, StoreError};

/// The own journal and what other collectors wrote. Everything here blocks the thread.
#[derive(Debug)]
pub(crate) struct MergedSeries {
    own: SeriesLog,
    others: InfluxSeries,
    peers: Arc<Peers>,
}

/// What came of asking other collectors' records.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked<T> {
    /// There are no other collectors.
    NoOthers,
    /// InfluxDB does not answer; that is counted.
    Failed,
    /// The answer.
    Answer(T),
}

impl<T: Default> Asked<T> {
    /// Returns the answer, or an empty one.
    pub(crate) fn or_default(self) -> T {
        match self {
            Self::Answer(answer) => answer,
            Self::NoOthers | Self::Failed => T::default(),
        }
    }
}

impl MergedSeries {
    /// Returns a reader of both.
    pub(crate) fn new(own: SeriesLog, others: InfluxSeries, peers: Arc<Peers>) -> Self {
        Self { own, others, peers }
    }

    /// Asks the other collectors' records, if there are any others.
    pub(crate) fn ask<T>(
        &self,
        question: impl FnOnce(&InfluxSeries) -> Result<T, StoreError>,
    ) -> Asked<T> {
        let others = self.others.wait(self.peers.others());
        if others.is_away {
            return Asked::Failed;
        }
        if !others.has_others {
            return Asked::NoOthers;
        }
        match question(&self.others) {
            Ok(answer) => Asked::Answer(answer),
            Err(error) => {
                self.peers.failed(&error);
                Asked::Failed
            }
        }
    }

    /// Returns who called whom as other collectors saw it.
    pub(crate) fn dependencies(&self, range: TimeRange) -> Vec<DependencyLink> {
        self.ask(|others| others.dependencies(range)).or_default()
    }

    /// Returns the services that other collectors know.
    pub(crate) fn service_names(&self) -> BTreeSet<String> {
        self.ask(InfluxSeries::service_names).or_default()
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
        let _counted = self.ask(|others| others.scan(kind, range, only, visit));
        Ok(())
    }

    fn latest(&self, kind: SeriesKind) -> Result<Option<UnixNanos>, StoreError> {
        let others = self.ask(|others| others.latest(kind)).or_default();
        Ok(self.own.latest(kind)?.max(others))
    }
}
