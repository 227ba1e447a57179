//! The receivers over real sockets, in front of a disk that can be slow or broken.

mod connections;
mod control;
mod grpc;
mod grpc_web;
mod http;
mod registry;
mod tokens;

use std::io::Write;
use std::net::SocketAddr;

use ::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::auth::Tokens;
use super::{Access, Auth, Cors, Held, HttpReceiver, Intake, Listener, OtlpGrpc, ServeOptions};
use crate::live::circuits::Circuits;
use crate::model::HOUR;
use crate::pipeline::testing::{Bench, send_spans, spans_request};
use crate::stop::{StopSwitch, stop_signal};

const ALLOWED_ORIGIN: &str = "https://shop.example";

const BODY_MAX: usize = 1 << 20;

const CONNECTIONS_MAX: usize = 16;

const GRPC_TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Both receivers on separate ports.
struct Receivers {
    bench: Bench,
    http: SocketAddr,
    grpc: SocketAddr,
    access: Access,
    circuits: Circuits,
    held: Held,
    _dir: tempfile::TempDir,
    _stop: StopSwitch,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
}

impl Receivers {
    async fn start() -> Self {
        Self::start_with(4 << 20, None).await
    }

    async fn start_with(queue_bytes: usize, token: Option<&str>) -> Self {
        Self::start_behind(queue_bytes, token, Access::default()).await
    }

    async fn start_behind(queue_bytes: usize, token: Option<&str>, access: Access) -> Self {
        let tokens = token.map(|token| Tokens::parse(token).unwrap());
        let bench = Bench::start(1, queue_bytes);
        let dir = tempfile::tempdir().unwrap();
        let circuits = Circuits::open(dir.path(), HOUR, bench.counters.clone()).unwrap();
        let held = Held::default();
        let intake = Intake {
            ingest: bench.pipeline.ingest().clone(),
            counters: bench.counters.clone(),
            auth: Auth::new(tokens, false, access.clone()),
            body_bytes_max: BODY_MAX,
            cors: Cors::new(&[ALLOWED_ORIGIN.to_owned()]),
            control: circuits.control().clone(),
            registry: circuits.registry().clone(),
            held: held.clone(),
        };
        let (switch, stop) = stop_signal();
        let options = ServeOptions {
            counters: bench.counters.clone(),
            access: access.clone(),
            connections_max: CONNECTIONS_MAX,
            tls: None,
            stop,
            grace: std::time::Duration::from_secs(1),
        };
        let any = super::ListenAddr::One(([127, 0, 0, 1], 0).into());
        let http = Listener::bind("OTLP HTTP", any).await.unwrap();
        let grpc = Listener::bind("OTLP gRPC", any).await.unwrap();
        let addrs = (http.addr(), grpc.addr());
        let receiver = HttpReceiver::new(intake.clone());
        tokio::spawn(http.serve(options.clone(), move |request| {
            receiver.clone().serve(request)
        }));
        let receiver = OtlpGrpc::new(intake);
        tokio::spawn(grpc.serve(options, move |request| receiver.clone().serve(request)));
        Self {
            bench,
            http: addrs.0,
            grpc: addrs.1,
            access,
            circuits,
            held,
            _dir: dir,
            _stop: switch,
        }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.send(request(path, headers, Full::new(body.into())))
            .await
    }

    async fn send<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = TcpStream::connect(self.http).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        Answer::read(client.send_request(request).await.unwrap()).await
    }

    async fn call(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut all = vec![("content-type", "application/grpc"), ("te", "trailers")];
        all.extend_from_slice(headers);
        let request = request(
            &format!("http://{}{path}", self.grpc),
            &all,
            Full::new(body.into()),
        );
        send_http2(self.grpc, request).await
    }

    /// Fills the queue behind a stuck disk; returns the waiting senders.
    async fn fill(&self) -> Vec<tokio::task::JoinHandle<()>> {
        self.bench.disk.change(|disk| disk.stuck = true);
        let ingest = self.bench.pipeline.ingest().clone();
        let send = |spans| {
            let ingest = ingest.clone();
            tokio::spawn(async move {
                send_spans(&ingest, spans_request(spans, 0)).await.unwrap();
            })
        };
        let first = send(1);
        let disk = self.bench.disk.clone();
        tokio::task::spawn_blocking(move || disk.wait_for_stuck_commit())
            .await
            .unwrap();
        let second = send(200);
        tokio::task::yield_now().await;
        vec![first, second]
    }

    /// Checks both invariants of the counters, and that no memory is reserved any more.
    fn assert_conserved(&self) {
        self.bench.assert_spans_conserved();
        let counters = &self.bench.counters;
        assert_eq!(
            counters.requests_received.get(),
            counters.requests_accepted.get() + counters.requests_refused.total()
        );
        assert_eq!(counters.queue_bytes.get(), 0);
        assert_eq!(counters.spans_queued.get(), 0);
    }
}

impl Answer {
    async fn read(response: ::http::Response<hyper::body::Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Self {
            status: head.status,
            headers: head.headers,
            body: collected.to_bytes(),
            trailers,
        }
    }

    /// Returns a gRPC trailer, which may also be among the headers.
    fn grpc(&self, name: &str) -> Option<&str> {
        let value = self.trailers.get(name).or_else(|| self.headers.get(name))?;
        value.to_str().ok()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn request<B>(uri: &str, headers: &[(&str, &str)], body: B) -> Request<B> {
    let mut request = Request::post(uri).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

async fn send_http2(addr: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    Answer::read(client.send_request(request).await.unwrap()).await
}

fn gzip(plain: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap().into()
}
