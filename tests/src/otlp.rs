//! Builds and sends OTLP trace requests with the official message types.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

/// Builds one trace of one service, span by span.
#[derive(Debug, Clone)]
pub struct TraceBuilder {
    /// The trace's id.
    pub trace_id: [u8; 16],
    service: String,
    start: u64,
    last_number: u64,
    spans: Vec<Span>,
}

/// Returns a string attribute.
pub fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

impl TraceBuilder {
    /// Starts a trace with a random id, a second ago.
    pub fn new(service: &str) -> Self {
        Self {
            trace_id: fastrand::u128(1..).to_be_bytes(),
            service: service.to_owned(),
            start: fusebox_collector::model::UnixNanos::now().get() - 1_000_000_000,
            last_number: 0,
            spans: Vec::new(),
        }
    }

    /// Returns the trace's id as 32 hex digits.
    pub fn id(&self) -> String {
        self.trace_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Adds a span; `parent` is the number of an earlier span. Returns its number, starting at 1.
    pub fn span(&mut self, parent: Option<u64>, name: &str, attributes: Vec<KeyValue>) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        let start = self.start + number * 100_000;
        self.spans.push(Span {
            trace_id: self.trace_id.to_vec(),
            span_id: number.to_be_bytes().to_vec(),
            parent_span_id: parent
                .map(|parent| parent.to_be_bytes().to_vec())
                .unwrap_or_default(),
            name: name.to_owned(),
            kind: 1,
            start_time_unix_nano: start,
            end_time_unix_nano: start + 5_000_000,
            attributes,
            ..Span::default()
        });
        number
    }

    /// Returns a builder for the spans of another service in the same trace, numbered from the next one.
    pub fn of_service(&self, service: &str) -> Self {
        Self {
            service: service.to_owned(),
            spans: Vec::new(),
            ..self.clone()
        }
    }

    /// Skips a number, for another service's span.
    pub fn skip(&mut self) {
        self.last_number += 1;
    }

    /// Returns the span added last, to change it.
    pub fn last(&mut self) -> &mut Span {
        self.spans.last_mut().expect("a span was added")
    }

    /// Marks the span added last as failed.
    pub fn fail(&mut self, message: &str) {
        self.last().status = Some(Status {
            code: 2,
            message: message.to_owned(),
        });
    }

    /// Returns the export request.
    pub fn request(&self) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource {
                    attributes: vec![attribute("service.name", &self.service)],
                    ..Resource::default()
                }),
                scope_spans: vec![ScopeSpans {
                    spans: self.spans.clone(),
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        }
    }

    /// Sends it to that OTLP/HTTP endpoint.
    ///
    /// # Panics
    /// Panics unless the answer is 200.
    pub async fn send(&self, otlp_http: &str) {
        let response = export(otlp_http, &self.request()).await;
        assert_eq!(response.status(), 200, "{:?}", response.text().await);
    }
}

/// Sends a request to that OTLP/HTTP endpoint.
///
/// # Panics
/// Panics without a response.
pub async fn export(otlp_http: &str, request: &ExportTraceServiceRequest) -> reqwest::Response {
    let client = reqwest::Client::new();
    try_export(&client, otlp_http, request)
        .await
        .expect("the collector answers")
}

/// Sends a request through that client to an OTLP/HTTP endpoint that may go away.
///
/// # Errors
/// Without a response.
pub async fn try_export(
    client: &reqwest::Client,
    otlp_http: &str,
    request: &ExportTraceServiceRequest,
) -> reqwest::Result<reqwest::Response> {
    let url = format!("{otlp_http}/v1/traces");
    let post = client
        .post(url)
        .header("content-type", "application/x-protobuf");
    post.body(request.encode_to_vec()).send().await
}
