//! The contract of every trace store: one suite, run by the tests of each back end.
//!
//! A back end provides a reader, and a closure that stores spans and returns once they are durable and
//! visible.

pub(crate) mod logs;
pub(crate) mod series;

use std::sync::{Arc, LazyLock};

use fusebox::circuit_breaker::Outcome;
use opentelemetry::{SpanId, TraceId};

use super::TraceReader;
use crate::model::{
    Condition, Dropped, Event, Grade, Link, Place, Resource, Scope, Span, SpanKind, Status,
    StatusCode, Test, TimeRange, TraceCondition, TraceQuery, UnixNanos, Value,
};
use crate::traceql::Query;

/// Returns the start time of the suite's spans, Unix nanoseconds: a minute ago, because stores keep a week
/// and look for spans near their arrival.
pub(crate) fn begin() -> u64 {
    static BEGIN: LazyLock<u64> = LazyLock::new(|| UnixNanos::now().get() - 60_000_000_000);
    *BEGIN
}

/// Runs the whole suite against an empty store.
pub(crate) async fn check(reader: &impl TraceReader, mut write: impl FnMut(&[Span])) {
    holds_nothing_at_first(reader).await;
    // One trace in three parts, its root last, one part sent twice; and two other traces.
    let pieces = [
        vec![
            span(1, 2, Some(1), "cart", 20),
            span(2, 1, None, "shop", 500),
        ],
        vec![
            span(1, 3, Some(2), "cart", 30),
            span(1, 3, Some(2), "cart", 30),
        ],
        vec![
            span(1, 1, None, "shop", 10),
            failed(span(3, 1, None, "pay", 900)),
        ],
    ];
    pieces.iter().for_each(|piece| write(piece));
    reads_traces_whole(reader).await;
    finds_ids_by_their_low_half(reader).await;
    searches_newest_first_page_by_page(reader).await;
    filters(reader).await;
    answers_traceql(reader).await;
    lists_services_and_operations(reader).await;
}

async fn holds_nothing_at_first(reader: &impl TraceReader) {
    assert!(reader.trace(id(1)).await.expect("reads").is_none());
    let everything = TraceQuery::in_range(TimeRange::ALL);
    let page = reader.search(everything).await.expect("searches");
    assert!(page.traces.is_empty() && page.next.is_none());
    let services = reader.services(TimeRange::ALL).await.expect("lists");
    assert!(services.value.is_empty() && services.missing.is_none());
}

async fn reads_traces_whole(reader: &impl TraceReader) {
    let trace = reader.trace(id(1)).await.expect("reads").expect("is there");
    let ids: Vec<_> = trace.spans.iter().map(|span| span.span_id).collect();
    assert_eq!(ids, [span_id(1), span_id(2), span_id(3)]);
    assert_eq!(trace.spans[1], span(1, 2, Some(1), "cart", 20));
    let notes: Vec<_> = trace.notes.iter().map(|note| note.code).collect();
    assert_eq!(notes, ["duplicate_dropped"]);
    assert!(reader.trace(id(9)).await.expect("reads").is_none());
    let several = vec![id(3), id(9), id(1)];
    let together = reader.traces_within(several, 1 << 20).await.expect("reads");
    // A store may decline to read them together.
    if let Some(together) = together {
        let other = reader.trace(id(3)).await.expect("reads").expect("is there");
        assert_eq!(together, [other, trace]);
    }
}

async fn finds_ids_by_their_low_half(reader: &impl TraceReader) {
    let ids = reader.trace_ids_by_low_half(1).await.expect("reads");
    assert_eq!(ids, [id(1)]);
    let none = reader.trace_ids_by_low_half(9).await.expect("reads");
    assert!(none.is_empty());
}

async fn searches_newest_first_page_by_page(reader: &impl TraceReader) {
    let mut query = TraceQuery::in_range(TimeRange::ALL);
    query.limit = 2;
    let page = reader.search(query.clone()).await.expect("searches");
    let ids: Vec<_> = page.traces.iter().map(|row| row.trace_id).collect();
    assert_eq!(ids, [id(3), id(2)]);
    query.cursor = page.next;
    assert!(query.cursor.is_some());
    let page = reader.search(query).await.expect("searches");
    assert!(page.next.is_none());
    let row = &page.traces[0];
    assert_eq!(page.traces.len(), 1);
    assert_eq!((row.trace_id, row.root_received), (id(1), true));
    assert_eq!(
        (row.root_service.as_str(), row.start.get()),
        ("shop", begin() + 10)
    );
    assert_eq!(row.duration_nanos, 30 + 5 - 10);
    assert_eq!(row.services.len(), 2);
    assert_eq!(row.circuits[0].outcome, Some(Outcome::Rejected));
}

async fn filters(reader: &impl TraceReader) {
    let expect = async |query: TraceQuery, wanted: &[u64]| {
        let page = reader.search(query.clone()).await.expect("searches");
        let ids: Vec<_> = page.traces.iter().map(|row| row.trace_id).collect();
        let wanted: Vec<_> = wanted.iter().map(|&number| id(number)).collect();
        assert_eq!(ids, wanted, "{query:?}");
    };
    let all = TraceQuery::in_range(TimeRange::ALL);
    for (condition, wanted) in conditions() {
        expect(all.clone().with([condition]), wanted).await;
    }
    let mut sound = all.clone();
    sound.traces.push(TraceCondition::WithoutErrors);
    expect(sound, &[2, 1]).await;
    // 3 failed for its caller; in 1 a breaker rejected a call, but the caller got an answer.
    for (grade, wanted) in [(Grade::Failed, 3), (Grade::Degraded, 1), (Grade::Ok, 2)] {
        let mut graded = all.clone();
        graded.traces.push(TraceCondition::Graded(grade));
        expect(graded, &[wanted]).await;
    }
    let rows = reader.search(all.clone()).await.expect("searches").traces;
    for row in &rows {
        let took = row.duration_nanos;
        let mut taking = all.clone();
        let condition = TraceCondition::Takes {
            min: took,
            max: took,
        };
        taking.traces.push(condition);
        let found = reader.search(taking).await.expect("searches").traces;
        let same = rows.iter().filter(|other| other.duration_nanos == took);
        assert!(found.iter().eq(same), "{took} ns");
    }
    let both = [Condition::service("cart"), Condition::operation("GET /1")];
    expect(all.clone().with(both), &[]).await;
    let mut early = all.clone();
    early.range.end = UnixNanos::new(begin() + 900);
    expect(early, &[2, 1]).await;
    // Traces that began before the range and have a span in it.
    let mut late = all.clone();
    late.range.start = UnixNanos::new(begin() + 11);
    expect(late.clone(), &[3, 2, 1]).await;
    let root = late.clone().with([Condition::operation("GET /1")]);
    expect(root, &[3, 2]).await;
    late.traces.push(TraceCondition::StartsIn(late.range));
    expect(late, &[3, 2]).await;
}

/// Conditions of every kind, with the traces that match.
fn conditions() -> Vec<(Condition, &'static [u64])> {
    let attribute = |text: &str| Condition::parse_attribute(text).expect("a condition");
    let text = |text: &str| Test::Equals(text.to_owned());
    let two = |one, other| Test::OneOf(vec![String::from(one), String::from(other)]);
    let list = |key: &str| Condition::Attribute {
        places: Place::ALL,
        key: key.to_owned(),
        test: Test::IsList,
    };
    vec![
        (Condition::service("cart"), &[1]),
        (Condition::service("absent"), &[]),
        (Condition::Service(two("cart", "pay")), &[3, 1]),
        (Condition::operation("GET /1"), &[3, 2, 1]),
        (
            Condition::Operation(Test::InLowerCase("get /3".into())),
            &[1],
        ),
        (Condition::Kind(SpanKind::Server), &[3, 2, 1]),
        (Condition::Kind(SpanKind::Client), &[]),
        (Condition::Status(StatusCode::Error), &[3]),
        (Condition::Status(StatusCode::Unset), &[2, 1]),
        (Condition::StatusMessage(text("declined")), &[3]),
        (Condition::TraceState(text("vendor=1")), &[3]),
        (Condition::Duration { min: 6, max: 9 }, &[]),
        (Condition::Duration { min: 5, max: 5 }, &[3, 2, 1]),
        (attribute("http.response.status_code=200"), &[3, 2, 1]),
        (attribute("http.response.status_code>=200.5"), &[]),
        (attribute("http.response.status_code<201"), &[3, 2, 1]),
        (attribute("service.name=pay"), &[3]),
        (attribute("service.name=absent"), &[]),
        (attribute("service.name!=pay"), &[2, 1]),
        (attribute("service.name=~^(pay|cart)$"), &[3, 1]),
        (attribute("span:service.name"), &[]),
        (attribute("resource:service.name"), &[3, 2, 1]),
        (attribute("scope:otel.scope.name=lib"), &[3]),
        (attribute("scope:tenant=blue"), &[3]),
        (attribute("scope:tenant=green"), &[]),
        (attribute("event:exception.type=~Boom"), &[3]),
        (attribute("event:event=exception"), &[3]),
        (attribute("exception.type"), &[]),
        (attribute("link:why=batch"), &[3]),
        (attribute("circuit_breaker.name"), &[1]),
        (Condition::Circuit("inventory".into()), &[1]),
        (Condition::Outcome(Outcome::Rejected), &[1]),
        (Condition::Outcome(Outcome::Success), &[]),
        (Condition::FallbackSucceeded, &[1]),
        (
            Condition::Any(vec![Condition::service("cart"), attribute("link:why")]),
            &[3, 1],
        ),
        (list("roles"), &[3]),
        (list("http.response.status_code"), &[]),
        (list("why"), &[]),
    ]
}

/// A store evaluates part of a query to find candidates; the query itself then selects these traces.
async fn answers_traceql(reader: &impl TraceReader) {
    for (text, wanted) in queries() {
        let query = Query::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let pushed = query.pushed();
        let mut search = TraceQuery::in_range(TimeRange::ALL).with(pushed.spans);
        search.traces = pushed.traces;
        let mut found = Vec::new();
        for row in reader.search(search).await.expect("searches").traces {
            let trace = reader.trace(row.trace_id).await.expect("reads");
            if query.matches(&trace.expect("is there")).expect("is asked") {
                found.push(row.trace_id);
            }
        }
        let wanted: Vec<_> = wanted.iter().map(|&number| id(number)).collect();
        assert_eq!(found, wanted, "{text}");
    }
}

/// TraceQL queries, with the traces that match.
fn queries() -> Vec<(&'static str, &'static [u64])> {
    vec![
        ("{ }", &[3, 2, 1]),
        ("{ resource.service.name = \"cart\" }", &[1]),
        ("{ .service.name =~ \"pay|cart\" }", &[3, 1]),
        ("{ span.http.response.status_code = 200.0 }", &[3, 2, 1]),
        ("{ span.http.response.status_code > 200 }", &[]),
        ("{ span.roles = \"user\" }", &[3]),
        (
            "{ span.roles != \"guest\" && span.roles =~ \"adm.*\" }",
            &[3],
        ),
        ("{ span.roles = \"guest\" }", &[]),
        ("{ status = error && statusMessage = \"declined\" }", &[3]),
        ("{ status != error && kind = server }", &[2, 1]),
        (
            "{ event:name = \"exception\" && event.exception.type =~ \".*Boom\" }",
            &[3],
        ),
        (
            "{ instrumentation:name = \"lib\" && instrumentation.tenant = \"blue\" }",
            &[3],
        ),
        (
            "{ link.why = \"batch\" || span.circuit_breaker.name != nil }",
            &[3, 1],
        ),
        ("{ duration = 5ns && traceDuration > 5ns }", &[1]),
        (
            "{ resource.service.name = \"shop\" } >> { resource.service.name = \"cart\" }",
            &[1],
        ),
        ("{ resource.service.name = \"cart\" } | count() > 1", &[1]),
        (
            "{ span.circuit_breaker.outcome = nil } | by(name) | count() > 1",
            &[],
        ),
    ]
}

async fn lists_services_and_operations(reader: &impl TraceReader) {
    let services = reader.services(TimeRange::ALL).await.expect("lists");
    assert_eq!(services.value, ["cart", "pay", "shop"]);
    let operations = reader.operations("cart".to_owned(), TimeRange::ALL).await;
    let operations = operations.expect("lists");
    assert_eq!(operations.value, ["GET /2", "GET /3"]);
    assert!(services.missing.is_none() && operations.missing.is_none());
}

fn id(number: u64) -> TraceId {
    TraceId::from_bytes(u128::from(number).to_be_bytes())
}

fn span_id(number: u64) -> SpanId {
    SpanId::from_bytes(number.to_be_bytes())
}

/// Gives a span an error status, a message, an event and a link.
fn failed(mut span: Span) -> Span {
    let pair = |key: &str, value: &str| vec![(key.to_owned(), Value::String(value.to_owned()))];
    span.status = Status {
        code: StatusCode::Error,
        message: "declined".to_owned(),
    };
    span.trace_state = "vendor=1".to_owned();
    let roles = ["admin", "user"].map(|role| Value::String(role.to_owned()));
    let roles = Value::Array(roles.to_vec());
    span.attributes.push(("roles".to_owned(), roles));
    span.scope = Arc::new(Scope {
        name: "lib".to_owned(),
        attributes: pair("tenant", "blue"),
        ..Scope::default()
    });
    span.events.push(Event {
        time: span.start,
        name: "exception".to_owned(),
        attributes: pair("exception.type", "BigBoom"),
        dropped_attributes_count: 3,
    });
    span.links.push(Link {
        trace_id: id(9),
        span_id: span_id(9),
        trace_state: "v=1".to_owned(),
        flags: 257,
        attributes: pair("why", "batch"),
        dropped_attributes_count: 2,
    });
    span
}

/// A span of five nanoseconds; those of `cart` passed an open breaker.
fn span(trace: u64, number: u64, parent: Option<u64>, service: &str, offset: u64) -> Span {
    let text = |text: &str| Value::String(text.to_owned());
    let mut attributes = vec![("http.response.status_code".to_owned(), Value::Int(200))];
    if service == "cart" {
        attributes.push(("circuit_breaker.name".to_owned(), text("inventory")));
        attributes.push(("circuit_breaker.outcome".to_owned(), text("rejected")));
        attributes.push(("circuit_breaker.fallback".to_owned(), text("success")));
    }
    Span {
        trace_id: id(trace),
        span_id: span_id(number),
        parent_span_id: parent.map(span_id),
        trace_state: String::new(),
        flags: 1,
        name: format!("GET /{number}"),
        kind: SpanKind::Server,
        start: UnixNanos::new(begin() + offset),
        end: UnixNanos::new(begin() + offset + 5),
        status: Status::default(),
        resource: Arc::new(Resource {
            service_name: service.to_owned(),
            instance_id: String::new(),
            attributes: vec![("service.name".to_owned(), text(service))],
            ..Resource::default()
        }),
        scope: Arc::new(Scope::default()),
        attributes,
        events: Vec::new(),
        links: Vec::new(),
        dropped_attributes_count: 0,
        dropped_events_count: 0,
        dropped_links_count: 0,
        dropped_here: Dropped::default(),
    }
}
