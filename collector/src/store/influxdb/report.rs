//! How it stands with the InfluxDB behind a collector, in one place for everybody who shows it.

use std::sync::Arc;

use super::names::Names;
use super::series::StoreFigures;
use super::spans::lane::backlog;
use super::status::{InfluxdbFigures, InfluxdbStatus, Standing};
use crate::store::embedded::{EmbeddedStore, ShipProgress};

/// The InfluxDB behind a collector; cheap to clone.
#[derive(Debug, Clone)]
pub struct Influxdb {
    url: Arc<str>,
    status: InfluxdbStatus,
    names: Arc<Names>,
    store: EmbeddedStore,
    followed: Arc<ShipProgress>,
}

/// How it stands at one moment.
#[derive(Debug, Clone)]
pub struct InfluxdbReport {
    /// Its address.
    pub url: String,
    /// Whether it takes what is written, since when, and what was wrong last.
    pub standing: Standing,
    /// What was written since the start.
    pub figures: InfluxdbFigures,
    /// Spans in the journal that are not in it yet.
    pub backlog_spans: u64,
    /// About how many bytes of the journal these take.
    pub backlog_bytes: u64,
    /// Spans that the retention or the disk budget took before they were in it, ever.
    pub spans_lost: u64,
    /// How often a name was written as `__other__` since the start, because there were too many.
    pub names_capped: u64,
}

impl Influxdb {
    /// Returns what reports on that store and its way to InfluxDB.
    pub(crate) fn new(
        url: &str,
        status: InfluxdbStatus,
        names: Arc<Names>,
        store: EmbeddedStore,
        followed: Arc<ShipProgress>,
    ) -> Self {
        Self {
            url: Arc::from(url),
            status,
            names,
            store,
            followed,
        }
    }

    /// Returns how it stands now.
    pub fn report(&self) -> InfluxdbReport {
        let (backlog_spans, backlog_bytes) = backlog(&self.store.journal(), &self.followed);
        InfluxdbReport {
            url: self.url.to_string(),
            standing: self.status.standing(),
            figures: self.status.figures(),
            backlog_spans,
            backlog_bytes,
            spans_lost: self.followed.lost(),
            names_capped: self.names.capped(),
        }
    }

    /// Returns the figures of the collector's own point.
    pub(crate) fn store_figures(&self) -> StoreFigures {
        let report = self.report();
        let stats = self.store.stats();
        StoreFigures {
            backlog_bytes: report.backlog_bytes,
            backlog_spans: report.backlog_spans,
            influxdb_points: report.figures.points,
            influxdb_points_refused: report.figures.points_refused.values().sum(),
            influxdb_retries: report.figures.retries,
            spans_lost: report.spans_lost,
            spans_shipped: report.figures.spans,
            store_bytes: stats.bytes,
            store_spans: stats.spans,
        }
    }
}
