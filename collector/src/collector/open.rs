//! Opens the stores in the order of their dependencies, and starts the shards.

use std::fs::File;
use std::sync::Arc;

use tracing::warn;

use super::clock::RetentionClock;
use super::slow::SlowByHour;
use super::{CollectorError, Parts, data_dir};
use crate::config::CollectorConfig;
use crate::counters::Counters;
use crate::live::Live;
use crate::live::circuits::{CircuitSink, Circuits};
use crate::model::UnixNanos;
use crate::notify::Notifier;
use crate::pipeline::{Health, Pipeline, PipelineOptions};
use crate::query::Kept;
use crate::shipping::{Lanes, Shipping, paused, query_service};
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore, Sampling, open_followed};
use crate::store::logs::LogStore;
use crate::store::merged::series::MergedSeries;
use crate::store::series::SeriesLog;
use crate::store::{Follow, Logs, StoreError, Traces};
use crate::sync::Mutex;

/// Log records may take one part in this many of the disk budget.
const LOGS_PART: u64 = 8;

/// The open stores and the running shards.
pub(super) struct Opened {
    pub(super) lock: File,
    pub(super) pipeline: Pipeline,
    pub(super) parts: Parts,
    pub(super) lanes: Option<Lanes>,
}

/// Opens the stores and starts the shards. Blocks.
pub(super) fn open(config: &CollectorConfig) -> Result<Opened, CollectorError> {
    let lock = data_dir::lock(&config.data_dir)?;
    let mut clock = RetentionClock::open(&config.data_dir, UnixNanos::now());
    let counters = Arc::new(Counters::default());
    let shipping = config.influxdb.as_ref();
    let shipping = shipping.map(|influxdb| Shipping::open(influxdb, config, &counters));
    let shipping = shipping.transpose()?;
    let now = clock.now(UnixNanos::now());
    let follow = match &shipping {
        Some(shipping) => shipping.follow(),
        None => paused(&config.data_dir, config.retention, now)?,
    };
    let (store, writers) = open_followed(
        embedded_options(config),
        follow.spans,
        Arc::clone(&counters),
    )?;
    let (circuits, series) = open_series(config, shipping.as_ref(), &counters)?;
    let store = sampled(store, config, &circuits);
    let live = Live::new(circuits.clone(), Arc::clone(&counters));
    let logs = open_logs(config, follow.logs, &counters)?;
    let (traces, all_logs) = match &shipping {
        Some(shipping) => (shipping.traces(&store), shipping.logs(&logs)),
        None => (Traces::from(store.clone()), Logs::from(logs.clone())),
    };
    let kept = Kept::open(&config.data_dir, config.kept_bytes)?.with_journal(circuits.control());
    let query = query_service(traces, circuits.clone(), live.clone(), series);
    let query = query.with_logs(all_logs).with_kept(kept);
    let query = query.with_actuators(
        config.actuator_networks.clone(),
        config.actuator_ports.clone(),
    );
    let shards = writers.into_iter().map(|writer| (writer, live.span_tap()));
    let sink = Arc::new(circuits.clone());
    let health = Health::default();
    let options = PipelineOptions {
        queue_bytes: config.queue_bytes,
        limits: config.limits.clone(),
    };
    let sinks = (sink as Arc<dyn CircuitSink>, logs.clone());
    let pipeline = Pipeline::start(shards, sinks, &options, &counters, &health)?;
    data_dir::sync(&config.data_dir)?;
    let influxdb = shipping
        .as_ref()
        .map(|shipping| shipping.report(&store, &logs));
    let lanes = shipping
        .zip(influxdb.clone())
        .map(|(shipping, report)| shipping.lanes((&store, &logs), &circuits, report))
        .transpose()?;
    let notifier = notifier(config).with_journal(circuits.control());
    let parts = Parts {
        notifier,
        store,
        circuits,
        logs,
        live,
        query,
        counters,
        health,
        clock: Arc::new(Mutex::new(clock)),
        influxdb,
    };
    Ok(Opened {
        lock,
        pipeline,
        parts,
        lanes,
    })
}

fn notifier(config: &CollectorConfig) -> Notifier {
    match config.notify_file {
        Some(_) => Notifier::open(&config.data_dir),
        None => Notifier::default(),
    }
}

/// Returns the store with the rule of tail sampling, where there is one.
fn sampled(store: EmbeddedStore, config: &CollectorConfig, circuits: &Circuits) -> EmbeddedStore {
    let Some(rule) = config.tail_sampling else {
        return store;
    };
    let slow = Arc::new(SlowByHour::new(circuits.series().clone()));
    let store = store.with_sampling(Sampling { rule, slow });
    if store.sampling().is_none() {
        warn!(
            "all old traces are kept while the retention includes some that were sent to InfluxDB"
        );
    }
    store
}

fn embedded_options(config: &CollectorConfig) -> EmbeddedOptions {
    EmbeddedOptions {
        dir: config.data_dir.clone(),
        retention: config.retention,
        disk_budget_bytes: config.disk_budget_bytes - logs_bytes_max(config),
        shards: config.shards,
    }
}

fn logs_bytes_max(config: &CollectorConfig) -> u64 {
    config.disk_budget_bytes / LOGS_PART
}

fn open_logs(
    config: &CollectorConfig,
    follow: Option<Follow>,
    counters: &Arc<Counters>,
) -> Result<LogStore, StoreError> {
    let bounds = (config.retention, logs_bytes_max(config));
    LogStore::open_followed(&config.data_dir, bounds, follow, Arc::clone(counters))
}

/// Opens the journal of circuits and figures, merged with what other collectors wrote to InfluxDB.
fn open_series(
    config: &CollectorConfig,
    shipping: Option<&Shipping>,
    counters: &Arc<Counters>,
) -> Result<(Circuits, Option<Arc<MergedSeries>>), StoreError> {
    let log = SeriesLog::open(&config.data_dir, config.retention, Arc::clone(counters))?;
    let series = shipping.map(|shipping| shipping.series(&log));
    let circuits = match &series {
        Some(series) => Circuits::with_others(log, Arc::clone(series), Arc::clone(counters))?,
        None => Circuits::with_log(log, Arc::clone(counters), UnixNanos::now())?,
    };
    Ok((circuits, series))
}
