//! The whole collector: opens what it keeps, binds its three listeners, serves until told to stop, then drains,
//! commits and seals.

use std::fs::{File, TryLockError};
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tower::ServiceExt;
use tracing::{info, warn};

use crate::api::{ApiState, Health};
use crate::config::{CollectorConfig, ConfigError};
use crate::counters::{Counters, Reasons};
use crate::live::Live;
use crate::live::circuits::Circuits;
use crate::model::now_unix_nanos;
use crate::pipeline::{Ingest, Pipeline};
use crate::query::QueryService;
use crate::receivers::{Intake, Listener, OtlpGrpc, OtlpHttp, ServeOptions, Token, stop_signal};
use crate::shipping::{Lanes, Shipping, paused, query_service};
use crate::store::StoreError;
use crate::store::Traces;
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore, open_followed};
use crate::store::influxdb::Influxdb;
use crate::store::merged::series::MergedSeries;
use crate::store::series::SeriesLog;

/// How long requests that were begun may take to end once the collector stops: as long as a sender may be kept
/// waiting for room, within the 10 s that `docker stop` allows.
const GRACE: Duration = Duration::from_secs(5);

/// How often live figures let go of what is old.
const LIVE_TICK: Duration = Duration::from_secs(1);

/// How often old segments are looked for.
const RETENTION_TICK: Duration = Duration::from_secs(60);

/// The file whose lock says that a collector owns the data directory.
const LOCK_FILE: &str = "collector.lock";

/// The one path that is answered without a token: probes carry none, and it tells nothing about anybody's data.
const OPEN_PATH: &str = "/healthz";

/// A collector whose sockets are bound and whose store is open.
#[derive(Debug)]
pub struct Collector {
    listeners: Listeners,
    pipeline: Pipeline,
    parts: Parts,
    lanes: Option<Lanes>,
    config: CollectorConfig,
    /// Kept until everything is sealed.
    _lock: File,
}

/// Why a collector could not start or run.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error("could not use the data directory {path}: {source}")]
    DataDir {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another collector owns the data directory.
    #[error("another collector is using {path}; stop it, or choose another data directory")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// What is kept cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error("could not listen on {addr} for {listener}: {source}")]
    Bind {
        /// For what.
        listener: &'static str,
        /// Where.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread or task could not be started, or ended by a panic.
    #[error("could not run the collector: {0}")]
    Run(#[from] std::io::Error),
}

#[derive(Debug)]
struct Listeners {
    web: Listener,
    otlp_grpc: Listener,
    otlp_http: Listener,
}

/// What everybody shares.
#[derive(Debug, Clone)]
struct Parts {
    store: EmbeddedStore,
    circuits: Circuits,
    live: Live,
    query: QueryService,
    counters: Arc<Counters>,
    health: Health,
    influxdb: Option<Influxdb>,
}

/// What is open once the data directory is ours.
struct Opened {
    lock: File,
    pipeline: Pipeline,
    parts: Parts,
    lanes: Option<Lanes>,
}

impl Collector {
    /// Checks the settings, takes the data directory, opens what is kept there and binds the listeners.
    ///
    /// # Errors
    /// When a setting, the directory, the data in it or an address cannot be used.
    pub async fn bind(config: CollectorConfig) -> Result<Self, CollectorError> {
        config.validate()?;
        let opening = config.clone();
        let opened = tokio::task::spawn_blocking(move || open(&opening))
            .await
            .map_err(std::io::Error::other)??;
        let listeners = Listeners {
            web: listen("web", config.web_addr).await?,
            otlp_grpc: listen("OTLP gRPC", config.otlp_grpc_addr).await?,
            otlp_http: listen("OTLP HTTP", config.otlp_http_addr).await?,
        };
        Ok(Self {
            listeners,
            pipeline: opened.pipeline,
            parts: opened.parts,
            lanes: opened.lanes,
            config,
            _lock: opened.lock,
        })
    }

    /// Returns where pages and queries are served.
    pub fn web_addr(&self) -> SocketAddr {
        self.listeners.web.addr()
    }

    /// Returns where OTLP/gRPC is served.
    pub fn otlp_grpc_addr(&self) -> SocketAddr {
        self.listeners.otlp_grpc.addr()
    }

    /// Returns where OTLP/HTTP is served.
    pub fn otlp_http_addr(&self) -> SocketAddr {
        self.listeners.otlp_http.addr()
    }

    /// Returns the settings in force.
    pub fn config(&self) -> &CollectorConfig {
        &self.config
    }

    /// Returns who answers questions.
    pub fn query(&self) -> QueryService {
        self.parts.query.clone()
    }

    /// Returns what the API needs; its `/healthz` then knows when the disk fails and when the collector stops.
    pub fn api_state(&self) -> ApiState {
        let mut state = ApiState::new(self.query(), self.counters());
        state.health = self.parts.health.clone();
        state.influxdb = self.influxdb();
        state
    }

    /// Returns the way in for requests that come by no socket of ours.
    pub fn ingest(&self) -> Ingest {
        self.pipeline.ingest().clone()
    }

    /// Returns who tells how it stands with the InfluxDB, where there is one.
    pub fn influxdb(&self) -> Option<Influxdb> {
        self.parts.influxdb.clone()
    }

    /// Returns the collector's counters.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.parts.counters)
    }

    /// Serves until the shutdown future ends; what was received by then is committed, answered and sealed.
    ///
    /// # Errors
    /// When a server ended by a panic, or the shards could not be waited for.
    pub async fn run(
        self,
        web: Router,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), CollectorError> {
        let (switch, stop) = stop_signal();
        let options = ServeOptions {
            counters: self.counters(),
            stop,
            grace: GRACE,
        };
        let token = self
            .config
            .token
            .as_ref()
            .map(|token| Token::new(token.expose()));
        let intake = Intake {
            ingest: self.ingest(),
            counters: self.counters(),
            token: token.clone(),
            body_bytes_max: self.config.body_bytes_max,
        };
        let mut servers = self.listeners.serve(&options, intake, guard(web, token));
        let chores = tokio::spawn(housekeep(self.parts.clone()));
        let lanes = self.lanes.map(Lanes::start);
        shutdown.await;
        info!("stopping: finishing what was received");
        chores.abort();
        // Until it has ended it could still say that all is well.
        let _aborted = chores.await;
        self.parts.health.set_problem(Some("stopping".to_owned()));
        switch.send_replace(true);
        self.parts.query.close_streams();
        let mut outcome = Ok(());
        while let Some(ended) = servers.join_next().await {
            outcome = outcome.and(ended.map_err(std::io::Error::other));
        }
        let pipeline = self.pipeline;
        tokio::task::spawn_blocking(move || pipeline.stop())
            .await
            .map_err(std::io::Error::other)?;
        // After the last spans: the minute that was running would be missing on the map after the next start.
        self.parts.live.finish().await;
        if let Some(lanes) = lanes {
            // Last, so that what was committed in the end may still be on its way.
            lanes.finish().await;
        }
        info!(
            spans_written = self.parts.counters.spans_written.get(),
            "stopped"
        );
        Ok(outcome?)
    }
}

impl Listeners {
    /// Starts one server per listener.
    fn serve(self, options: &ServeOptions, intake: Intake, web: Router) -> JoinSet<()> {
        let mut servers = JoinSet::new();
        let grpc = OtlpGrpc::new(intake.clone());
        servers.spawn(
            self.otlp_grpc
                .serve(options.clone(), move |request| grpc.clone().serve(request)),
        );
        let http = OtlpHttp::new(intake);
        servers.spawn(
            self.otlp_http
                .serve(options.clone(), move |request| http.clone().serve(request)),
        );
        servers.spawn(
            self.web
                .serve(options.clone(), move |request: Request<Incoming>| {
                    web.clone().oneshot(request)
                }),
        );
        servers
    }
}

async fn listen(listener: &'static str, addr: SocketAddr) -> Result<Listener, CollectorError> {
    Listener::bind(listener, addr)
        .await
        .map_err(|source| CollectorError::Bind {
            listener,
            addr,
            source,
        })
}

/// Opens everything that is kept, and starts the shards.
fn open(config: &CollectorConfig) -> Result<Opened, CollectorError> {
    let lock = lock_data_dir(&config.data_dir)?;
    let counters = Arc::new(Counters::default());
    let shipping = config.influxdb.as_ref();
    let shipping = shipping.map(|influxdb| Shipping::open(influxdb, config, &counters));
    let shipping = shipping.transpose()?;
    let follow = match &shipping {
        Some(shipping) => Some(shipping.follow()),
        None => paused(&config.data_dir, config.retention)?,
    };
    let (store, writers) = open_followed(embedded_options(config), follow, Arc::clone(&counters))?;
    let (circuits, series) = open_series(config, shipping.as_ref(), &counters)?;
    let live = Live::new(circuits.clone(), Arc::clone(&counters));
    let traces = match &shipping {
        Some(shipping) => shipping.traces(&store),
        None => Traces::from(store.clone()),
    };
    let query = query_service(traces, circuits.clone(), live.clone(), series);
    let shards = writers.into_iter().map(|writer| (writer, live.span_tap()));
    let sink = Arc::new(circuits.clone());
    let pipeline = Pipeline::start(shards, sink, config.queue_bytes, &counters)?;
    sync_data_dir(&config.data_dir)?;
    let influxdb = shipping.as_ref().map(|shipping| shipping.report(&store));
    let lanes = shipping
        .zip(influxdb.clone())
        .map(|(shipping, report)| shipping.lanes(&store, &circuits, report))
        .transpose()?;
    let parts = Parts {
        store,
        circuits,
        live,
        query,
        counters,
        health: Health::default(),
        influxdb,
    };
    Ok(Opened {
        lock,
        pipeline,
        parts,
        lanes,
    })
}

fn embedded_options(config: &CollectorConfig) -> EmbeddedOptions {
    EmbeddedOptions {
        dir: config.data_dir.clone(),
        retention: config.retention,
        disk_budget_bytes: config.disk_budget_bytes,
        shards: config.shards,
    }
}

/// Opens the journal of circuits and figures, with what others wrote to the InfluxDB beside it.
fn open_series(
    config: &CollectorConfig,
    shipping: Option<&Shipping>,
    counters: &Arc<Counters>,
) -> Result<(Circuits, Option<Arc<MergedSeries>>), StoreError> {
    let log = SeriesLog::open(&config.data_dir, config.retention, Arc::clone(counters))?;
    let series = shipping.map(|shipping| shipping.series(&log));
    let circuits = match &series {
        Some(series) => Circuits::with_others(log, Arc::clone(series), Arc::clone(counters))?,
        None => Circuits::with_log(log, Arc::clone(counters), now_unix_nanos())?,
    };
    Ok((circuits, series))
}

/// Makes the data directory ours; the system gives it back when the process ends, however it ends.
fn lock_data_dir(path: &Path) -> Result<File, CollectorError> {
    let unusable = |source| CollectorError::DataDir {
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir_all(path).map_err(unusable)?;
    let file = File::create(path.join(LOCK_FILE)).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CollectorError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Makes the names of the stores' folders durable: what is acknowledged lies below them.
fn sync_data_dir(path: &Path) -> Result<(), CollectorError> {
    for folder in [Some(path), path.parent()].into_iter().flatten() {
        // The current directory has an empty name as somebody's parent.
        let unnamed = folder.as_os_str().is_empty();
        let folder = if unnamed { Path::new(".") } else { folder };
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| CollectorError::DataDir {
            path: folder.to_owned(),
            source,
        })?;
    }
    Ok(())
}

/// Does what must be done from time to time, until aborted.
async fn housekeep(parts: Parts) {
    let mut live_tick = interval(LIVE_TICK);
    live_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retention_tick = interval(RETENTION_TICK);
    retention_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut disk = DiskWatch::default();
    loop {
        tokio::select! {
            _ = live_tick.tick() => {
                parts.live.maintain(now_unix_nanos());
                disk.look(&parts.counters, &parts.health);
            }
            _ = retention_tick.tick() => enforce_retention(&parts).await,
        }
    }
}

/// Tells `/healthz` whether the disk takes what comes: not since a commit failed, again since a request was accepted
/// and none failed.
#[derive(Debug, Default)]
struct DiskWatch {
    refused: u64,
    accepted: u64,
}

impl DiskWatch {
    fn look(&mut self, counters: &Counters, health: &Health) {
        let failures = [&counters.spans_refused, &counters.requests_refused];
        let store_error = |reasons: &Reasons| reasons.all().get("store_error").copied();
        let refused = failures.iter().filter_map(|r| store_error(r)).sum();
        let accepted = counters.spans_written.get() + counters.requests_accepted.get();
        if refused > self.refused {
            health.set_problem(Some("could not write to the disk".to_owned()));
        } else if accepted > self.accepted {
            health.set_problem(None);
        }
        *self = Self { refused, accepted };
    }
}

async fn enforce_retention(parts: &Parts) {
    let (store, series) = (parts.store.clone(), parts.circuits.series().clone());
    let enforced = tokio::task::spawn_blocking(move || {
        let now = now_unix_nanos();
        [store.enforce_retention(now), series.enforce_retention(now)]
    });
    for error in enforced.await.into_iter().flatten().filter_map(Result::err) {
        parts.counters.incidents.add("retention_failed", 1);
        warn!(%error, "could not delete what is past the retention");
    }
}

/// Asks for the token on every page and query, where one is set. Browsers ask their user: any name, the token as password.
fn guard(web: Router, token: Option<Token>) -> Router {
    let Some(token) = token else {
        return web;
    };
    web.layer(axum::middleware::from_fn(
        move |request: axum::extract::Request, next: axum::middleware::Next| {
            let shown = request.uri().path() == OPEN_PATH || token.is_shown_by(request.headers());
            async move {
                if shown {
                    return next.run(request).await;
                }
                let mut refused = axum::response::Response::new("a token is required\n".into());
                *refused.status_mut() = StatusCode::UNAUTHORIZED;
                for scheme in ["Bearer realm=\"fusebox\"", "Basic realm=\"fusebox\""] {
                    refused
                        .headers_mut()
                        .append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
                }
                refused
            }
        },
    ))
}

#[cfg(test)]
mod tests;
