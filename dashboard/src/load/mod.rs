//! Generated load for any OTLP endpoint: how many spans a second it takes, how long it makes senders wait, what it refuses.
//!
//! Spans come from `sample::Shop`, made ahead by one thread; each connection sends one request at a time and
//! the next when it is answered. The client costs about 1.5 µs of CPU a span besides the kernel's work (three
//! times that with gzip): on the machine under test, measure the server's own CPU time rather than subtract.

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
/// How long an endpoint may be away before the load gives up.
const MAX_AWAY: Duration = Duration::from_secs(10);
/// How long to wait before connecting again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// What to send, and where.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// `http://host:port`; `/v1/traces` is added for HTTP unless it is there.
    pub endpoint: String,
    /// Spans in all.
    pub spans: u64,
    /// Connections, each with one request under way.
    pub connections: usize,
    /// gRPC instead of HTTP.
    pub grpc: bool,
    /// Compress the requests.
    pub gzip: bool,
    /// Spans in a request.
    pub spans_per_request: usize,
    /// The same seed gives the same trace ids: use another for each run against the same store.
    pub seed: u64,
    /// At most so many spans a second; as fast as they are taken otherwise.
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
    Away {
        /// Host and port.
        endpoint: String,
        /// The last error.
        reason: String,
    },
    /// A part of the load itself broke.
    #[error("the load broke: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Sends the load and returns what came of it.
///
/// # Errors
/// `LoadError` where the endpoint cannot be used or stays away; refusals are no errors but counted.
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

/// Sends one request until it is taken or refused for good.
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
            Answer::Taken { refused_spans } => {
                report.taken(request.spans, refused_spans, begin.elapsed());
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
                report.put_off(status);
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
    Ok(())
}

/// Sends one request and returns the answer; connects first, and again as long as the endpoint is away.
async fn answer(
    endpoint: &Endpoint,
    connection: &mut Option<Connection>,
    request: &Request,
    report: &mut LoadReport,
) -> Result<Answer, LoadError> {
    let give_up = Instant::now() + MAX_AWAY;
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
                return Err(LoadError::Away {
                    endpoint: endpoint.authority().to_owned(),
                    reason: error.to_string(),
                });
            }
            Err(_) => {
                *connection = None;
                report.put_off("connection".to_owned());
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }
}

/// Keeps all connections together at the rate asked for.
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
