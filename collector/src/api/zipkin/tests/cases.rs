//! The rest of what Zipkin's own storage tests expect of a server, as far as it can be said over the wire: names, searches
//! and traces read back.

use serde_json::{Value, json};

use super::super::super::tests::Fixture;
use super::links::{TRACE, holding, span};
use crate::model::UnixNanos;

/// The spans of a case, a list, and its names.
type Names = (
    &'static [&'static str],
    &'static str,
    &'static [&'static str],
);

const NAMES: [Names; 13] = [
    (&[], "services", &[]),
    (&[], "spans?serviceName=frontend", &[]),
    (&[], "remoteServices?serviceName=frontend", &[]),
    (&["1 CLIENT frontend>backend"], "services", &["frontend"]),
    (&["1 CLIENT ->backend"], "services", &[]),
    (
        &["1 CLIENT frontend>backend"],
        "remoteServices?serviceName=frontend",
        &["backend"],
    ),
    (
        &["1 CLIENT frontend>backend", "2 CLIENT frontend>backend"],
        "remoteServices?serviceName=FRONTEND",
        &["backend"],
    ),
    (
        &["1 - frontend>backend"],
        "remoteServices?serviceName=frontend",
        &["backend"],
    ),
    (
        &["1 CLIENT frontend>backend"],
        "remoteServices?serviceName=frontend1",
        &[],
    ),
    (
        &["1 CLIENT frontend"],
        "remoteServices?serviceName=frontend",
        &[],
    ),
    (
        &["1 CLIENT frontend>backend", "2 CLIENT frontend>backend"],
        "spans?serviceName=Frontend",
        &["get"],
    ),
    (
        &["1 CLIENT frontend>backend"],
        "spans?serviceName=backend",
        &[],
    ),
    (
        &["1 CLIENT frontend>backend name:-"],
        "spans?serviceName=frontend",
        &[],
    ),
];

#[tokio::test]
async fn names_are_listed_as_soon_as_a_span_has_them() {
    let now = UnixNanos::now().get();
    for (lines, uri, expected) in NAMES {
        let fixture = holding(lines, now);
        let names = fixture.json(&format!("/api/v2/{uri}")).await;
        assert_eq!(names, json!(expected), "{uri} of {lines:?}");
    }
}

#[tokio::test]
async fn all_of_many_names_are_listed() {
    let now = UnixNanos::now().get();
    let line = |n: usize| format!("{:x} CLIENT frontend>yak{n:02} name:op{n:02}", n + 1);
    let lines: Vec<String> = (0..=50).map(line).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let fixture = holding(&lines, now);
    for (list, prefix) in [("spans", "op"), ("remoteServices", "yak")] {
        let uri = format!("/api/v2/{list}?serviceName=frontend");
        let names = fixture.json(&uri).await;
        let expected: Vec<_> = (0..=50).map(|n| format!("{prefix}{n:02}")).collect();
        assert_eq!(names, json!(expected), "{list}");
    }
}

/// Returns the spans, of all traces that a search finds, as `id service name`.
async fn found(fixture: &Fixture, question: &str) -> Vec<String> {
    let uri = format!("/api/v2/traces?limit=100&{question}");
    let traces = fixture.json(&uri).await;
    let traces = traces.as_array().unwrap().iter();
    let spans = traces.flat_map(|trace| trace.as_array().unwrap());
    let mut spans: Vec<_> = spans.map(shown).collect();
    spans.sort();
    spans
}

fn shown(span: &Value) -> String {
    let id = span["id"].as_str().unwrap().trim_start_matches('0');
    let service = &span["localEndpoint"]["serviceName"];
    let name = span["name"].as_str().unwrap_or_default();
    format!("{id} {} {name}", service.as_str().unwrap_or_default())
}

/// Three traces of an archiver: 1 of `frontend`, 2 of `db`, 3 of `backend`.
const ARCHIVES: [&str; 7] = [
    "1 - frontend>db trace:1 name:targz ~200 lc=archiver",
    "2<1 - backend>backend trace:1 name:tar ~150 lc=archiver",
    "3<1 - db>frontend trace:1 name:gz ~50 lc=archiver",
    "4 - db>frontend trace:2 name:targz ~200 lc=archiver-v2",
    "5<4 - backend>backend trace:2 name:tar ~150 lc=archiver",
    "6<4 - frontend>backend trace:2 name:gz ~50 lc=archiver",
    "7 - backend>backend trace:3 name:zip ~50 note:zip lc=archiver",
];

#[tokio::test]
async fn durations_are_those_of_the_service_that_is_asked_for() {
    let now = UnixNanos::now().get();
    let fixture = holding(&ARCHIVES, now);
    for (question, traces) in [
        ("serviceName=frontend&minDuration=200000", &[1][..]),
        ("serviceName=db&minDuration=200000", &[2]),
        (
            "serviceName=backend&minDuration=50000&maxDuration=150000",
            &[1, 2, 3],
        ),
        (
            "serviceName=frontend&remoteServiceName=backend&minDuration=1&maxDuration=50000",
            &[2],
        ),
        (
            "serviceName=backend&spanName=zip&minDuration=1&maxDuration=50000",
            &[3],
        ),
        (
            "serviceName=backend&minDuration=50000&maxDuration=50000",
            &[3],
        ),
        ("annotationQuery=zip", &[3]),
        ("annotationQuery=lc%3Darchiver-v2", &[2]),
        ("serviceName=absent", &[]),
    ] {
        let expected: Vec<String> = traces.iter().flat_map(|trace| spans_of(*trace)).collect();
        assert_eq!(found(&fixture, question).await, expected, "{question}");
    }
}

/// Returns what a search shows of a trace of the archiver.
fn spans_of(trace: u64) -> Vec<String> {
    let of_trace = |line: &&&str| line.contains(&format!("trace:{trace} "));
    let lines = ARCHIVES.iter().filter(of_trace);
    lines.map(|line| shown(&span(line, 0))).collect()
}

/// *Scenario*: a client and a server of two traces, each with words of its own.
/// *Guarantees*: words are looked for on spans of the service that is asked for.
#[tokio::test]
async fn words_are_those_of_the_service_that_is_asked_for() {
    let now = UnixNanos::now().get();
    let fixture = holding(
        &[
            "1 CLIENT frontend trace:1 note:web local=web web-b=web",
            "1 SERVER backend trace:1 shared",
            "2 CLIENT backend trace:2 note:app local=app app-b=app",
            "2 SERVER frontend trace:2 shared",
        ],
        now,
    );
    let first = ["1 backend get", "1 frontend get"];
    for word in ["web", "web-b", "local%3Dweb", "web%20and%20web-b"] {
        for (service, expected) in [("frontend", &first[..]), ("backend", &[])] {
            let question = format!("serviceName={service}&annotationQuery={word}");
            assert_eq!(found(&fixture, &question).await, expected, "{question}");
        }
    }
}

#[tokio::test]
async fn the_newest_traces_before_the_end_are_found() {
    let now = UnixNanos::now().get() / 1_000_000 * 1_000_000;
    let early = (1..=10).map(|n| format!("{n:x} - s{n} trace:e{n} name:early @-{n} ~1"));
    let late = (1..=10).map(|n| format!("{n:x} - s{n} trace:f{n} name:late @{} ~1", 100 - n));
    let lines: Vec<String> = early.chain(late).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let fixture = holding(&lines, now);
    let ms = now / 1_000_000;
    for (question, early, late) in [
        (format!("endTs={}", ms + 100), 10, 10),
        (format!("endTs={}&lookback=100", ms + 100), 0, 10),
        (format!("endTs={ms}"), 10, 0),
        (format!("endTs={}&lookback=1", ms - 5), 2, 0),
        (format!("endTs={}", ms - 11), 0, 0),
    ] {
        let spans = found(&fixture, &question).await;
        let named = |name: &str| spans.iter().filter(|span| span.ends_with(name)).count();
        assert_eq!((named("early"), named("late")), (early, late), "{question}");
    }
    let uri = format!("/api/v2/traces?endTs={}", ms + 100);
    let ten = fixture.json(&uri).await;
    let ten = ten.as_array().unwrap();
    assert!(ten.len() == 10 && ten.iter().all(|trace| trace[0]["name"] == "late"));
}

/// *Scenario*: traces whose ids share their low half, in all lengths.
/// *Guarantees*: each is found alone by what is on it alone, and each whole id reads its own.
#[tokio::test]
async fn ids_are_distinguished_beyond_their_low_half() {
    let now = UnixNanos::now().get();
    let ids = [
        "216a2aea45d08fc9",
        TRACE,
        "0000000000000001216a2aea45d08fc9",
    ];
    let lines = ids.map(|id| format!("1 - frontend trace:{id} foo={id}"));
    let fixture = holding(&[&lines[0], &lines[1], &lines[2]], now);
    for id in ids {
        let question = format!("serviceName=frontend&annotationQuery=foo%3D{id}");
        assert_eq!(found(&fixture, &question).await, ["1 frontend get"], "{id}");
        let spans = fixture.json(&format!("/api/v2/trace/{id}")).await;
        let spans = spans.as_array().unwrap();
        assert_eq!((spans.len(), &spans[0]["tags"]["foo"]), (1, &json!(id)));
    }
    let both = format!("/api/v2/traceMany?traceIds={TRACE},00000000000000000000000000000bad");
    assert_eq!(fixture.json(&both).await.as_array().unwrap().len(), 1);
}

/// *Scenario*: spans as reporters may write them: addresses and ports on both sides, a kilobyte of text, JSON as a name, keys
/// that are parts of one another, a failure without words.
/// *Guarantees*: they come back as they were sent.
#[tokio::test]
async fn what_was_sent_comes_back() {
    let now = UnixNanos::now().get();
    let mut sent = span(
        "2<1 SERVER frontend>web ~200 shared note:⻩ error= http.path=/api http.path.more=/api/api",
        now,
    );
    sent["localEndpoint"] =
        json!({"serviceName": "frontend", "ipv4": "192.168.99.101", "port": 9000});
    sent["remoteEndpoint"] = json!({"serviceName": "web", "ipv6": "2001:db8::c001", "port": 3036});
    sent["name"] = json!("{\"foo\":\"bar\"}");
    sent["tags"]["long"] = json!("a".repeat(1_024));
    let mut client = span("2<1 CLIENT web", now);
    client["debug"] = json!(true);
    let nameless = span("3<2 SERVER frontend", now);
    let mut fixture = Fixture::new();
    let mut nameless_sent = nameless.clone();
    nameless_sent["remoteEndpoint"] = json!({"ipv4": "10.0.0.7", "port": 5432});
    fixture.receive_zipkin(&json!([client, sent, nameless_sent]), now);
    let trace = fixture.json(&format!("/api/v2/trace/{TRACE}")).await;
    let trace = trace.as_array().unwrap();
    let of = |kind: &str, id: &str| {
        let is_it = |span: &&Value| span["kind"] == kind && span["id"] == format!("{id:0>16}");
        trace.iter().find(is_it).unwrap()
    };
    let back = of("SERVER", "2");
    for field in [
        "traceId",
        "parentId",
        "timestamp",
        "duration",
        "name",
        "shared",
        "localEndpoint",
        "remoteEndpoint",
        "annotations",
    ] {
        assert_eq!(back[field], sent[field], "{field}");
    }
    assert_eq!(back["tags"], sent["tags"]);
    assert_eq!(
        of("SERVER", "3")["remoteEndpoint"],
        nameless_sent["remoteEndpoint"]
    );
    let back = of("CLIENT", "2");
    assert_eq!(
        (&back["shared"], &back["duration"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        (&back["debug"], &back["tags"]["zipkin.debug"]),
        (&json!(true), &Value::Null)
    );
}

/// *Scenario*: the times of a span come apart from the rest of it, and a batch is sent twice.
/// *Guarantees*: its duration is found, and it is one span.
#[tokio::test]
async fn parts_of_a_span_are_one_span() {
    let now = UnixNanos::now().get();
    let mut fixture = holding(&["1 CLIENT frontend>backend http.method=GET"], now);
    let late = span("1 - frontend name:- ~200", now);
    fixture.receive_zipkin(&json!([late]), now);
    fixture.receive_zipkin(&json!([late]), now);
    let question = "serviceName=frontend&minDuration=200000";
    assert_eq!(found(&fixture, question).await, ["1 frontend get"]);
    assert_eq!(found(&fixture, "minDuration=200001").await, [] as [&str; 0]);
    let trace = fixture.json(&format!("/api/v2/trace/{TRACE}")).await;
    assert_eq!(trace.as_array().unwrap().len(), 1, "{trace}");
    assert_eq!(trace[0]["duration"], 200_000);
    assert_eq!(trace[0]["tags"]["http.method"], "GET");
}

/// *Scenario*: a span comes without any time, and later a span of its trace that has one.
/// *Guarantees*: a search finds the trace from then on, with both spans; the first comes back as it was sent.
#[tokio::test]
async fn a_trace_without_any_time_is_not_found() {
    let now = UnixNanos::now().get();
    let mut untimed = span("1 - frontend", now);
    untimed.as_object_mut().unwrap().remove("timestamp");
    let mut fixture = Fixture::new();
    fixture.receive_zipkin(&json!([untimed]), now);
    let question = "serviceName=frontend";
    assert_eq!(found(&fixture, question).await, [] as [&str; 0]);
    let trace = fixture.json(&format!("/api/v2/trace/{TRACE}")).await;
    assert_eq!(trace[0]["timestamp"], Value::Null, "{trace}");
    assert_eq!(trace[0]["tags"]["fusebox.arrived"], Value::Null, "{trace}");
    fixture.receive_zipkin(&json!([span("2<1 CLIENT frontend", now)]), now);
    let both = ["1 frontend get", "2 frontend get"];
    assert_eq!(found(&fixture, question).await, both);
}

/// *Scenario*: the tags and the time of a span come apart, in either order.
/// *Guarantees*: a search finds the trace by the sender's time, and shows one span with both.
#[tokio::test]
async fn the_time_of_a_span_may_come_apart() {
    let now = UnixNanos::now().get();
    let timed = span("1 - frontend ~200", now);
    let mut untimed = span("1 - frontend http.method=GET", now);
    untimed.as_object_mut().unwrap().remove("timestamp");
    let orders = [[&untimed, &timed], [&timed, &untimed]];
    for parts in orders {
        let mut fixture = Fixture::new();
        for part in parts {
            fixture.receive_zipkin(&json!([part]), now);
        }
        let question = "serviceName=frontend&minDuration=200000";
        assert_eq!(found(&fixture, question).await, ["1 frontend get"]);
        let trace = fixture.json(&format!("/api/v2/trace/{TRACE}")).await;
        let mut whole = timed.clone();
        whole["tags"] = untimed["tags"].clone();
        assert_eq!(trace, json!([whole]));
    }
}

/// *Scenario*: failures as reporters write them: with a message, without one, as a truth, and as an exporter of OpenTelemetry does.
/// *Guarantees*: each comes back as it was sent, and is found by what it says.
#[tokio::test]
async fn failures_come_back_as_they_were_sent() {
    let now = UnixNanos::now().get();
    for (tags, question) in [
        (json!({"error": "refused"}), "error%3Drefused"),
        (json!({"error": "true"}), "error%3Dtrue"),
        (json!({"error": "false"}), "error%3Dfalse"),
        (json!({"error": ""}), "error"),
        (
            json!({"error": "late", "otel.status_code": "ERROR", "otel.scope.name": "http"}),
            "error%3Dlate",
        ),
    ] {
        let mut fixture = Fixture::new();
        let mut failed = span("1 CLIENT frontend", now);
        failed["tags"] = tags.clone();
        fixture.receive_zipkin(&json!([failed]), now);
        let status = "otel.status_code%3DERROR";
        for query in [question, "error", status] {
            let search = format!("annotationQuery={query}");
            assert_eq!(found(&fixture, &search).await, ["1 frontend get"], "{tags}");
        }
        assert_eq!(found(&fixture, "annotationQuery=error%3D1").await, [""; 0]);
        let trace = fixture.json(&format!("/api/v2/trace/{TRACE}")).await;
        assert_eq!(trace[0]["tags"], tags);
    }
}
