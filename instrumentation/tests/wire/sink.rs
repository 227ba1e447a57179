//! An OTLP receiver in the test's process that records everything.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// Timeout of a condition.
pub(crate) const DEADLINE: Duration = Duration::from_secs(300);

#[derive(Default)]
pub(crate) struct Received {
    /// Service name and span.
    pub(crate) spans: Vec<(String, Span)>,
    /// The latest value of each metric.
    pub(crate) metrics: Vec<(String, Metric)>,
    pub(crate) logs: Vec<(String, LogRecord)>,
    /// The attributes of every resource, of all three signals.
    pub(crate) resources: Vec<KeyValue>,
}

impl Received {
    /// Keeps the attributes of a resource and returns the name of its service.
    fn resource(&mut self, resource: Resource) -> String {
        let service = text(&resource.attributes, "service.name");
        self.resources.extend(resource.attributes);
        service
    }
}

#[derive(Clone, Default)]
pub(crate) struct Sink {
    shared: Arc<(Mutex<Received>, Condvar)>,
}

impl Sink {
    /// Starts on a free port.
    pub(crate) fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        (Self::start_on(listener), endpoint)
    }

    /// Starts on a socket.
    pub(crate) fn start_on(listener: TcpListener) -> Self {
        let sink = Self::default();
        let router = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/metrics", post(metrics))
            .route("/v1/logs", post(logs))
            .route(&grpc("trace.v1.TraceService"), post(grpc_traces))
            .route(&grpc("metrics.v1.MetricsService"), post(grpc_metrics))
            .route(&grpc("logs.v1.LogsService"), post(grpc_logs))
            .with_state(sink.clone());
        serve_on(listener, tracing::Dispatch::none(), router);
        sink
    }

    /// Waits until `condition` returns a value.
    pub(crate) fn wait_for<T>(
        &self,
        what: &str,
        mut condition: impl FnMut(&Received) -> Option<T>,
    ) -> T {
        let (received, changed) = &*self.shared;
        let mut found = None;
        let received = received.lock().unwrap();
        let (_guard, timeout) = changed
            .wait_timeout_while(received, DEADLINE, |received| {
                found = condition(received);
                found.is_none()
            })
            .unwrap();
        assert!(!timeout.timed_out(), "no {what} within {DEADLINE:?}");
        found.unwrap()
    }

    /// Waits for a span of a service whose name is `name`.
    pub(crate) fn span(&self, service: &str, name: &str) -> Span {
        self.wait_for(&format!("span {name} of {service}"), |received| {
            let mut spans = received.spans.iter();
            spans
                .find(|(from, span)| from == service && span.name == name)
                .map(|(_, span)| span.clone())
        })
    }

    fn note(&self, change: impl FnOnce(&mut Received)) {
        let (received, changed) = &*self.shared;
        change(&mut received.lock().unwrap());
        changed.notify_all();
    }
}

async fn traces(State(sink): State<Sink>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    sink.note(|received| {
        for resource in request.resource_spans {
            let service = received.resource(resource.resource.unwrap());
            let spans = resource
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans);
            received
                .spans
                .extend(spans.map(|span| (service.clone(), span)));
        }
    });
}

async fn metrics(State(sink): State<Sink>, body: Bytes) {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    sink.note(|received| {
        for resource in request.resource_metrics {
            let service = received.resource(resource.resource.unwrap());
            for metric in resource
                .scope_metrics
                .into_iter()
                .flat_map(|scope| scope.metrics)
            {
                received
                    .metrics
                    .retain(|(from, known)| *from != service || known.name != metric.name);
                received.metrics.push((service.clone(), metric));
            }
        }
    });
}

async fn logs(State(sink): State<Sink>, body: Bytes) {
    let request = ExportLogsServiceRequest::decode(body).unwrap();
    sink.note(|received| {
        for resource in request.resource_logs {
            let service = received.resource(resource.resource.unwrap());
            let logs = resource
                .scope_logs
                .into_iter()
                .flat_map(|scope| scope.log_records);
            received.logs.extend(logs.map(|log| (service.clone(), log)));
        }
    });
}

fn grpc(service: &str) -> String {
    format!("/opentelemetry.proto.collector.{service}/Export")
}

/// An empty answer of gRPC, with its status in the head.
type GrpcAnswer = [(&'static str, &'static str); 2];
const GRPC_OK: GrpcAnswer = [("content-type", "application/grpc"), ("grpc-status", "0")];

/// Returns the message of a request, and checks that it is a gRPC request.
fn message(head: &http::HeaderMap, body: &Bytes) -> Bytes {
    assert_eq!(
        (&head["content-type"], &head["te"]),
        (
            &"application/grpc".parse().unwrap(),
            &"trailers".parse().unwrap()
        )
    );
    let length = u32::from_be_bytes(body[1..5].try_into().unwrap());
    assert_eq!((body[0], length as usize), (0, body.len() - 5));
    body.slice(5..)
}

async fn grpc_traces(sink: State<Sink>, head: http::HeaderMap, body: Bytes) -> GrpcAnswer {
    traces(sink, message(&head, &body)).await;
    GRPC_OK
}

async fn grpc_metrics(sink: State<Sink>, head: http::HeaderMap, body: Bytes) -> GrpcAnswer {
    metrics(sink, message(&head, &body)).await;
    GRPC_OK
}

async fn grpc_logs(sink: State<Sink>, head: http::HeaderMap, body: Bytes) -> GrpcAnswer {
    logs(sink, message(&head, &body)).await;
    GRPC_OK
}

/// Returns an attribute as text; empty where it is missing.
pub(crate) fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        _ => String::new(),
    }
}

/// Serves a router from a thread with a current-thread runtime, to the end of the test's process.
pub(crate) fn serve(dispatch: tracing::Dispatch, router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    serve_on(listener, dispatch, router);
    address
}

fn serve_on(listener: TcpListener, dispatch: tracing::Dispatch, router: Router) {
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        tracing::dispatcher::with_default(&dispatch, || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let service = router.into_make_service_with_connect_info::<SocketAddr>();
                axum::serve(listener, service).await.unwrap();
            });
        });
    });
}
