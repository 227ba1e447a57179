//! Connects a collector to its InfluxDB, stage by stage: before the stores open, with them, and while the
//! servers run.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::config::CollectorConfig;
use crate::counters::Counters;
use crate::live::circuits::Circuits;
use crate::log::Position;
use crate::model::UnixNanos;
use crate::query::QueryService;
use crate::store::embedded::EmbeddedStore;
use crate::store::influxdb::logs::lane::LogLaneOptions;
use crate::store::influxdb::series::{InfluxSeries, SeriesLane, SeriesLaneOptions};
use crate::store::influxdb::{
    BlockEncoder, Client, InfluxLogs, InfluxTraces, Influxdb, InfluxdbOptions, Lane, Link, LogLane,
    Names, Peers, SpanLane, Writer, collector_id, folder, forget_position, position_age,
    saved_position,
};
use crate::store::logs::LogStore;
use crate::store::merged::series::MergedSeries;
use crate::store::series::SeriesLog;
use crate::store::{Follow, Logs, ShipProgress, StoreError, Traces};

/// More than the time for which a segment grows: its first block may be that much older than its last.
const SEGMENT_MAX: Duration = Duration::from_secs(3_600);
/// The files of what was deleted of spans and of log records.
const DELETED_SPANS: &str = "deleted.json";
const DELETED_LOGS: &str = "deleted_logs.json";

/// The parts that are set up before the stores open.
#[derive(Debug)]
pub(crate) struct Shipping {
    own: String,
    link: Arc<Link>,
    peers: Arc<Peers>,
    followed: Arc<ShipProgress>,
    followed_logs: Arc<ShipProgress>,
    keep: Duration,
    retention: Duration,
    counters: Arc<Counters>,
}

/// Lanes that are ready to run.
#[derive(Debug)]
pub(crate) struct Lanes {
    link: Arc<Link>,
    spans: SpanLane,
    series: SeriesLane,
    logs: LogLane,
    circuits: Circuits,
}

#[derive(Debug)]
pub(crate) struct Running {
    writers: [Writer; 3],
    stop: watch::Sender<bool>,
}

impl Shipping {
    /// Reads the state of earlier runs from the data directory, without contacting the server.
    pub(crate) fn open(
        options: &InfluxdbOptions,
        config: &CollectorConfig,
        counters: &Arc<Counters>,
    ) -> Result<Self, StoreError> {
        let dir = &config.data_dir;
        let link = Link::new(
            Arc::new(Client::new(options.clone())?),
            Arc::new(Names::open(dir, config.retention, UnixNanos::now())?),
            dir.clone(),
            config.retention,
        );
        let own = collector_id(dir)?;
        let peers = Peers::new(Arc::clone(&link.client), &own, Arc::clone(counters));
        Ok(Self {
            own,
            link,
            peers: Arc::new(peers),
            followed: span_progress(dir)?,
            followed_logs: log_progress(dir)?,
            keep: config.influxdb_local,
            retention: config.retention,
            counters: Arc::clone(counters),
        })
    }

    /// Returns what the stores must know.
    pub(crate) fn follow(&self) -> Followed {
        let follow = |followed: &Arc<ShipProgress>| Follow {
            followed: Arc::clone(followed),
            keep: self.keep,
        };
        Followed {
            spans: Some(follow(&self.followed)),
            logs: Some(follow(&self.followed_logs)),
        }
    }

    /// Returns the series of this collector and of those that share the InfluxDB. Must be called within a
    /// runtime.
    pub(crate) fn series(&self, log: &SeriesLog) -> Arc<MergedSeries> {
        let client = Arc::clone(&self.link.client);
        let others = InfluxSeries::new(client, &self.own, self.retention, Handle::current());
        let peers = Arc::clone(&self.peers);
        Arc::new(MergedSeries::new(log.clone(), others, peers))
    }

    pub(crate) fn traces(&self, local: &EmbeddedStore) -> Traces {
        let client = Arc::clone(&self.link.client);
        Traces::merged(
            local.clone(),
            Arc::clone(&self.followed),
            InfluxTraces::new(client, self.retention),
            Arc::clone(&self.peers),
        )
    }

    /// Returns the log records of both stores.
    pub(crate) fn logs(&self, local: &LogStore) -> Logs {
        let client = Arc::clone(&self.link.client);
        Logs::merged(
            local.clone(),
            Arc::clone(&self.followed_logs),
            InfluxLogs::new(client, self.retention),
            Arc::clone(&self.peers),
        )
    }

    pub(crate) fn report(&self, store: &EmbeddedStore, logs: &LogStore) -> Influxdb {
        Influxdb::new(
            Arc::clone(&self.link),
            (store.clone(), Arc::clone(&self.followed)),
            (logs.clone(), Arc::clone(&self.followed_logs)),
        )
    }

    pub(crate) fn lanes(
        self,
        (store, logs): (&EmbeddedStore, &LogStore),
        circuits: &Circuits,
        report: Influxdb,
    ) -> Result<Lanes, StoreError> {
        let logs = self.log_lane(logs)?;
        let names = Arc::clone(&self.link.names);
        let encoder = BlockEncoder::new(&self.own, Arc::clone(&names));
        let counters = Arc::clone(&self.counters);
        let saved = saved_position::<SpanLane>(&self.link.data_dir)?;
        let covered = saved.and_then(|saved| saved.covered);
        let from = (self.own.as_str(), covered);
        let spans = SpanLane::new(store.journal(), self.followed, encoder, from, counters);
        let position = saved_position::<SeriesLane>(&self.link.data_dir)?;
        let options = SeriesLaneOptions {
            log: circuits.series().clone(),
            own: self.own,
            names,
            retention: self.retention,
            counters: self.counters,
            figures: Box::new(move || report.store_figures()),
        };
        Ok(Lanes {
            link: self.link,
            spans,
            series: SeriesLane::new(options, position),
            logs,
            circuits: circuits.clone(),
        })
    }

    fn log_lane(&self, log: &LogStore) -> Result<LogLane, StoreError> {
        let options = LogLaneOptions {
            log: log.clone(),
            followed: Arc::clone(&self.followed_logs),
            own: self.own.clone(),
            names: Arc::clone(&self.link.names),
            retention: self.retention,
            counters: Arc::clone(&self.counters),
        };
        let position = saved_position::<LogLane>(&self.link.data_dir)?;
        Ok(LogLane::new(options, position))
    }
}

impl Lanes {
    pub(crate) fn start(self) -> Running {
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(self.circuits.follow_others());
        let writers = [
            Writer::start(Arc::clone(&self.link), self.series, stopped.clone()),
            Writer::start(Arc::clone(&self.link), self.logs, stopped.clone()),
            Writer::start(self.link, self.spans, stopped),
        ];
        Running { writers, stop }
    }
}

impl Running {
    /// Stops the lanes: lets requests in flight end, and returns once the positions are saved.
    pub(crate) async fn finish(self) {
        self.stop.send_replace(true);
        for writer in self.writers {
            writer.ended().await;
        }
    }
}

/// What the stores must know of how they are shipped; `None` of one that never is.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    pub(crate) spans: Option<Follow>,
    pub(crate) logs: Option<Follow>,
}

/// Returns what the stores must keep in a run without InfluxDB after an earlier run shipped them: a later run with InfluxDB
/// needs the same blocks, numbers and times, or it would ship spans twice or not at all, and must know what is not here
/// any more.
///
/// Once everything that was shipped is past the retention, the position is removed and the store is
/// independent.
pub(crate) fn paused(
    data_dir: &Path,
    retention: Duration,
    now: UnixNanos,
) -> Result<Followed, StoreError> {
    let follow = |lane: &str, progress: fn(&Path) -> Result<Arc<ShipProgress>, StoreError>| {
        let Some(age) = position_age(data_dir, lane, now)? else {
            return Ok(None);
        };
        if age > retention.saturating_add(SEGMENT_MAX) {
            forget_position(data_dir, lane)?;
            return Ok(None);
        }
        Ok(Some(Follow {
            followed: progress(data_dir)?,
            // No reader has InfluxDB in this run.
            keep: Duration::MAX,
        }))
    };
    Ok(Followed {
        spans: follow(SpanLane::NAME, span_progress)?,
        logs: follow(LogLane::NAME, log_progress)?,
    })
}

fn span_progress(data_dir: &Path) -> Result<Arc<ShipProgress>, StoreError> {
    let position = saved_position::<SpanLane>(data_dir)?;
    let position = position.map(|position| position.log);
    progress(data_dir, DELETED_SPANS, position.unwrap_or_default())
}

fn log_progress(data_dir: &Path) -> Result<Arc<ShipProgress>, StoreError> {
    let position = saved_position::<LogLane>(data_dir)?;
    let position = position.map(|position| position.log);
    progress(data_dir, DELETED_LOGS, position.unwrap_or_default())
}

/// Returns how far an earlier run came.
fn progress(
    data_dir: &Path,
    deleted: &str,
    position: Position,
) -> Result<Arc<ShipProgress>, StoreError> {
    let path = folder(data_dir).join(deleted);
    Ok(Arc::new(ShipProgress::open(&path, position)?))
}

/// Returns the query service, for one or both stores.
pub(crate) fn query_service(
    traces: Traces,
    circuits: Circuits,
    live: crate::live::Live,
    series: Option<Arc<MergedSeries>>,
) -> QueryService {
    let query = QueryService::new(traces, circuits, live);
    match series {
        Some(series) => query.with_others(series),
        None => query,
    }
}
