//! Requests to the actuators of registered instances. Whoever may register chooses their addresses, so a request goes only to
//! addresses within the allowed networks: the name is resolved once, and the address that was checked is connected to.
//! Redirects are not followed; time, bytes and concurrency are bounded, look-ups of names included. Instances that answer
//! slowly wait for places of their own.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};

use crate::model::{Credentials, Network};
use crate::outbound::{last_cause, system_roots, tls_config};
use crate::sync::Mutex;

/// Timeout of a request; a health check that asks a database takes a second or two.
pub(super) const TIME_MAX: Duration = Duration::from_secs(5);
/// Timeout of a connection; addresses that answer nothing must not hold up checks of others for long.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long a request waits for others to the same host.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Requests at the same time, of each lane. Each has its answer in memory until it is parsed.
const REQUESTS_MAX: [usize; 2] = [24, 8];
/// Look-ups of names at the same time, of each lane. One that was given up keeps its thread until the system's resolver ends.
const LOOKUPS_MAX: [usize; 2] = [8, 4];
/// From here on, an answer is slow.
pub(super) const SLOW_AFTER: Duration = Duration::from_secs(1);
/// Names and addresses that are known to answer promptly, about 100 bytes each.
const PROMPT_MAX: usize = 40_000;
/// Addresses of a name that are considered.
const ADDRESSES_MAX: usize = 16;
/// Requests at the same time to one address and port.
const PER_ADDRESS_MAX: usize = 4;
/// Largest answer; the loggers of a Spring Boot service take 40 to 200 KB.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Headers and chunk of an answer.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Asks actuators; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Fetcher {
    inner: Arc<Inner>,
}

struct Inner {
    networks: Vec<Network>,
    ports: Vec<u16>,
    requests: [Arc<Semaphore>; 2],
    lookups: [Arc<Semaphore>; 2],
    addresses: Mutex<BTreeMap<SocketAddr, Weak<Semaphore>>>,
    /// What answered promptly when it was asked last.
    prompt: Mutex<HashSet<Asked>>,
    /// With the authorities of the system; read when the first actuator needs it.
    tls: OnceLock<TlsConnector>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("networks", &self.networks)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

/// Who waits for whom: what answers slowly, or is not known yet, does not delay requests to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Prompt,
    Slow,
}

/// What is asked of an instance. A health check may be prompt where the rest is slow, and the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Health,
    Endpoint,
}

/// What was asked, the system's resolver or an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Asked {
    Name(String),
    Address(SocketAddr, Kind),
}

/// An answer within the limits. It keeps its place among all requests, so that answers are counted as long as they are in memory.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    _place: OwnedSemaphorePermit,
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0} is in no network that --actuator-network allows")]
    NotAllowed(IpAddr),
    #[error("{0} is no port that --actuator-port allows")]
    PortNotAllowed(u16),
    #[error("its name cannot be resolved: {0}")]
    Unresolved(String),
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it did not answer within {} s", TIME_MAX.as_secs())]
    TimedOut,
    #[error("too many requests to actuators are running")]
    Busy,
    #[error("it answered {0}, and redirects are not followed")]
    Redirect(StatusCode),
    #[error("its answer has more than {} KiB", ANSWER_BYTES_MAX >> 10)]
    TooLarge,
}

impl FetchError {
    /// Whether the instance does not answer, as if it were not running.
    pub(super) fn is_offline(&self) -> bool {
        matches!(
            self,
            Self::Unresolved(_) | Self::Unreachable(_) | Self::TimedOut
        )
    }
}

impl Fetcher {
    /// Returns one that sends requests to these networks, at these ports if any are named.
    pub(super) fn new(networks: Vec<Network>, ports: Vec<u16>) -> Self {
        Self {
            inner: Arc::new(Inner {
                networks,
                ports,
                requests: REQUESTS_MAX.map(|max| Arc::new(Semaphore::new(max))),
                lookups: LOOKUPS_MAX.map(|max| Arc::new(Semaphore::new(max))),
                addresses: Mutex::default(),
                prompt: Mutex::default(),
                tls: OnceLock::new(),
            }),
        }
    }

    /// Whether requests are allowed at all.
    pub(super) fn is_enabled(&self) -> bool {
        !self.inner.networks.is_empty()
    }

    /// Gets a URL, or posts JSON to it, with a user if the instance named one.
    pub(super) async fn send(
        &self,
        kind: Kind,
        url: &Url,
        user: Option<&Credentials>,
        json: Option<String>,
    ) -> Result<Answer, FetchError> {
        let addrs = self.allowed(url).await?;
        let first = addrs.first().expect("at least one address is allowed");
        let asked = Asked::Address(*first, kind);
        let [_of_address, place] = self.places(self.lane(&asked), *first).await?;
        let began = Instant::now();
        let exchange = async {
            let tcp = timeout(CONNECT_MAX, TcpStream::connect(&*addrs)).await;
            let tcp = tcp.map_err(|_| FetchError::TimedOut)?;
            let tcp = tcp.map_err(|error| FetchError::Unreachable(last_cause(&error)))?;
            let request = request(url, user, json)?;
            match url.scheme() {
                "https" => exchange(self.secured(url, tcp).await?, request).await,
                _ => exchange(tcp, request).await,
            }
        };
        let answer = timeout(TIME_MAX, exchange).await;
        let answer = answer.unwrap_or(Err(FetchError::TimedOut));
        self.note(asked, answer.is_ok() && began.elapsed() < SLOW_AFTER);
        let (status, body) = answer?;
        Ok(Answer {
            status,
            body,
            _place: place,
        })
    }

    /// Resolves the host of a URL; returns its addresses that are allowed, at least one.
    async fn allowed(&self, url: &Url) -> Result<Vec<SocketAddr>, FetchError> {
        let port = url.port_or_known_default().unwrap_or_default();
        if !self.inner.ports.is_empty() && !self.inner.ports.contains(&port) {
            return Err(FetchError::PortNotAllowed(port));
        }
        let addrs: Vec<_> = match url.host() {
            Some(Host::Ipv4(ip)) => vec![(ip, port).into()],
            Some(Host::Ipv6(ip)) => vec![(ip, port).into()],
            Some(Host::Domain(name)) => self.resolved(name, port).await?,
            None => Vec::new(),
        };
        let first = addrs.first().copied();
        let first = first.ok_or_else(|| FetchError::Unresolved("no address".to_owned()))?;
        let is_allowed = |addr: &SocketAddr| self.inner.networks.iter().any(|it| it.has(addr.ip()));
        let allowed = addrs.into_iter().filter(is_allowed);
        let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), port);
        let allowed: Vec<_> = allowed.map(canonical).collect();
        match allowed.is_empty() {
            true => Err(FetchError::NotAllowed(first.ip())),
            false => Ok(allowed),
        }
    }

    /// Asks the system's resolver.
    async fn resolved(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, FetchError> {
        let asked = Asked::Name(name.to_owned());
        let place = place(&self.inner.lookups[self.lane(&asked) as usize]);
        let place = timeout(WAIT_MAX, place)
            .await
            .map_err(|_| FetchError::Busy)?;
        let name = name.to_owned();
        let lookup = spawn_blocking(move || {
            // Until the resolver ends: it cannot be cancelled.
            let _place = place;
            let found = (name.as_str(), port).to_socket_addrs()?;
            std::io::Result::Ok(found.take(ADDRESSES_MAX).collect())
        });
        let began = Instant::now();
        let found = timeout(TIME_MAX, lookup).await;
        self.note(asked, found.is_ok() && began.elapsed() < SLOW_AFTER);
        let found =
            found.map_err(|_| FetchError::Unresolved("the resolver did not answer".to_owned()))?;
        let found = found.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        found.map_err(|error| FetchError::Unresolved(last_cause(&error)))
    }

    fn lane(&self, asked: &Asked) -> Lane {
        match self.inner.prompt.lock().contains(asked) {
            true => Lane::Prompt,
            false => Lane::Slow,
        }
    }

    fn note(&self, asked: Asked, is_prompt: bool) {
        let mut prompt = self.inner.prompt.lock();
        match is_prompt {
            // Then everything is found to be prompt once more.
            true if prompt.len() >= PROMPT_MAX => prompt.clear(),
            true => _ = prompt.insert(asked),
            false => _ = prompt.remove(&asked),
        }
    }

    async fn places(
        &self,
        lane: Lane,
        addr: SocketAddr,
    ) -> Result<[OwnedSemaphorePermit; 2], FetchError> {
        let of_address = self.of_address(addr);
        let all = &self.inner.requests[lane as usize];
        // In this order: a request that waits for an address delays none to others.
        let both = async { [place(&of_address).await, place(all).await] };
        timeout(WAIT_MAX, both).await.map_err(|_| FetchError::Busy)
    }

    fn of_address(&self, addr: SocketAddr) -> Arc<Semaphore> {
        let mut addresses = self.inner.addresses.lock();
        if let Some(known) = addresses.get(&addr).and_then(Weak::upgrade) {
            return known;
        }
        addresses.retain(|_, known| known.strong_count() > 0);
        let new = Arc::new(Semaphore::new(PER_ADDRESS_MAX));
        addresses.insert(addr, Arc::downgrade(&new));
        new
    }

    async fn secured(&self, url: &Url, tcp: TcpStream) -> Result<TlsStream<TcpStream>, FetchError> {
        let unreachable =
            |error: &dyn std::error::Error| FetchError::Unreachable(last_cause(error));
        let host = url.host_str().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(host).map_err(|error| unreachable(&error))?;
        let of_system = || TlsConnector::from(Arc::new(tls_config(system_roots())));
        let secured = self
            .inner
            .tls
            .get_or_init(of_system)
            .connect(name, tcp)
            .await;
        secured.map_err(|error| unreachable(&error))
    }
}

async fn place(of: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let place = Arc::clone(of).acquire_owned().await;
    place.expect("the semaphores are never closed")
}

fn request(
    url: &Url,
    user: Option<&Credentials>,
    json: Option<String>,
) -> Result<Request<Full<Bytes>>, FetchError> {
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let host = format!("{}{port}", url.host_str().unwrap_or_default());
    let method = match json {
        Some(_) => Method::POST,
        None => Method::GET,
    };
    let mut request = Request::builder()
        .method(method)
        .uri(url.path())
        .header(HOST, host)
        .header(USER_AGENT, concat!("fusebox/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json");
    if let Some(Credentials { name, password }) = user {
        let pair = STANDARD.encode(format!("{name}:{}", password.expose()));
        let mut value = HeaderValue::try_from(format!("Basic {pair}"));
        if let Ok(value) = &mut value {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value.clone());
        }
    }
    if json.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let body = Full::new(Bytes::from(json.unwrap_or_default()));
    let request = request.body(body);
    request.map_err(|error| FetchError::Unreachable(error.to_string()))
}

/// Sends one request over a connection and reads the answer.
async fn exchange(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), FetchError> {
    let broken = |error: hyper::Error| FetchError::Unreachable(last_cause(&error));
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER_BYTES_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(broken)?;
    // Ends with this request, whatever the other side does.
    let mut driven = JoinSet::new();
    driven.spawn(connection);
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    if status.is_redirection() {
        return Err(FetchError::Redirect(status));
    }
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await;
    match body {
        Ok(body) => Ok((status, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLarge),
        Err(error) => Err(FetchError::Unreachable(last_cause(&*error))),
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
