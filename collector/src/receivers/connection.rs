//! One connection: HTTP/1.1 or HTTP/2 until the client leaves, does not authenticate in time, or is evicted.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Once};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use super::access::Access;
use super::places::{InFlight, Place, Session};
use super::tls::Tls;
use super::unread::{Answers, Timed, Watched};
use crate::counters::{Counters, Incident};
use crate::stop::Stop;

/// How long a connection may take until its first authorised request. The token is in the head of the first
/// request, which real clients send at once.
const AUTHENTICATED_WITHIN: Duration = Duration::from_secs(10);

/// How long a current answer may still take when that time is over.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(10);

/// Timeout for an HTTP/1.1 head. hyper includes the idle time between two requests, and metrics arrive once a
/// minute on a kept-alive connection: closing it sooner would lose the batch of exporters that do not retry.
const HEAD_MAX: Duration = Duration::from_secs(150);

/// HTTP/2 windows: a request of 500 spans (336 KB) should not wait for a window update (measured: 15-25 % of
/// CPU).
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// Concurrent streams of one HTTP/2 connection; exporters use at most a few.
const STREAMS_MAX: u32 = 128;

/// HTTP/2's send buffer per stream, as large as one chunk of a body.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// Header list of one HTTP/2 request; hyper's limit for HTTP/1.1 is its buffer of 400 KiB and 100 headers.
const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;

/// Interval of pings to an idle HTTP/2 peer, and their timeout.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_ANSWER_MAX: Duration = Duration::from_secs(20);

/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

#[derive(Debug, Clone)]
pub(crate) struct ServeOptions {
    pub(crate) counters: Arc<Counters>,
    pub(crate) access: Access,
    pub(crate) connections_max: usize,
    /// Without it the listeners use plain HTTP.
    pub(crate) tls: Option<Tls>,
    pub(crate) stop: Stop,
    /// How long running requests may take after `stop`.
    pub(crate) grace: Duration,
}

pub(super) struct Connection {
    pub(super) name: &'static str,
    pub(super) options: ServeOptions,
    pub(super) place: Place,
}

impl Connection {
    pub(super) async fn serve<H, F, B>(mut self, stream: TcpStream, handle: H)
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
        let session = Arc::clone(self.place.session());
        let authenticated_by = Instant::now() + AUTHENTICATED_WITHIN;
        let mut stop = self.options.stop.clone();
        let greeted = tokio::select! {
            greeted = self.greet(stream, authenticated_by) => greeted,
            () = session.evicted() => return,
            () = stop.requested() => return,
        };
        match greeted {
            Some(Greeted::Plain(stream)) => {
                self.serve_http(stream, handle, authenticated_by).await;
            }
            Some(Greeted::Tls(stream)) => {
                self.serve_http(*stream, handle, authenticated_by).await;
            }
            None => {}
        }
    }

    /// Peeks at the first byte, and does the TLS handshake if the listener uses TLS; returns a stream for
    /// HTTP.
    async fn greet(&self, stream: TcpStream, deadline: Instant) -> Option<Greeted> {
        let mut first = [0];
        let is_tls = match timeout_at(deadline, stream.peek(&mut first)).await {
            Ok(Ok(1)) => first[0] == TLS_HANDSHAKE,
            // TCP health checks open and close a connection: nothing to count.
            Ok(_) => return None,
            Err(_elapsed) => {
                self.refuse("silent");
                return None;
            }
        };
        match (&self.options.tls, is_tls) {
            (None, false) => Some(Greeted::Plain(stream)),
            (Some(tls), true) => self.shake_hands(tls, stream, deadline).await,
            (None, true) => {
                self.refuse("tls");
                None
            }
            (Some(_), false) => {
                self.refuse("plain");
                let _too_slow = timeout_at(deadline, tell_plain(stream)).await;
                None
            }
        }
    }

    async fn shake_hands(&self, tls: &Tls, stream: TcpStream, by: Instant) -> Option<Greeted> {
        let shaken = TlsAcceptor::from(tls.current()).accept(stream);
        match timeout_at(by, shaken).await {
            Ok(Ok(stream)) => return Some(Greeted::Tls(Box::new(stream))),
            Ok(Err(error)) => {
                debug!(%error, listener = self.name, "a TLS handshake failed");
                self.refuse("tls_handshake");
            }
            Err(_elapsed) => self.refuse("silent"),
        }
        None
    }

    async fn serve_http<S, H, F, B>(&mut self, stream: S, handle: H, mut deadline: Instant)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let session = Arc::clone(self.place.session());
        let of_requests = Arc::clone(&session);
        let answers = Answers::default();
        let of_answers = answers.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Arc::clone(&of_requests));
            name_host(&mut request);
            let (in_flight, version) = (of_requests.begin(), request.version());
            let answer = handle(request);
            let answers = of_answers.clone();
            async move {
                let answer = answer.await?.map(|body| answers.watch(body));
                Ok::<_, Infallible>(finish(answer, in_flight, version))
            }
        });
        let builder = http_builder();
        let mut connection =
            pin!(builder.serve_connection(TokioIo::new(Timed::new(stream)), service));
        let mut unread = pin!(answers.unread());
        let (mut watching, mut closing) = (true, false);
        loop {
            tokio::select! {
                served = connection.as_mut() => {
                    if let Err(error) = served {
                        debug!(error, listener = self.name, "a connection broke");
                    }
                    return;
                }
                () = session.evicted() => return,
                () = unread.as_mut() => return self.cut_off(),
                () = sleep_until(deadline), if watching => {
                    watching = session.is_refused() || !session.is_authenticated();
                    let is_last = closing && !session.is_authenticated();
                    if watching && (is_last || !session.is_busy()) {
                        return self.refuse(unauthenticated(&session));
                    }
                    if watching {
                        closing = true;
                        deadline += LAST_ANSWER_MAX;
                        connection.as_mut().graceful_shutdown();
                    }
                }
                () = session.refused(), if !closing => {
                    (closing, watching) = (true, true);
                    deadline = Instant::now() + LAST_ANSWER_MAX;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.options.stop.requested(), if !closing => {
                    (closing, watching) = (true, false);
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    fn cut_off(&self) {
        self.options
            .counters
            .incidents
            .add(Incident::AnswerUnread, 1);
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

/// The stream for HTTP, plain or TLS.
enum Greeted {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Answers a plain HTTP client on a TLS port.
async fn tell_plain(mut stream: TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
        this port speaks TLS: use https://\n";
    let _gone = stream.write_all(ANSWER).await;
    let _gone = stream.shutdown().await;
    // Wait until the client has read it: closing a socket with unread bytes resets it.
    let mut rest = [0; 1024];
    while matches!(stream.read(&mut rest).await, Ok(read) if read > 0) {}
}

/// Copies the host of an HTTP/2 request to the `Host` header (RFC 9113, section 8.3.1).
fn name_host<B>(request: &mut Request<B>) {
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str());
    let host = authority.and_then(|authority| HeaderValue::from_str(authority).ok());
    if let (Some(host), false) = (host, request.headers().contains_key(HOST)) {
        request.headers_mut().insert(HOST, host);
    }
}

/// Returns the reason that is counted for a connection which did not authenticate in time.
fn unauthenticated(session: &Session) -> &'static str {
    match session.has_requested() {
        true => "unauthenticated",
        false => "silent",
    }
}

/// Ties the answer to its connection, and announces the close after a rejected request.
fn finish<B>(
    answer: Response<Watched<B>>,
    in_flight: InFlight,
    version: Version,
) -> Response<Tracked<Watched<B>>> {
    let (mut head, body) = answer.into_parts();
    // HTTP/2 has no such header; there GOAWAY follows.
    if in_flight.session().is_refused() && version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        head.headers.insert(CONNECTION, close);
    }
    let body = Tracked {
        body,
        _in_flight: in_flight,
    };
    Response::from_parts(head, body)
}

pin_project! {
    /// The body of an answer; counts as in flight until it is sent or dropped.
    struct Tracked<B> {
        #[pin]
        body: B,
        _in_flight: InFlight,
    }
}

impl<B: Body> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER_MAX);
    builder
}
