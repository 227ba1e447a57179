//! Generated load for any OTLP endpoint: measures spans per second, latency and refusals.
//!
//! One thread generates spans ahead with `sample::Shop`; each connection sends one request at a time and waits for its
//! answer. The client costs about 1.5 µs of CPU per span besides the kernel's work (three times that with gzip): on the
//! machine under test, measure the CPU time of the server itself rather than subtract.

mod connection;
mod endpoint;
mod report;
mod source;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use connection::{Answer, Connection};
use endpoint::Endpoint;
use source::{Request, Source};

pub use report::LoadReport;

/// How often a request is sent again before it counts as refused.
const MAX_ATTEMPTS: u32 = 100;
/// How long an endpoint may be unreachable before the load gives up.
const UNREACHABLE_MAX: Duration = Duration::from_secs(10);
/// How long to wait before connecting again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// What to send and where.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// `http://host:port`; `/v1/traces` is added for HTTP unless it is there.
    pub endpoint: String,
    /// Spans in all.
    pub spans: u64,
    /// Connections, each with one request in flight.
    pub connections: usize,
    /// gRPC instead of HTTP.
    pub grpc: bool,
    /// Compress the requests.
    pub gzip: bool,
    /// Spans in a request.
    pub spans_per_request: usize,
    /// The same seed generates the same trace ids: use another for each run against the same store.
    pub seed: u64,
    /// Spans a second at most; unlimited by default.
    pub rate: Option<u64>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:4318".to_owned(),
            spans: 100_000,
            connections: 4,
            grpc: false,
            gzip: false,
            // What SDKs' batch processors send by default is 512.
            spans_per_request: 500,
            seed: 1,
            rate: None,
        }
    }
}

/// Why a load ended early.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The endpoint cannot be used.
    #[error("cannot send to {endpoint:?}: {reason}")]
    Endpoint {
        /// The endpoint as given.
        endpoint: String,
        /// Why.
        reason: &'static str,
    },
    /// The endpoint did not answer for ten seconds.
    #[error("{endpoint} does not answer: {reason}")]
    Unreachable {
        /// Host and port.
        endpoint: String,
        /// The last error.
        reason: String,
    },
    /// A task of the load panicked.
    #[error("the load failed: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Sends the load and returns the report.
///
/// # Errors
/// `LoadError` if the endpoint cannot be used or stays unreachable; refusals are counted in the report.
pub async fn run(options: LoadOptions) -> Result<LoadReport, LoadError> {
    let endpoint = Arc::new(Endpoint::new(&options)?);
    let source = Source::start(&options);
    source.filled().await;
    let pace = Arc::new(Pace::new(options.rate));
    let mut senders = JoinSet::new();
    for _ in 0..options.connections.max(1) {
        senders.spawn(send_all(endpoint.clone(), source.clone(), pace.clone()));
    }
    let mut report = LoadReport::default();
    while let Some(part) = senders.join_next().await {
        report.merge(part??);
    }
    report.finish(pace.start.elapsed());
    Ok(report)
}

/// Sends requests over one connection until there are no more.
async fn send_all(
    endpoint: Arc<Endpoint>,
    source: Source,
    pace: Arc<Pace>,
) -> Result<LoadReport, LoadError> {
    let mut report = LoadReport::default();
    let mut connection = None;
    while let Some(request) = source.next().await {
        pace.wait(request.spans).await;
        send(&endpoint, &mut connection, &request, &mut report).await?;
    }
    Ok(report)
}

/// Sends one request until it is accepted or finally refused.
async fn send(
    endpoint: &Endpoint,
    connection: &mut Option<Connection>,
    request: &Request,
    report: &mut LoadReport,
) -> Result<(), LoadError> {
    let begin = Instant::now();
    for attempt in 1..=MAX_ATTEMPTS {
        let answer = answer(endpoint, connection, request, report).await?;
        report.answered(request.body.len());
        let wait = match answer {
            Answer::Accepted { refused_spans } => {
                report.accepted(request.spans, refused_spans, begin.elapsed());
                return Ok(());
            }
            Answer::Refused { status } => {
                report.refused(status, request.spans);
                return Ok(());
            }
            Answer::Later { status, .. } if attempt == MAX_ATTEMPTS => {
                report.refused(status, request.spans);
                return Ok(());
            }
            Answer::Later { status, wait } => {
                report.retried(status);
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
    Ok(())
}

/// Sends one request and returns the answer; connects first, and reconnects while the endpoint is unreachable.
async fn answer(
    endpoint: &Endpoint,
    connection: &mut Option<Connection>,
    request: &Request,
    report: &mut LoadReport,
) -> Result<Answer, LoadError> {
    let give_up = Instant::now() + UNREACHABLE_MAX;
    loop {
        let sent = match connection {
            Some(connection) => connection.send(endpoint, request.body.clone()).await,
            None => match Connection::open(endpoint).await {
                Ok(opened) => {
                    *connection = Some(opened);
                    continue;
                }
                Err(error) => Err(error),
            },
        };
        match sent {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= give_up => {
                return Err(LoadError::Unreachable {
                    endpoint: endpoint.authority().to_owned(),
                    reason: error.to_string(),
                });
            }
            Err(_) => {
                *connection = None;
                report.retried("connection".to_owned());
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }
}

/// Limits the rate of all connections together.
#[derive(Debug)]
struct Pace {
    start: Instant,
    rate: Option<u64>,
    spans: AtomicU64,
}

impl Pace {
    fn new(rate: Option<u64>) -> Self {
        Self {
            start: Instant::now(),
            rate: rate.filter(|rate| *rate > 0),
            spans: AtomicU64::new(0),
        }
    }

    /// Waits until those spans are due.
    async fn wait(&self, spans: u64) {
        let before = self.spans.fetch_add(spans, Ordering::Relaxed);
        if let Some(rate) = self.rate {
            let due = Duration::from_secs_f64(before as f64 / rate as f64);
            tokio::time::sleep_until(self.start + due).await;
        }
    }
}

#[cfg(test)]
mod tests;
