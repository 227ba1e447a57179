//! The whole collector: opens its data, binds its three listeners, serves until it is asked to stop, then
//! drains, commits and seals.

mod clock;
mod data_dir;
mod housekeep;
mod mapping_file;
mod open;
mod reload;
mod serve;
mod slow;

use std::fs::File;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::task::JoinSet;
use tracing::info;

use crate::actuator;
use crate::api::{ApiState, check_lens};
use crate::config::{CollectorConfig, ConfigError};
use crate::counters::Counters;
use crate::handles::Handles;
use crate::live::Live;
use crate::live::circuits::Circuits;
use crate::notify::{self, Notifier};
use crate::pipeline::{Health, Ingest, Pipeline};
use crate::query::QueryService;
use crate::receivers::{
    Access, Auth, Cors, Held, Intake, ListenAddr, ServeOptions, Tls, TlsFiles, TlsSource,
    TokenSource, Tokens, pull_hystrix,
};
use crate::shipping::Lanes;
use crate::stop::{Stop, StopSwitch, stop_signal};
use crate::store::StoreError;
use crate::store::embedded::EmbeddedStore;
use crate::store::influxdb::Influxdb;
use crate::store::logs::LogStore;
use crate::sync::Mutex;
use clock::RetentionClock;
use housekeep::{housekeep, keep_registry, sample};
use mapping_file::MappingFile;
use open::open;
use reload::{reload, reload_certificate, reload_mapping};
use serve::Listeners;

/// How long running requests may take once the collector stops: as long as a sender may wait for room, and
/// less than the 10 s of `docker stop`.
const GRACE: Duration = Duration::from_secs(5);

/// A collector whose sockets are bound and whose store is open.
#[derive(Debug)]
pub struct Collector {
    listeners: Listeners,
    pipeline: Pipeline,
    parts: Parts,
    lanes: Option<Lanes>,
    config: CollectorConfig,
    access: Access,
    tokens: Option<Tokens>,
    token_source: TokenSource,
    tls: Option<(TlsSource, Tls)>,
    mapping: Option<MappingFile>,
    handles: Handles,
    switch: StopSwitch,
    stop: Stop,
    /// Held until everything is sealed.
    _lock: File,
}

/// Why a collector could not start or run.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// A setting is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error("could not use the data directory {path}: {source}")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Another collector owns the data directory.
    #[error("another collector is using {path}; stop it, or choose another data directory")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The stored data cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address cannot be bound.
    #[error("could not listen on {addr} for {listener}: {source}")]
    Bind {
        /// The listener.
        listener: &'static str,
        /// Its address.
        addr: ListenAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// A thread or task could not be started, or panicked.
    #[error("could not run the collector: {0}")]
    Run(#[from] std::io::Error),
}

/// Handles shared by serving, housekeeping and queries.
#[derive(Debug, Clone)]
struct Parts {
    store: EmbeddedStore,
    circuits: Circuits,
    logs: LogStore,
    live: Live,
    query: QueryService,
    counters: Arc<Counters>,
    health: Health,
    clock: Arc<Mutex<RetentionClock>>,
    influxdb: Option<Influxdb>,
    notifier: Notifier,
}

impl Collector {
    /// Validates the settings, locks the data directory, opens its stores and binds the listeners.
    ///
    /// # Errors
    /// When a setting, the directory, the data in it or an address cannot be used.
    pub async fn bind(config: CollectorConfig) -> Result<Self, CollectorError> {
        config.validate()?;
        let handles = Handles::raise();
        let mut token_source = TokenSource::new(config.token.clone(), config.token_file.clone())
            .with_sender(config.sender_token.clone());
        let tokens = first_tokens(&mut token_source)?;
        let tls = config.tls.clone().map(first_certificate).transpose()?;
        let notify_file = config.notify_file.clone().map(notify::Source::new);
        let checked = notify_file.map_or(Ok(()), notify::check);
        checked.map_err(ConfigError::NotifyFile)?;
        check_lens_folder(&config)?;
        let opening = config.clone();
        let opened = tokio::task::spawn_blocking(move || open(&opening))
            .await
            .map_err(std::io::Error::other)??;
        let mapping = config.circuit_mapping.clone().map(MappingFile::new);
        let mapping = mapping.map(|file| first_mapping(file, &opened.parts.circuits));
        let mapping = mapping.transpose()?;
        let (switch, stop) = stop_signal();
        Ok(Self {
            listeners: Listeners::bind(&config).await?,
            access: Access::behind(&config.trusted_proxies),
            tokens,
            token_source,
            tls,
            mapping,
            handles,
            switch,
            stop,
            pipeline: opened.pipeline,
            parts: opened.parts,
            lanes: opened.lanes,
            config,
            _lock: opened.lock,
        })
    }

    /// Returns the address of pages and queries.
    pub fn web_addr(&self) -> SocketAddr {
        self.listeners.web.addr()
    }

    /// Returns the address of OTLP/gRPC.
    pub fn otlp_grpc_addr(&self) -> SocketAddr {
        self.listeners.otlp_grpc.addr()
    }

    /// Returns the address of OTLP/HTTP.
    pub fn otlp_http_addr(&self) -> SocketAddr {
        self.listeners.otlp_http.addr()
    }

    /// Returns the URL scheme of the addresses: `https` with a certificate, else `http`.
    pub fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// Returns the settings in use.
    pub fn config(&self) -> &CollectorConfig {
        &self.config
    }

    /// Returns the query service.
    pub fn query(&self) -> QueryService {
        self.parts.query.clone()
    }

    /// Returns the state of the API, whose `/healthz` then reports disk failures and the stop of the
    /// collector.
    pub fn api_state(&self) -> ApiState {
        let mut state = ApiState::new(self.query(), self.counters());
        state.health = self.parts.health.clone();
        state.influxdb = self.influxdb();
        state.notifier = self.notifier();
        state.stop = self.stop();
        state.access = self.access.clone();
        state.handles = self.handles;
        state.lens = self.config.zipkin_lens.as_deref().map(Into::into);
        state
    }

    /// Returns the entry of the pipeline, for messages that do not come through a listener.
    pub fn ingest(&self) -> Ingest {
        self.pipeline.ingest().clone()
    }

    /// Returns the InfluxDB status handle, if InfluxDB is configured.
    pub fn influxdb(&self) -> Option<Influxdb> {
        self.parts.influxdb.clone()
    }

    /// Returns the incidents and their notifications.
    pub fn notifier(&self) -> Notifier {
        self.parts.notifier.clone()
    }

    /// Returns the signal that the collector stops.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Returns the collector's counters.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.parts.counters)
    }

    /// Serves until the shutdown future ends; the web listener also accepts messages beside the routes of
    /// `web`. What was received by then is committed, acknowledged and sealed.
    ///
    /// # Errors
    /// When a server panicked, or the shards could not be awaited.
    pub async fn run(
        self,
        web: Router,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), CollectorError> {
        let notifying = notifying(&self);
        let options = self.serve_options();
        let auth = Auth::new(self.tokens, self.config.insecure, self.access.clone())
            .with_users(self.config.proxy_users.clone());
        let intake = Intake {
            ingest: self.pipeline.ingest().clone(),
            counters: Arc::clone(&self.parts.counters),
            auth: auth.clone(),
            body_bytes_max: self.config.body_bytes_max,
            cors: Cors::new(&self.config.cors_allowed_origins),
            control: self.parts.circuits.control().clone(),
            registry: self.parts.circuits.registry().clone(),
            held: Held::default(),
        };
        let prefix = self.config.path_prefix.as_deref();
        let mut servers = self.listeners.serve(&options, intake, web, prefix);
        let chores = tokio::spawn(housekeep(self.parts.clone()));
        let mut reloading = JoinSet::new();
        reloading.spawn(reload(self.token_source, auth));
        reloading.spawn(keep_registry(self.parts.clone()));
        read_actuators(&self.parts, &self.config, &mut reloading);
        if let Some((source, tls)) = self.tls {
            reloading.spawn(reload_certificate(source, tls));
        }
        if self.parts.store.sampling().is_some() {
            reloading.spawn(sample(self.parts.clone()));
        }
        if let Some(file) = self.mapping {
            reloading.spawn(reload_mapping(file, self.parts.circuits.clone()));
        }
        reloading.spawn(notifying);
        let lanes = self.lanes.map(Lanes::start);
        let mut pulling = pull_hystrix(&self.config.hystrix_streams, &self.parts.circuits);
        shutdown.await;
        info!("stopping: finishing what was received");
        chores.abort();
        reloading.abort_all();
        pulling.abort_all();
        self.parts.health.stop();
        self.switch.stop();
        self.parts.query.close_streams();
        self.parts.circuits.control().close();
        self.parts.circuits.registry().close().await;
        self.parts.notifier.keep().await;
        let mut outcome = Ok(());
        while let Some(ended) = servers.join_next().await {
            outcome = outcome.and(ended.map_err(std::io::Error::other));
        }
        let pipeline = self.pipeline;
        tokio::task::spawn_blocking(move || pipeline.stop())
            .await
            .map_err(std::io::Error::other)?;
        // After the last spans; otherwise the current minute would be missing on the map after a restart.
        self.parts.live.finish().await;
        if let Some(lanes) = lanes {
            // Last, so that the final commits can still be shipped.
            lanes.finish().await;
        }
        info!(
            spans_written = self.parts.counters.spans_written.get(),
            "stopped"
        );
        Ok(outcome?)
    }

    fn serve_options(&self) -> ServeOptions {
        ServeOptions {
            counters: self.counters(),
            access: self.access.clone(),
            tls: self.tls.as_ref().map(|(_, tls)| tls.clone()),
            connections_max: self.handles.connections_max(),
            stop: self.stop(),
            grace: GRACE,
        }
    }
}

/// Starts the health checks of registered instances, and passing changes on to them, if any may be read.
fn read_actuators(parts: &Parts, config: &CollectorConfig, tasks: &mut JoinSet<()>) {
    if config.actuator_networks.is_empty() {
        return;
    }
    let actuators = parts.query.actuators();
    tasks.spawn(actuator::watch(actuators.clone()));
    tasks.spawn(actuator::follow(actuators.clone()));
    tasks.spawn(actuator::pass_on(actuators.clone(), parts.circuits.clone()));
}

/// Returns the task of notifications; it ends at once without a file of targets.
fn notifying(collector: &Collector) -> impl Future<Output = ()> + Send + 'static {
    let file = collector.config.notify_file.clone();
    let notifier = collector.notifier();
    let sources = notify::Sources {
        query: collector.query(),
        health: collector.parts.health.clone(),
        influxdb: collector.influxdb(),
    };
    let url = format!("{}://{}", collector.scheme(), collector.web_addr());
    async move {
        if let Some(file) = file {
            notify::run(notifier, notify::Source::new(file), sources, url).await;
        }
    }
}

/// Reads the tokens, so that an invalid file prevents the collector's start.
fn first_tokens(source: &mut TokenSource) -> Result<Option<Tokens>, ConfigError> {
    let of_file = source.changed();
    let of_file = of_file.map_err(|error| ConfigError::TokenFile(error.to_string()))?;
    match of_file {
        Some(tokens) => Ok(Some(tokens)),
        None => Ok(source.of_settings()?),
    }
}

/// Checks that the folder of Zipkin's pages has them.
fn check_lens_folder(config: &CollectorConfig) -> Result<(), ConfigError> {
    let folder = config.zipkin_lens.as_ref();
    folder.map_or(Ok(()), |folder| {
        check_lens(folder).map_err(|error| {
            let page = folder.join("index.html");
            ConfigError::ZipkinLens(format!("could not read {}: {error}", page.display()))
        })
    })
}

/// Reads the mapping, so that an invalid file prevents the collector's start.
fn first_mapping(mut file: MappingFile, circuits: &Circuits) -> Result<MappingFile, ConfigError> {
    let mapping = file
        .changed()
        .map_err(|error| ConfigError::CircuitMapping(error.to_string()))?;
    if let Some(mapping) = mapping {
        circuits.map_metrics(mapping);
    }
    Ok(file)
}

/// Reads the certificate, so that invalid files prevent the collector's start.
fn first_certificate(files: TlsFiles) -> Result<(TlsSource, Tls), ConfigError> {
    let mut source = TlsSource::new(files);
    match source.changed() {
        Ok(Some(config)) => Ok((source, Tls::new(config))),
        // The first read always returns a certificate.
        Ok(None) => Err(ConfigError::Tls("the files were read before".to_owned())),
        Err(error) => Err(ConfigError::Tls(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
