//! What is pushed down to the store never rules out a span that a query selects.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::model::TraceCondition;

const FIELDS: [&str; 15] = [
    "trace:id",
    "name",
    "status",
    "kind",
    "duration",
    "traceDuration",
    "statusMessage",
    "span.a",
    ".a",
    "resource.a",
    "resource.service.name",
    "event.a",
    "event:name",
    "instrumentation:name",
    "link.a",
];
const VALUES: [&str; 15] = [
    "\"1\"",
    "\"x\"",
    "\"\"",
    "\"xy\"",
    "\"2\"",
    "\"[x, 2]\"",
    "\"lib\"",
    "2",
    "2.5",
    "2ms",
    "0",
    "true",
    "nil",
    "error",
    "client",
];
const COMPARISONS: [&str; 8] = ["=", "!=", "<", "<=", ">", ">=", "=~", "!~"];

/// Queries of every form, except those that fail type checks.
fn queries() -> impl Strategy<Value = Query> {
    let leaf = (
        select(&FIELDS[..]),
        select(&COMPARISONS[..]),
        select(&VALUES[..]),
        any::<bool>(),
    );
    let leaf = leaf.prop_map(|(field, how, value, is_mirrored)| match is_mirrored {
        true if !how.contains('~') => format!("{value} {how} {field}"),
        _ => format!("{field} {how} {value}"),
    });
    let is_condition = |text: &String| Query::parse(&format!("{{ {text} }}")).is_ok();
    let leaf = leaf.prop_filter("types differ", is_condition);
    let expression = leaf.prop_recursive(3, 8, 2, |inner| {
        (inner.clone(), inner, select(&["&&", "||", "!"][..])).prop_map(|(one, other, how)| {
            match how {
                "!" => format!("!({one})"),
                how => format!("({one} {how} {other})"),
            }
        })
    });
    let filter = expression.prop_map(|text| format!("{{ {text} }}"));
    const JOINS: [&str; 9] = ["&&", "||", ">", ">>", "<<", "~", "!>>", "&>", "|"];
    let query = (filter.clone(), select(&JOINS[..]), filter);
    let query = query.prop_map(|(one, how, other)| format!("{one} {how} {other}"));
    query.prop_map(|text| Query::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}")))
}

fn values() -> impl Strategy<Value = Value> {
    let one = prop_oneof![
        select(vec!["x", "", "xy", "2", "lib"]).prop_map(text),
        Just(Value::Int(2)),
        Just(Value::Double(2.5)),
        Just(Value::Bool(true)),
        Just(Value::Empty),
    ];
    let list = proptest::collection::vec(one.clone(), 0..3).prop_map(Value::Array);
    prop_oneof![3 => one, 1 => list]
}

fn spans(count: usize) -> impl Strategy<Value = Vec<Span>> {
    let words = || select(vec!["x", "", "xy", "2", "lib"]);
    let attributes = || proptest::collection::vec(values(), 0..2);
    let one = (
        (words(), words(), words(), 0..6_u64, 0..3_u64, 0..4_u64),
        (attributes(), attributes(), attributes(), any::<bool>()),
    );
    let made = one.prop_map(|((name, service, message, kind, status, length), lists)| {
        let (of_span, of_resource, of_event, is_named_event) = lists;
        let list = |values: Vec<Value>, key: &str| -> Vec<_> {
            values
                .into_iter()
                .map(|value| (key.to_owned(), value))
                .collect()
        };
        let mut span = span(1, 0, service, name, SpanKind::from_otlp(kind), [0, length]);
        span.status.code = StatusCode::from_otlp(status);
        span.status.message = message.to_owned();
        span.attributes = list(of_span, "a");
        let mut resource = (*span.resource).clone();
        if service.is_empty() {
            resource.service_name = "unknown_service".to_owned();
        }
        resource.attributes.extend(list(of_resource, "a"));
        span.resource = Arc::new(resource);
        span.events = vec![Event {
            time: span.start,
            name: name.to_owned(),
            attributes: list(of_event, if is_named_event { "event" } else { "a" }),
            dropped_attributes_count: 0,
        }];
        span
    });
    proptest::collection::vec(made, 1..=count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Guarantees: each selected span meets every pushed-down condition on spans, and its trace those on traces.
    #[test]
    fn conditions_let_every_match_through(query in queries(), mut spans in spans(4)) {
        for (at, span) in spans.iter_mut().enumerate() {
            span.span_id = SpanId::from(at as u64 + 1);
            span.parent_span_id = (at > 0).then(|| SpanId::from(at.div_ceil(2) as u64));
        }
        let trace = Trace { id: TraceId::from(1), spans, notes: Vec::new(), truncated: false };
        let pushed = query.pushed();
        let view = TraceView::new(&trace).unwrap();
        let sets = query.find(&view).unwrap().sets;
        for at in sets.iter().flat_map(|set| &set.spans) {
            let meets = pushed.spans.iter().all(|one| one.matches(view.span(*at)));
            prop_assert!(meets, "{query:?}\n{pushed:?}");
        }
        if !sets.is_empty() {
            prop_assert!(pushed.trace.is_none_or(|id| id == trace.id), "{query:?}\n{pushed:?}");
            let took = view.duration_nanos();
            for condition in &pushed.traces {
                let TraceCondition::Takes { min, max } = condition else { panic!("{condition:?}") };
                prop_assert!((min..=max).contains(&&took), "{query:?}\n{pushed:?}");
            }
        }
    }
}

/// Guarantees: conditions that one span can decide are pushed down.
#[test]
fn the_store_is_asked_what_it_can_answer() {
    let pushed = |query: &str| Query::parse(query).unwrap().pushed();
    let conditions =
        pushed("{ resource.service.name = \"shop\" && status = error && duration > 5ms }");
    assert_eq!(conditions.spans.len(), 3);
    for none in [
        "{ }",
        "count() > 2",
        "{ rootName = \"x\" }",
        "{ span.a = nil }",
        "{ !(name = \"x\") }",
    ] {
        assert_eq!(pushed(none), Default::default(), "{none}");
    }
    for (query, spans, traces) in [
        (
            "{ trace:duration > 2s } >> { status = error && kind = server }",
            2,
            1,
        ),
        (
            "{ .a = 1 && .b = 2 && trace:duration > 2s } && { status = error }",
            2,
            1,
        ),
        ("{ status = error } &>> { name = \"x\" }", 1, 0),
        ("{ status = error } || { name = \"x\" }", 1, 0),
        ("{ status = error || span.a = nil }", 0, 0),
        ("{ status = error } !> { name = \"x\" && .b > 2 }", 2, 0),
        ("({ name =~ \"x.*\" } | count() > 2) && { }", 0, 0),
        ("{ name = \"x\" } | { kind = client } | count() > 2", 2, 0),
        ("{ span.a != nil && 5 < .b }", 2, 0),
        ("{ kind = server } | rate()", 1, 0),
        ("{ name = \"x\" } >> { kind = server } | rate()", 1, 0),
    ] {
        let pushed = pushed(query);
        assert_eq!(
            (pushed.spans.len(), pushed.traces.len()),
            (spans, traces),
            "{query}"
        );
    }
}
