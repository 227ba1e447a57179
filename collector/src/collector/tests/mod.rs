//! A collector over real sockets and a real disk.

mod as_written;
mod bad_input;
mod clocks;
mod eureka;
mod mail_server;
mod mapping;
mod notifying;
mod reading;
mod resilience4j;
mod tls;
mod tokens;
mod with_influxdb;
mod zipkin_in;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::housekeep::enforce_retention;
use super::*;
use crate::model::{TimeRange, UnixNanos};
use crate::pipeline::testing::spans_request;
use crate::store::TraceReader;
use crate::store::series::{RedMinute, SeriesRecord};

struct Running {
    web: SocketAddr,
    otlp_http: SocketAddr,
    otlp_grpc: SocketAddr,
    query: QueryService,
    store: EmbeddedStore,
    counters: Arc<Counters>,
    shutdown: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), CollectorError>>,
}

impl Running {
    async fn start(config: CollectorConfig) -> Self {
        let collector = Collector::bind(config).await.unwrap();
        let (shutdown, asked) = oneshot::channel::<()>();
        let web = Router::new()
            .route("/", axum::routing::get(|| async { "pages" }))
            .merge(crate::api::router(collector.api_state()));
        Self {
            web: collector.web_addr(),
            otlp_http: collector.otlp_http_addr(),
            otlp_grpc: collector.otlp_grpc_addr(),
            query: collector.query(),
            store: collector.parts.store.clone(),
            counters: collector.counters(),
            shutdown,
            ended: tokio::spawn(collector.run(web, async move {
                let _asked = asked.await;
            })),
        }
    }

    /// Posts OTLP JSON; returns status and body of the answer.
    async fn post(&self, path: &str, body: &serde_json::Value) -> (StatusCode, serde_json::Value) {
        let request = Request::post(path).header("content-type", "application/json");
        let (status, body) = send(self.otlp_http, request, body.to_string()).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Queries the API, which must succeed.
    async fn ask(&self, uri: &str) -> serde_json::Value {
        let (status, body) = send(self.web, Request::get(uri), "").await;
        assert_eq!(status, 200, "{uri}: {body:?}");
        serde_json::from_slice(&body).unwrap()
    }

    async fn stop(self) {
        self.shutdown.send(()).unwrap();
        self.ended.await.unwrap().unwrap();
    }
}

async fn send(
    addr: SocketAddr,
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> (StatusCode, Bytes) {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = request.body(Full::new(body.into())).unwrap();
    let host = http::HeaderValue::from_static("localhost");
    request.headers_mut().entry("host").or_insert(host);
    let response = client.send_request(request).await.unwrap();
    let status = response.status();
    (
        status,
        response.into_body().collect().await.unwrap().to_bytes(),
    )
}

fn traces() -> http::request::Builder {
    Request::post("/v1/traces").header("content-type", "application/x-protobuf")
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let so = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    let deadline = Duration::from_secs(300);
    tokio::time::timeout(deadline, so)
        .await
        .expect("it becomes so in time");
}

/// A request with both halves of one call.
fn call_request(caller: &str, callee: &str) -> Bytes {
    let half = |service: &str, kind: i32, span_id: u8, parent: Vec<u8>| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![KeyValue {
                key: "service.name".to_owned(),
                value: Some(AnyValue {
                    value: Some(any_value::Value::StringValue(service.to_owned())),
                }),
                ..KeyValue::default()
            }],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans: vec![Span {
                trace_id: vec![9; 16],
                span_id: vec![span_id; 8],
                parent_span_id: parent,
                name: "GET /stock".to_owned(),
                kind,
                start_time_unix_nano: UnixNanos::now().get() - 1_000_000,
                end_time_unix_nano: UnixNanos::now().get(),
                ..Span::default()
            }],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![half(caller, 3, 1, vec![]), half(callee, 2, 2, vec![1; 8])],
    };
    request.encode_to_vec().into()
}

#[tokio::test]
async fn a_data_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let first = Collector::bind(CollectorConfig::for_test(&path))
        .await
        .unwrap();
    let second = Collector::bind(CollectorConfig::for_test(&path))
        .await
        .unwrap_err();
    assert!(matches!(second, CollectorError::InUse { .. }), "{second}");
    drop(first);
}

/// *Scenario*: services without breakers send spans for longer than the retention.
/// *Guarantees*: their minutes in the journal are deleted too, although no metrics arrive.
#[tokio::test]
async fn retention_reaches_the_journal_without_circuits() {
    let dir = tempfile::tempdir().unwrap();
    let config = CollectorConfig::for_test(dir.path());
    let now = UnixNanos::now().get();
    let retention = u64::try_from(config.retention.as_nanos()).unwrap();
    let collector = Collector::bind(config).await.unwrap();
    let series = collector.parts.circuits.series();
    let old = SeriesRecord::Red(RedMinute {
        service: "shop".to_owned(),
        operation: "GET /".to_owned(),
        minute: UnixNanos::new(now - retention - 2 * 24 * 3_600_000_000_000),
        calls: 1,
        errors: 0,
        latency_buckets: Vec::new(),
    });
    series.append(vec![old]).await.unwrap();
    assert!(series.stats().bytes > 0);
    enforce_retention(&collector.parts, UnixNanos::now()).await;
    assert_eq!(series.stats().bytes, 0);
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = CollectorConfig {
        otlp_grpc_addr: taken.local_addr().unwrap().into(),
        ..CollectorConfig::for_test(dir.path())
    };
    let error = Collector::bind(config).await.unwrap_err().to_string();
    assert!(error.contains("OTLP gRPC"), "{error}");
}

/// *Scenario*: spans arrive, and the collector is restarted on the same directory.
/// *Guarantees*: they can be read right after the answer, and after the restart; the counters add up.
#[tokio::test]
async fn what_was_confirmed_is_found_before_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let (status, _) = send(running.otlp_http, traces(), spans_request(20, 1)).await;
    assert_eq!(status, 200);
    let id = opentelemetry::TraceId::from_bytes([7; 16]);
    let spans = |trace: Option<crate::model::Trace>| trace.map(|trace| trace.spans.len());
    assert_eq!(spans(running.query.trace(id).await.unwrap()), Some(20));
    assert_eq!(running.counters.spans_received.get(), 21);
    assert_eq!(running.counters.spans_written.get(), 20);
    assert_eq!(running.counters.spans_refused.total(), 1);
    assert!(running.counters.bytes_written.get() > 0);
    running.stop().await;

    let again = Running::start(CollectorConfig::for_test(dir.path())).await;
    assert_eq!(spans(again.query.trace(id).await.unwrap()), Some(20));
    assert_eq!(
        again.store.services(TimeRange::ALL).await.unwrap().value,
        ["unknown_service"]
    );
    again.stop().await;
}

/// *Scenario*: calls between two services arrive, and the collector is stopped within the same minute.
/// *Guarantees*: the map still shows them after the next start.
#[tokio::test]
async fn a_clean_stop_keeps_the_running_minute_of_the_map() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let call = call_request("shop", "stock");
    assert_eq!(send(running.otlp_http, traces(), call).await.0, 200);
    running.stop().await;

    let again = Running::start(CollectorConfig::for_test(dir.path())).await;
    let links = async || {
        again
            .query
            .dependencies(TimeRange::ALL)
            .await
            .unwrap()
            .value
    };
    eventually(async || links().await.len() == 1).await;
    let link = links().await.remove(0);
    assert_eq!((&*link.parent, &*link.child), ("shop", "stock"));
    again.stop().await;
}

/// *Scenario*: twenty senders have requests in flight when the collector is stopped.
/// *Guarantees*: exactly the confirmed spans are stored, and each rejected one was answered.
#[tokio::test]
async fn stopping_loses_nothing_that_was_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let addr = running.otlp_http;
    let senders: Vec<_> = (0..20)
        .map(|_| tokio::spawn(send(addr, traces(), spans_request(50, 0))))
        .collect();
    while running.counters.requests_received.get() == 0 {
        tokio::task::yield_now().await;
    }
    let counters = Arc::clone(&running.counters);
    running.stop().await;
    let mut confirmed = 0;
    for sender in senders {
        // Connections that were not served yet are closed without an answer.
        if let Ok((status, _)) = sender.await {
            confirmed += if status == 200 { 50 } else { 0 };
        }
    }
    assert!(confirmed > 0);
    assert!(counters.spans_written.get() >= confirmed);
    assert_eq!(counters.spans_queued.get(), 0);
    assert_eq!(counters.connections_open.get(), 0);
}

/// *Scenario*: OTLP/HTTP arrives on the web port: spans in both formats, metrics, logs, and invalid requests.
/// *Guarantees*: it is accepted, rejected and counted there as on its own port, and pages are still served.
#[tokio::test]
async fn otlp_is_accepted_on_the_web_port_too() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let post = |path: &str, format: &str| {
        Request::post(path).header("content-type", format!("application/{format}"))
    };
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000001",
        "spanId":"0000000000000001","name":"a","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}"#;
    for (path, format, body, expected) in [
        ("/v1/traces", "x-protobuf", spans_request(3, 1), 200),
        ("/v1/traces", "json", Bytes::from_static(json), 200),
        ("/v1/metrics", "x-protobuf", Bytes::new(), 200),
        ("/v1/logs", "json", "{}".into(), 200),
        ("/v1/traces", "x-protobuf", "noise".into(), 400),
        ("/v1/traces", "grpc", Bytes::new(), 415),
    ] {
        let (status, _) = send(running.web, post(path, format), body).await;
        assert_eq!(status, expected, "{path} {format}");
    }
    assert_eq!(
        send(running.web, Request::get("/v1/traces"), "").await.0,
        405
    );
    assert_eq!(send(running.web, Request::get("/"), "").await.1, "pages");
    let counters = &running.counters;
    assert_eq!(counters.spans_written.get(), 4);
    assert_eq!(counters.requests_received.get(), 7);
    assert_eq!(counters.requests_accepted.get(), 4);
    assert_eq!(counters.requests_refused.total(), 3);
    let trace = running
        .ask("/api/traces/00000000000000000000000000000001")
        .await;
    assert!(trace.to_string().contains("\"a\""), "{trace}");
    running.stop().await;
}

/// *Scenario*: a Zipkin reporter posts valid and invalid spans in JSON v2 to the web port.
/// *Guarantees*: it is answered as by Zipkin, its spans are found, and Zipkin's queries still work.
#[tokio::test]
async fn zipkin_spans_are_accepted_on_the_web_port() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let span = serde_json::json!({
        "traceId": "5af7183fb1d4cf5f", "id": "352bff9a74ca9ad2", "name": "get /stock", "kind": "SERVER",
        "timestamp": UnixNanos::now().get() / 1_000, "duration": 1_431, "tags": {"error": "no stock"},
        "localEndpoint": {"serviceName": "stock"},
    });
    let whole = serde_json::json!([span]).to_string();
    let no_id = serde_json::json!([{"traceId": "1", "timestamp": 1}]).to_string();
    let json = Some("application/json; charset=utf-8");
    for (content_type, body, expected, says) in [
        (json, whole.as_str(), 202, ""),
        (None, "[]", 202, ""),
        (None, "", 202, ""),
        (json, no_id.as_str(), 202, ""),
        (json, "{}", 400, "JSON_V2 encoded list"),
        (Some("application/x-thrift"), "", 415, "application/json"),
    ] {
        let request = Request::post("/api/v2/spans");
        let request = match content_type {
            Some(content_type) => request.header("content-type", content_type),
            None => request,
        };
        let (status, answer) = send(running.web, request, body.to_owned()).await;
        assert_eq!(status, expected, "{body}");
        let text = std::str::from_utf8(&answer).unwrap();
        assert!(text.contains(says), "{text}");
        assert!(expected != 202 || text.is_empty(), "{text}");
    }
    // A page of another site can send this without being asked.
    let simple = Request::post("/api/v2/spans").header("origin", "http://evil.example");
    assert_eq!(send(running.web, simple, whole.clone()).await.0, 403);
    assert_eq!(running.counters.spans_written.get(), 1);
    assert_eq!(running.counters.spans_refused.total(), 1);
    let trace = running.ask("/api/v2/trace/5af7183fb1d4cf5f").await;
    assert_eq!(trace[0]["localEndpoint"]["serviceName"], "stock");
    assert_eq!(trace[0]["tags"]["error"], "no stock");
    let names = running.ask("/api/v2/spans?serviceName=stock").await;
    assert_eq!(names, serde_json::json!(["get /stock"]));
    running.stop().await;
}

/// *Scenario*: the host name of another site resolves to this machine (DNS rebinding).
/// *Guarantees*: its page reads nothing without a token; with `insecure`, or with the token, any host name is
/// accepted.
#[tokio::test]
async fn a_public_host_name_reads_nothing_without_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let closed = CollectorConfig::for_test(dir.path());
    let insecure = CollectorConfig {
        insecure: true,
        ..closed.clone()
    };
    let with_token = CollectorConfig {
        token: Some("s3cret-s3cret-s3cret".into()),
        ..closed.clone()
    };
    for (config, expected) in [(closed, 421), (insecure, 200), (with_token, 200)] {
        let running = Running::start(config).await;
        let get = |path| Request::get(path).header("host", "evil.example:9411");
        let get = |path| get(path).header("authorization", "Bearer s3cret-s3cret-s3cret");
        for path in ["/", "/api/services"] {
            assert_eq!(send(running.web, get(path), "").await.0, expected, "{path}");
        }
        assert_eq!(send(running.web, get("/healthz"), "").await.0, 200);
        running.stop().await;
    }
}

#[tokio::test]
async fn pages_ask_for_the_token_but_probes_need_none() {
    let dir = tempfile::tempdir().unwrap();
    let config = CollectorConfig {
        token: Some("s3cret-s3cret-s3cret".into()),
        ..CollectorConfig::for_test(dir.path())
    };
    let running = Running::start(config).await;
    let status = async |request| send(running.web, request, "").await.0;
    assert_eq!(status(Request::get("/")).await, 401);
    assert_eq!(status(Request::get("/nowhere")).await, 401);
    assert_eq!(status(Request::get("/healthz")).await, 200);
    let shown = Request::get("/").header("authorization", "Bearer s3cret-s3cret-s3cret");
    assert_eq!(status(shown).await, 200);
    for addr in [running.otlp_http, running.web] {
        assert_eq!(send(addr, traces(), spans_request(1, 0)).await.0, 401);
    }
    assert_eq!(status(Request::post("/api/v2/spans")).await, 401);
    assert_eq!(status(Request::get("/api/v2/spans")).await, 401);
    let refused = running.counters.requests_refused.all();
    assert_eq!(refused["unauthenticated"], 3);
    let shown = traces().header("authorization", "Bearer s3cret-s3cret-s3cret");
    assert_eq!(send(running.web, shown, spans_request(1, 0)).await.0, 200);
    running.stop().await;
}
