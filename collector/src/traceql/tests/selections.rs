//! What queries select of the made trace: each field, operator, combination and stage.

use super::*;

/// Guarantees: a query selects exactly these spans, in one spanset; no spans means no spanset.
#[test]
fn each_expression_selects_its_spans() {
    let trace = trace();
    for (query, wanted) in [FIELDS, OPERATORS, COMBINATIONS].concat() {
        let wanted: Vec<Vec<u64>> = match wanted {
            [] => vec![],
            spans => vec![spans.to_vec()],
        };
        assert_eq!(found(query, &trace), wanted, "{query}");
    }
}

/// A query, and the ids of the selected spans.
type Case = (&'static str, &'static [u64]);

const FIELDS: &[Case] = &[
    ("{}", &[1, 2, 3, 4, 5, 6]),
    ("{ true }", &[1, 2, 3, 4, 5, 6]),
    ("{ false }", &[]),
    ("{ name = \"SELECT\" }", &[4]),
    ("{ span:name = `SELECT` }", &[4]),
    ("{ status = error }", &[3, 5]),
    ("{ status = ok }", &[1]),
    ("{ span:status = unset }", &[2, 4, 6]),
    ("{ status != error }", &[1, 2, 4, 6]),
    ("{ statusMessage = \"out of stock\" }", &[3]),
    ("{ span:statusMessage =~ \"out.*\" }", &[3]),
    ("{ kind = client }", &[2, 4, 5]),
    ("{ kind != client }", &[1, 3, 6]),
    ("{ span:kind = internal || kind = server }", &[1, 3, 6]),
    ("{ duration > 46ms }", &[1, 2]),
    ("{ duration >= 46ms }", &[1, 2, 3]),
    ("{ span:duration < 20ms }", &[4]),
    ("{ duration <= 0.02s }", &[4, 5, 6]),
    ("{ duration = 20ms }", &[5, 6]),
    ("{ 46ms < duration }", &[1, 2]),
    ("{ traceDuration = 100ms && name = \"render\" }", &[6]),
    ("{ trace:duration > 100ms }", &[]),
    (
        "{ rootName = \"GET /buy\" && rootServiceName = \"gateway\" && name = \"SELECT\" }",
        &[4],
    ),
    ("{ trace:rootName = \"render\" }", &[]),
    ("{ trace:rootService != \"gateway\" }", &[]),
    (
        "{ trace:id = \"00000000000000000000000000000001\" && span:id = \"0000000000000004\" }",
        &[4],
    ),
    ("{ trace:id = \"1\" && kind = server }", &[1, 3]),
    ("{ span:parentID = \"0000000000000003\" }", &[4, 5]),
    ("{ span:parentID = nil }", &[1]),
    ("{ span:childCount = 0 }", &[4, 5, 6]),
    ("{ childCount > 1 }", &[1, 3]),
    ("{ nestedSetParent < 0 }", &[1]),
    ("{ nestedSetParent = 1 }", &[2, 6]),
    ("{ nestedSetLeft > 2 && nestedSetRight < 8 }", &[4, 5]),
    ("{ resource.service.name = \"cart\" }", &[3, 4, 5]),
    ("{ span.service.name = \"cart\" }", &[]),
    ("{ .service.name = \"gateway\" }", &[1, 2, 6]),
    ("{ .env = \"prod\" }", &[2, 6]),
    ("{ resource.env = \"prod\" }", &[1, 2, 6]),
    ("{ span.http.status_code = 500 }", &[3]),
    ("{ span.http.status_code = 500.0 }", &[3]),
    ("{ span.http.status_code = \"500\" }", &[]),
    ("{ span.http.method = \"GET\" }", &[1]),
    ("{ span.\"name with space\" = \"x\" }", &[3]),
    ("{ span.retry = true }", &[3]),
    ("{ span.retry }", &[3]),
    ("{ span.retry != false }", &[3]),
    ("{ span.ratio >= .5 && span.ratio < 0.6 }", &[3]),
    ("{ event:name = \"retry\" }", &[3]),
    ("{ event:name = \"other\" }", &[]),
    ("{ event:timeSinceStart > 8ms }", &[3]),
    ("{ event:timeSinceStart > 9ms }", &[]),
    ("{ event.exception.type = \"Bang\" }", &[3]),
    ("{ .exception.type =~ \"B.*m\" }", &[3]),
    (
        "{ link:traceID = \"00000000000000000000000000000009\" }",
        &[3],
    ),
    ("{ link:spanID = \"0000000000000008\" }", &[3]),
    ("{ link.why = \"batch\" }", &[3]),
    ("{ instrumentation:name = \"lib\" }", &[3, 4, 5]),
    (
        "{ instrumentation:version = \"1.2\" && kind = server }",
        &[3],
    ),
    (
        "{ instrumentation.tenant = \"blue\" && kind = server }",
        &[3],
    ),
];

const OPERATORS: &[Case] = &[
    ("{ span.http.status_code != 500 }", &[1]),
    ("{ span.http.status_code > 200 }", &[3]),
    (
        "{ span.http.status_code >= 200 && span.http.status_code <= 500 }",
        &[1, 3],
    ),
    ("{ span.http.status_code < minInt }", &[]),
    ("{ span.http.status_code < maxInt }", &[1, 3]),
    ("{ span.db.system = nil }", &[1, 2, 3, 6]),
    ("{ span.db.system != nil }", &[4, 5]),
    ("{ nil != span.db.system }", &[4, 5]),
    ("{ !(span.db.system = \"postgresql\") }", &[1, 2, 3, 6]),
    ("{ span.db.system != \"mysql\" }", &[4, 5]),
    ("{ !span.retry }", &[1, 2, 4, 5, 6]),
    ("{ name =~ \"GET|SELECT\" }", &[4]),
    ("{ name =~ \".*E.*\" }", &[1, 4, 5]),
    ("{ name !~ \".*E.*\" }", &[2, 3, 6]),
    ("{ span.db.system !~ \"my.*\" }", &[4, 5]),
    ("{ span.roles = \"user\" }", &[3]),
    ("{ span.roles != \"user\" }", &[]),
    ("{ span.roles != \"guest\" }", &[3]),
    ("{ span.roles =~ \"adm.*\" }", &[3]),
    ("{ span.roles !~ \"adm.*\" }", &[]),
    ("{ span.sizes > 8 }", &[3]),
    ("{ span.sizes > 9 }", &[]),
    ("{ event:name != \"retry\" }", &[]),
    ("{ name > \"GET\" && name < \"INSERU\" }", &[1, 5]),
    ("{ span.bytes = 2 * 1024 }", &[6]),
    ("{ span.bytes / 2 = 1024 && span.bytes % 2047 = 1 }", &[6]),
    ("{ span.bytes = 2 ^ 11 }", &[6]),
    ("{ span.bytes - 48 > 1 + 1998 }", &[6]),
    ("{ -span.bytes < -2047 }", &[6]),
    ("{ 2 ^ 3 ^ 0 = 2 }", &[1, 2, 3, 4, 5, 6]),
    (
        "{ 1 + 2 * 3 = 7 && 7 / 2 = 3 && 7.0 / 2 = 3.5 }",
        &[1, 2, 3, 4, 5, 6],
    ),
    ("{ duration * 2 = 40ms }", &[5, 6]),
    ("{ duration / traceDuration >= 0.5 }", &[1, 2]),
    ("{ traceDuration - duration = 0 }", &[1]),
    // `&&` and `||` bind alike, from left to right.
    (
        "{ kind = server || kind = client && status = error }",
        &[3, 5],
    ),
    (
        "{ kind = server || (kind = client && status = error) }",
        &[1, 3, 5],
    ),
    ("{ 1 / 0 = 1 }", &[]),
    ("{ span.missing > 1 }", &[]),
    ("{ !(span.missing > 1) && kind = internal }", &[6]),
];

/// Each combination and stage.
const COMBINATIONS: &[Case] = &[
    ("{ kind = server } && { status = error }", &[1, 3, 5]),
    ("{ kind = server } && { status = error } && { false }", &[]),
    ("{ kind = internal } || { false }", &[6]),
    ("{ name = \"SELECT\" } || { kind = internal }", &[4, 6]),
    ("{ kind = server } > { kind = client }", &[2, 4, 5]),
    ("{ name = \"GET /buy\" } > { }", &[2, 6]),
    ("{ name = \"GET /buy\" } >> { kind = client }", &[2, 4, 5]),
    ("{ kind = client } < { }", &[1, 3]),
    ("{ kind = client } << { kind = server }", &[1, 3]),
    (
        "{ name = \"INSERT\" } << { resource.service.name = \"gateway\" }",
        &[1, 2],
    ),
    ("{ name = \"INSERT\" } ~ { }", &[4]),
    ("{ } ~ { }", &[2, 4, 5, 6]),
    ("{ kind = server } !> { }", &[1, 3]),
    ("{ name = \"POST /cart\" } !>> { }", &[1, 2, 3, 6]),
    ("{ } !< { resource.service.name = \"cart\" }", &[4, 5]),
    ("{ status = error } !< { status = error }", &[5]),
    ("{ kind = client } !<< { }", &[4, 5, 6]),
    ("{ name = \"INSERT\" } !~ { kind = client }", &[2, 5]),
    ("{ kind = server } &> { kind = client }", &[1, 2, 3, 4, 5]),
    ("{ status = error } &>> { status = error }", &[3, 5]),
    ("{ name = \"INSERT\" } &<< { kind = server }", &[1, 3, 5]),
    ("{ kind = client } &< { name = \"POST /cart\" }", &[3, 4, 5]),
    ("{ name = \"INSERT\" } &~ { name = \"SELECT\" }", &[4, 5]),
    (
        "{ name = \"GET /buy\" } >> { kind = server } >> { status = error }",
        &[5],
    ),
    (
        "{ kind = server } > ({ kind = client } > { kind = server })",
        &[],
    ),
    (
        "({ kind = internal } || { name = \"SELECT\" }) && { status = ok }",
        &[1, 4, 6],
    ),
    // A relation binds more than `&&`.
    (
        "{ kind = internal } && { name = \"GET /buy\" } > { kind = client }",
        &[2, 6],
    ),
    ("{ kind = client } | { status = error }", &[5]),
    ("{ kind = client } | count() = 3", &[2, 4, 5]),
    ("{ kind = client } | count() > 3", &[]),
    ("count() > 5", &[1, 2, 3, 4, 5, 6]),
    (
        "{ resource.service.name = \"cart\" } | sum(duration) = 76ms",
        &[3, 4, 5],
    ),
    (
        "{ resource.service.name = \"cart\" } | min(duration) = 10ms | max(duration) < 47ms",
        &[3, 4, 5],
    ),
    (
        "{ } | max(span.http.status_code) = 500",
        &[1, 2, 3, 4, 5, 6],
    ),
    ("{ kind = client } | avg(span.missing) > 0", &[]),
    (
        "{ kind = client } | max(duration) - min(duration) = 4 * 10ms",
        &[2, 4, 5],
    ),
    ("{ kind = client } | count() * 2 + 1 = 7", &[2, 4, 5]),
    (
        "({ kind = client } | count() > 2) && { kind = internal }",
        &[2, 4, 5, 6],
    ),
    (
        "({ kind = client } | count() > 3) || { kind = internal }",
        &[6],
    ),
    (
        "{ status = error } | select(span.http.status_code, name)",
        &[3, 5],
    ),
    (
        "{ } | by(resource.service.name) | coalesce()",
        &[1, 2, 3, 4, 5, 6],
    ),
    ("{ kind = client } with (most_recent=true)", &[2, 4, 5]),
];

#[test]
fn spansets_are_split_by_a_value_and_say_it() {
    let trace = trace();
    let split = "{ } | by(resource.service.name)";
    assert_eq!(found(split, &trace), [vec![1, 2, 6], vec![3, 4, 5]]);
    let failed = "{ status = error } | by(name) | count() = 1";
    assert_eq!(found(failed, &trace), [[3], [5]]);
    let query = Query::parse("{ } | by(kind) | max(duration) > 50ms | select(span.bytes)").unwrap();
    let found = query.find(&TraceView::new(&trace).unwrap()).unwrap();
    let shown = |at: usize| -> Vec<_> {
        let pairs = found.sets[at].attributes.iter();
        pairs
            .map(|(words, value)| format!("{words}={value}"))
            .collect()
    };
    assert_eq!(found.sets.len(), 1);
    assert_eq!(shown(0), ["by(kind)=server", "max(duration)=100ms"]);
    let fields: Vec<_> = found.fields.iter().map(ToString::to_string).collect();
    assert_eq!(fields, ["kind", "duration", "span.bytes"]);
}

/// Scenario: a trace of many spans is split by two values of each, one of them long.
/// Guarantees: the number of spansets is limited, each span is in one of them, and long values are cut.
#[test]
fn spansets_of_a_trace_are_bounded() {
    let mut trace = trace();
    let first = trace.spans[0].clone();
    trace.spans = (0..4_500)
        .map(|number| {
            let mut span = first.clone();
            span.name = format!("step {number}");
            let long = format!("{}{}", number % 3, "x".repeat(5_000));
            span.attributes = pairs(&[("long", text(&long))]);
            span
        })
        .collect();
    let query = Query::parse("{ } | by(span.long) | by(name)").unwrap();
    let sets = query.find(&TraceView::new(&trace).unwrap()).unwrap().sets;
    assert_eq!(sets.len(), 1_000 + 3);
    let spans: std::collections::BTreeSet<_> = sets.iter().flat_map(|set| &set.spans).collect();
    assert_eq!(spans.len(), 4_500);
    let kept = sets.iter().flat_map(|set| &set.attributes);
    let longest = kept.map(|(_, value)| value.to_string().len()).max();
    assert_eq!(longest, Some(1_024));
}

/// Scenario: halves of a call share an id, a parent is missing, and two spans are each other's parents.
/// Guarantees: children belong to the server's half, and a cycle is cut.
#[test]
fn trees_that_are_not_whole_are_walked() {
    let mut trace = trace();
    trace.spans[2].span_id = SpanId::from(2);
    trace.spans[2].parent_span_id = Some(SpanId::from(1));
    trace.spans[3].parent_span_id = Some(SpanId::from(2));
    trace.spans[4].parent_span_id = Some(SpanId::from(77));
    let below = "{ resource.service.name = \"gateway\" } > { kind = server }";
    assert_eq!(found(below, &trace), [[2]]);
    let select = "{ resource.service.name = \"cart\" && kind = server } > { }";
    assert_eq!(found(select, &trace), [[4]]);
    trace.spans[4].parent_span_id = Some(SpanId::from(6));
    trace.spans[5].parent_span_id = Some(SpanId::from(5));
    assert_eq!(found("{ name = \"INSERT\" } >> { }", &trace), [[6]]);
}
