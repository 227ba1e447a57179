//! Pulls one stream as long as the collector runs: connects, reads, and reconnects with backoff. Redirects
//! are not followed: only the configured host is contacted.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

use super::followed::Followed;
use super::lines::Lines;
use super::source::HystrixSource;
use crate::codec::hystrix::decode;
use crate::counters::{Counters, Incident};
use crate::live::circuits::Circuits;
use crate::model::UnixNanos;
use crate::outbound::{connector, last_cause, system_roots};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A stream without data for this long is dead: Hystrix pings every half second, Turbine every three seconds,
/// and Turbine's own reader gives up after 30 s.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Initial backoff, as in Turbine.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Reading a stream for this long resets the backoff.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// How often observations are passed to the circuits.
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("no connection: {0}")]
    NotConnected(String),
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    NoAnswer,
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("sent nothing for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the sender closed it")]
    Closed,
}

/// Pulls a stream until aborted.
pub(super) async fn pull(source: HystrixSource, circuits: Circuits) {
    let roots = match source.url.scheme() {
        "https" => system_roots(),
        _ => RootCertStore::empty(),
    };
    let client = Client::builder(TokioExecutor::new()).build(connector(roots));
    let followed = Followed::new(&source.service, source.authority());
    let mut stream = Stream {
        source,
        circuits,
        client,
        followed,
    };
    let mut wait = WAIT_MIN;
    loop {
        let began = tokio::time::Instant::now();
        let ended = stream.read().await;
        if began.elapsed() >= STABLE_AFTER {
            wait = WAIT_MIN;
        }
        let pause = with_jitter(wait);
        warn!(source = %stream.source, %ended, seconds = pause.as_secs_f64(), "could not read a Hystrix stream; trying again");
        sleep(pause).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

/// Returns between half and all of the backoff, so that collectors do not reconnect at the same time.
fn with_jitter(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + fastrand::f64() / 2.0)
}

struct Stream {
    source: HystrixSource,
    circuits: Circuits,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    followed: Followed,
}

impl Stream {
    /// Connects and reads until the stream ends.
    async fn read(&mut self) -> Ended {
        let mut body = match self.connect().await {
            Ok(body) => body,
            Err(ended) => return ended,
        };
        info!(source = %self.source, "reading a Hystrix stream");
        self.followed.connected();
        let mut seconds = interval(SECOND);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lines = Lines::default();
        let mut heard = tokio::time::Instant::now();
        loop {
            tokio::select! {
                _ = seconds.tick() => {
                    self.publish().await;
                    if heard.elapsed() > SILENCE_MAX {
                        return Ended::Silent;
                    }
                }
                frame = body.frame() => {
                    heard = tokio::time::Instant::now();
                    match frame {
                        None => return Ended::Closed,
                        Some(Err(error)) => return Ended::Broken(last_cause(&error)),
                        Some(Ok(frame)) => {
                            if let Some(piece) = frame.data_ref() {
                                self.take(&mut lines, piece);
                            }
                        }
                    }
                }
            }
        }
    }

    async fn connect(&self) -> Result<Incoming, Ended> {
        let request = Request::get(self.source.url.as_str())
            .header(header::ACCEPT, "text/event-stream")
            .body(Empty::new())
            .map_err(|error| Ended::NotConnected(error.to_string()))?;
        let answer = timeout(ANSWER_TIMEOUT, self.client.request(request)).await;
        let answer = answer.map_err(|_| Ended::NoAnswer)?;
        let answer = answer.map_err(|error| Ended::NotConnected(last_cause(&error)))?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(Ended::Status(status)),
        }
    }

    /// Reads a chunk of the stream.
    fn take(&mut self, lines: &mut Lines, piece: &[u8]) {
        let now = UnixNanos::now();
        let (mut bad, mut no_room) = (0, 0);
        let followed = &mut self.followed;
        let too_long = lines.read(piece, |data| match decode(data) {
            Ok(object) => no_room += u64::from(!followed.read(object, now)),
            Err(_) => bad += 1,
        });
        let incidents = &self.counters().incidents;
        incidents.add(Incident::BadCircuitPoint, bad + too_long);
        incidents.add(Incident::SeriesLimit, no_room);
    }

    /// Passes the last second's observations to the circuits.
    async fn publish(&mut self) {
        let now = UnixNanos::now();
        let second = self.followed.take_second(now);
        let policies = self.circuits.take_policies(second.policies, now).await;
        let circuits = self
            .circuits
            .ingest(second.observations, second.settings, now)
            .await;
        if let Err(error) = policies.and(circuits) {
            warn!(%error, "could not store what a Hystrix stream reported");
        }
    }

    fn counters(&self) -> &Counters {
        self.circuits.counters()
    }
}
