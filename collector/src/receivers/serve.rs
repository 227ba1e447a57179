//! Accepts connections and serves HTTP/1.1 and HTTP/2 on them, within limits, until the collector stops.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::counters::{Counters, Incident};
use crate::stop::Stop;

/// Connections per listener: SDKs hold one to three each, so this serves over a thousand processes.
const CONNECTIONS_MAX: usize = 4_096;

/// How long a new connection may take until its first request.
const FIRST_REQUEST_MAX: Duration = Duration::from_secs(30);

/// How long an HTTP/1.1 head may take. hyper includes the idle time between two requests, and metrics arrive once a
/// minute on a kept connection: closing it sooner would lose the batch of exporters that do not retry.
const HEAD_MAX: Duration = Duration::from_secs(150);

/// HTTP/2 windows: a request of 500 spans (336 KB) should not wait for a window update (measured: 15-25 % of CPU).
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// Calls in flight on one HTTP/2 connection; exporters send at most a few.
const STREAMS_MAX: u32 = 128;

/// Header list of one HTTP/2 request; hyper's bound for HTTP/1.1 is its buffer of 400 KiB and 100 headers.
const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;

/// How often an idle HTTP/2 peer is pinged, and how long its answer may take.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_ANSWER_MAX: Duration = Duration::from_secs(20);

/// Pause after a failed accept (no file descriptors left): they come back as connections close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// A bound socket with its name for logs.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
    name: &'static str,
}

/// How a listener is served.
#[derive(Debug, Clone)]
pub(crate) struct ServeOptions {
    /// The counters of connections.
    pub(crate) counters: Arc<Counters>,
    /// The signal to stop.
    pub(crate) stop: Stop,
    /// How long running requests may take to finish after it.
    pub(crate) grace: Duration,
}

impl Listener {
    /// Binds.
    ///
    /// # Errors
    /// When the address is in use or not local.
    pub(crate) async fn bind(name: &'static str, addr: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpListener::bind(addr).await?;
        let addr = socket.local_addr()?;
        Ok(Self { socket, addr, name })
    }

    /// Returns the address, with the port that the system chose.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until the collector stops, then lets running requests finish within the grace period.
    pub(crate) async fn serve<H, F, B>(self, mut options: ServeOptions, handle: H)
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        let mut stop = options.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => break,
                Some(_ended) = connections.join_next() => {}
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, _)) => {
                        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                            options.counters.connections_refused.add("limit", 1);
                            continue;
                        };
                        let connection = Connection { name: self.name, options: options.clone() };
                        let handle = handle.clone();
                        connections.spawn(async move {
                            connection.serve(stream, handle).await;
                            drop(slot);
                        });
                    }
                    Err(error) => {
                        options.counters.incidents.add(Incident::AcceptFailed, 1);
                        warn!(%error, listener = self.name, "could not accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
        drop(self.socket);
        options.finish(self.name, connections).await;
    }
}

impl ServeOptions {
    async fn finish(&mut self, name: &'static str, mut connections: JoinSet<()>) {
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if timeout(self.grace, all_ended).await.is_err() {
            info!(
                listener = name,
                "closing connections that did not end in time"
            );
            connections.abort_all();
        }
    }
}

/// One connection.
struct Connection {
    name: &'static str,
    options: ServeOptions,
}

impl Connection {
    async fn serve<H, F, B>(mut self, stream: TcpStream, handle: H)
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let counters = Arc::clone(&self.options.counters);
        let _open = Open::count(&counters);
        // Without it an answer waits for the client's delayed ACK: 29-44 ms a request, measured.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "could not set TCP_NODELAY");
        }
        let mut stop = self.options.stop.clone();
        let greeted = tokio::select! {
            greeted = self.greet(&stream) => greeted,
            () = stop.requested() => return,
        };
        if greeted {
            self.serve_http(stream, handle).await;
        }
    }

    /// Peeks at the first byte; returns whether this may be HTTP.
    async fn greet(&self, stream: &TcpStream) -> bool {
        let mut first = [0];
        match timeout(FIRST_REQUEST_MAX, stream.peek(&mut first)).await {
            Ok(Ok(1)) if first[0] == TLS_HANDSHAKE => self.refuse("tls"),
            Ok(Ok(1)) => return true,
            // TCP health checks open and close: nothing to count.
            Ok(_) => {}
            Err(_elapsed) => self.refuse("silent"),
        }
        false
    }

    async fn serve_http<H, F, B>(&mut self, stream: TcpStream, handle: H)
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let requested = Arc::new(AtomicBool::new(false));
        let on_request = Arc::clone(&requested);
        let service = service_fn(move |request| {
            on_request.store(true, Ordering::Relaxed);
            handle(request)
        });
        let builder = http_builder();
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let first_request_by = tokio::time::Instant::now() + FIRST_REQUEST_MAX;
        let (mut watching, mut stopping) = (true, false);
        loop {
            tokio::select! {
                served = connection.as_mut() => {
                    if let Err(error) = served {
                        debug!(error, listener = self.name, "a connection broke");
                    }
                    return;
                }
                () = sleep_until(first_request_by), if watching => {
                    watching = false;
                    if !requested.load(Ordering::Relaxed) {
                        return self.refuse("silent");
                    }
                }
                () = self.options.stop.requested(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    fn refuse(&self, reason: &'static str) {
        static WARNED: Once = Once::new();
        self.options.counters.connections_refused.add(reason, 1);
        if reason == "tls" {
            WARNED.call_once(|| {
                warn!(
                    listener = self.name,
                    "a client began a TLS handshake, but this port speaks plain HTTP: \
                     set OTEL_EXPORTER_OTLP_ENDPOINT=http://... there (Go's exporters use https when no endpoint is set)"
                );
            });
        }
    }
}

/// Counts an open connection in the gauge.
struct Open<'a>(&'a Counters);

impl<'a> Open<'a> {
    fn count(counters: &'a Counters) -> Self {
        counters.connections_open.add(1);
        Self(counters)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections_open.sub(1);
    }
}

/// Returns the HTTP settings. Upgrades are not supported, so an offer of h2c is answered in HTTP/1.1.
fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER_MAX);
    builder
}
