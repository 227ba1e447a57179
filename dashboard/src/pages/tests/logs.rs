//! Tests of the page of log records, and of log records in a trace.

use std::sync::Arc;

use opentelemetry::{SpanId, TraceId};

use super::*;
use crate::pages::logs::LogsPage;
use crate::pages::logs::form::LogForm;
use crate::pages::trace::logs::TraceLogs;

/// Returns an error with a stack in the span of this number, this many milliseconds after the start of the trace.
fn record(span: u64, millis: u64, text: &str) -> LogRecord {
    let trace = fixtures::trace();
    let start = trace.spans.iter().map(|span| span.start).min();
    let resource = Resource {
        service_name: "gateway".to_owned(),
        ..Resource::default()
    };
    let string = |text: &str| Value::String(text.to_owned());
    LogRecord {
        id: millis,
        time: start.unwrap_or_default() + std::time::Duration::from_millis(millis),
        observed: UnixNanos::new(0),
        severity: Severity::ERROR,
        severity_text: "SEVERE".to_owned(),
        body: string(text),
        event_name: String::new(),
        attributes: vec![
            ("exception.type".to_owned(), string("NoStock")),
            (
                "exception.stacktrace".to_owned(),
                string("at stock\nat page"),
            ),
            ("product".to_owned(), Value::Int(7)),
        ],
        dropped_attributes_count: 0,
        dropped_here: 0,
        flags: 1,
        trace_id: Some(trace.id),
        span_id: Some(SpanId::from(span)),
        resource: Arc::new(resource),
        scope: Arc::default(),
    }
}

fn nasty_record() -> LogRecord {
    let mut record = record(1, 1, &nasty());
    let resource = Resource {
        service_name: nasty(),
        instance_id: nasty(),
        ..Resource::default()
    };
    record.resource = Arc::new(resource);
    record.severity_text = nasty();
    record.event_name = nasty();
    record.attributes = vec![
        (nasty(), Value::String(nasty())),
        ("exception.message".to_owned(), Value::String(nasty())),
        ("exception.stacktrace".to_owned(), Value::String(nasty())),
    ];
    record
}

fn page_of(records: Vec<LogRecord>) -> LogPage {
    LogPage {
        records,
        ..LogPage::default()
    }
}

fn logs_page(params: &[(&str, &str)], found: &LogPage) -> String {
    let mut form = LogForm::read(&Params::from(params), KEPT.length());
    form.query(NOW);
    let services = vec!["gateway".to_owned(), HOSTILE.to_owned()];
    html(LogsPage::new(
        form,
        found,
        services,
        NOW,
        &Palette::default(),
    ))
}

pub(super) fn pages() -> Vec<(&'static str, String)> {
    let none = LogPage::default();
    let form = "service severity text attribute trace range start limit cursor";
    let form: Vec<(&str, &str)> = form.split(' ').map(|name| (name, HOSTILE)).collect();
    let mut nasty_page = page_of(vec![nasty_record()]);
    nasty_page.missing = Some(nasty());
    nasty_page.next = Some(LogCursor {
        time: UnixNanos::new(NOW),
        id: 7,
    });
    vec![
        (
            "logs",
            logs_page(&[], &page_of(vec![record(4, 3, "no stock")])),
        ),
        ("logs empty", logs_page(&[], &none)),
        ("logs none", logs_page(&[("text", "x")], &none)),
        (
            "logs hostile",
            logs_page(&[("service", HOSTILE)], &nasty_page),
        ),
        ("logs form hostile", logs_page(&form, &none)),
    ]
}

#[test]
fn a_record_is_one_line_with_its_stack_behind_it_and_leads_to_its_span() {
    let html = logs_page(
        &[("severity", "warn")],
        &page_of(vec![record(4, 3, "no stock\nat all")]),
    );
    let trace: TraceId = fixtures::trace().id;
    for wanted in [
        "<summary><bdi>no stock</bdi>",
        "no stock\nat all</pre>",
        "Stack of the exception",
        "SEVERE",
        "data-refresh=\"2\"",
        &format!("/traces/{trace}?span=0000000000000004#s-0000000000000004"),
        "<option value=\"warn\" selected>warn and worse</option>",
    ] {
        assert!(html.contains(wanted), "{wanted} is missing in {html}");
    }
    let past = logs_page(&[("start", "2026-11-23T10:00")], &LogPage::default());
    assert!(!past.contains("data-refresh"));
}

/// *Scenario*: a span has two records, and one of the trace belongs to none of its spans.
/// *Guarantees*: the page counts all three, marks both in the lane, and lists them in the details of the span.
#[test]
fn records_stand_in_the_trace_at_their_span() {
    let trace = fixtures::trace();
    let logs = TraceLogs::from(page_of(vec![
        record(4, 3, "first of all"),
        record(4, 5, "second of all"),
        record(0x777, 9, "elsewhere"),
    ]));
    let view = TraceView::read(&Params::from(&[("span", "0000000000000004")][..]));
    let page = TraceHtml::new(&trace, &CallTree::build(&trace), view, &Palette::default());
    let html = html(page.with_logs(&trace, &logs));
    assert!(html.contains("3 log records"), "{html}");
    assert_eq!(html.matches("log-mark bad").count(), 2);
    for (text, count) in [("first of all", 1), ("second of all", 1), ("elsewhere", 0)] {
        assert_eq!(html.matches(text).count(), count, "{text}");
    }
}
