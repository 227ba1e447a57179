//! Log records from the wire to the disk, the trace and the search.

use integration_tests::{Binary, Stack, TraceBuilder, attribute, eventually, export, get_json};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;

/// A trace of one span, and records of it and of none.
pub(crate) struct Sent {
    pub(crate) trace: TraceBuilder,
    span: [u8; 8],
    records: Vec<LogRecord>,
}

impl Sent {
    pub(crate) fn new() -> Self {
        let mut trace = TraceBuilder::new("shop");
        let span = trace.span(None, "GET /product", Vec::new()).to_be_bytes();
        Self {
            trace,
            span,
            records: Vec::new(),
        }
    }

    /// Adds a record of now, inside the span or outside of any.
    pub(crate) fn record(
        &mut self,
        text: &str,
        severity_number: i32,
        is_inside: bool,
    ) -> &mut LogRecord {
        let now = fusebox_collector::model::UnixNanos::now();
        let mut record = LogRecord {
            time_unix_nano: now.get(),
            severity_number,
            body: Some(AnyValue {
                value: Some(Any::StringValue(text.to_owned())),
            }),
            ..LogRecord::default()
        };
        if is_inside {
            record.trace_id = self.trace.trace_id.to_vec();
            record.span_id = self.span.to_vec();
        }
        self.records.push(record);
        self.records.last_mut().expect("it was just pushed")
    }

    /// Sends the records; returns the answer of the collector.
    pub(crate) async fn send(&self, otlp_http: &str) -> ExportLogsServiceResponse {
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(Resource {
                    attributes: vec![attribute("service.name", "shop")],
                    ..Resource::default()
                }),
                scope_logs: vec![ScopeLogs {
                    log_records: self.records.clone(),
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        };
        let answer = reqwest::Client::new()
            .post(format!("{otlp_http}/v1/logs"))
            .header("content-type", "application/x-protobuf")
            .body(request.encode_to_vec())
            .send()
            .await
            .expect("the collector answers");
        assert_eq!(answer.status(), 200);
        let body = answer.bytes().await.expect("a body");
        ExportLogsServiceResponse::decode(body).expect("an export response")
    }
}

/// Returns what the records of a search say, newest first.
pub(crate) async fn found(web: &str, query: &str) -> Vec<String> {
    let answer = get_json(&format!("{web}/api/logs?{query}")).await;
    let answer = answer.expect("an answer");
    let records = answer["logs"].as_array().expect("a list").iter();
    let text = |log: &Value| log["record"]["body"]["stringValue"].clone();
    records
        .map(|log| text(log).as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Gets a page; `None` for anything but a 200.
async fn get_text(url: &str) -> Option<String> {
    let response = reqwest::get(url).await.ok()?;
    let is_ok = response.status() == 200;
    response.text().await.ok().filter(|_| is_ok)
}

/// *Scenario*: records are acknowledged, then the process is killed and started again.
/// *Guarantees*: they are found by search, with their trace, and without the secret that one held; one of next week is refused.
#[tokio::test]
async fn acknowledged_log_records_survive_a_kill() {
    let data = TempDir::new().expect("a temporary directory");
    let binary = Binary::serve(data.path()).await;
    let mut sent = Sent::new();
    sent.record("no stock left", 13, true)
        .attributes
        .push(attribute(
            "exception.stacktrace",
            "at shop::stock\nat shop::page",
        ));
    sent.record("login of ada with password=hunter2", 9, false);
    sent.record("from next week", 9, true).time_unix_nano += 7 * 86_400_000_000_000;
    let spans = export(&binary.otlp_http, &sent.trace.request()).await;
    assert_eq!(spans.status(), 200);
    let answer = sent.send(&binary.otlp_http).await;
    let partial = answer.partial_success.expect("one was refused");
    assert_eq!(partial.rejected_log_records, 1, "{}", partial.error_message);
    binary.kill().await;

    let binary = Binary::serve(data.path()).await;
    let all = ["login of ada with password=REDACTED", "no stock left"];
    assert_eq!(found(&binary.web, "").await, all);
    assert_eq!(found(&binary.web, "severity=warn").await, all[1..]);
    assert_eq!(
        found(&binary.web, "text=SHOP::PAGE&service=shop").await,
        all[1..]
    );
    let id = sent.trace.id();
    assert_eq!(found(&binary.web, &format!("trace={id}")).await, all[1..]);
    assert!(found(&binary.web, "service=cart").await.is_empty());
    let trace = get_json(&format!("{}/api/traces/{id}", binary.web)).await;
    let logs = trace.expect("the trace")["resourceLogs"].to_string();
    assert!(
        logs.contains("no stock left") && !logs.contains("hunter2"),
        "{logs}"
    );
    binary.terminate().await;
}

/// *Scenario*: a trace has a warning with a stack.
/// *Guarantees*: its page says so, marks the moment, and shows line and stack in the span; the page of logs leads there.
#[tokio::test]
async fn log_records_are_shown_in_their_trace() {
    let stack = Stack::start().await;
    let mut sent = Sent::new();
    sent.record("no <b>stock</b> left", 13, true)
        .attributes
        .push(attribute(
            "exception.stacktrace",
            "at shop::stock\nat shop::page",
        ));
    export(&stack.otlp_http, &sent.trace.request()).await;
    sent.send(&stack.otlp_http).await;
    let id = sent.trace.id();
    let span = "0000000000000001";
    let page = eventually("the trace", || async {
        get_text(&format!("{}/traces/{id}?span={span}", stack.web)).await
    })
    .await;
    for wanted in [
        "1 log record",
        "log-mark warn",
        "no &#60;b&#62;stock",
        "at shop::page",
    ] {
        assert!(page.contains(wanted), "{wanted} is missing in {page}");
    }
    let logs = get_text(&format!("{}/logs?severity=warn&text=STOCK", stack.web)).await;
    let logs = logs.expect("the page");
    assert!(
        logs.contains(&format!("/traces/{id}?span={span}#s-{span}")),
        "{logs}"
    );
    let wrong = reqwest::get(format!("{}/logs?severity=loud", stack.web)).await;
    assert_eq!(wrong.expect("an answer").status(), 400);
}
