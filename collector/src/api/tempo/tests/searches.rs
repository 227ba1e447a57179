//! Searches in TraceQL and by tags.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

async fn search(fixture: &Fixture, query: &str) -> Value {
    let uri = format!("/tempo/api/search?{RANGE}&{}", encoded(query));
    fixture.json(&uri).await
}

#[tokio::test]
async fn a_query_finds_traces_with_their_spans() {
    let fixture = Fixture::with_shop(NOW);
    let query = "{ resource.service.name = \"product\" && span.db.system != nil } | select(status)";
    let found = search(&fixture, query).await;
    let trace = &found["traces"][0];
    let stats = json!({
        "gateway": {"spanCount": 3, "errorCount": 2},
        "product": {"spanCount": 2, "errorCount": 2},
    });
    for (field, value) in [
        ("traceID", json!(TRACE)),
        ("rootServiceName", json!("gateway")),
        ("rootTraceName", json!("GET /product/{sku}")),
        ("startTimeUnixNano", json!(NOW.to_string())),
        ("durationMs", json!(42)),
        ("serviceStats", stats),
    ] {
        assert_eq!(trace[field], value, "{field}");
    }
    let set = json!({"matched": 1, "spans": [{
        "spanID": "0000000000000005",
        "startTimeUnixNano": (NOW + 5_000_000).to_string(),
        "durationNanos": "20000000",
        "attributes": [
            {"key": "service.name", "value": {"stringValue": "product"}},
            {"key": "db.system", "value": {"stringValue": "postgresql"}},
            {"key": "status", "value": {"stringValue": "error"}},
        ],
    }]});
    assert_eq!(trace["spanSets"], json!([set]));
    assert_eq!(trace["spanSet"], set);
    let metrics = &found["metrics"];
    assert_eq!(metrics["inspectedTraces"], 1);
    assert_eq!(
        (&metrics["completedJobs"], &metrics["totalJobs"]),
        (&json!(1), &json!(1))
    );
    let id = format!("{{ trace:id = \"{TRACE}\" && kind = server }}");
    assert_eq!(search(&fixture, &id).await["traces"][0]["traceID"], TRACE);
    let none = search(&fixture, "{ span.db.system = \"mysql\" }").await;
    assert_eq!(none["traces"], json!([]));
}

#[tokio::test]
async fn spansets_say_by_what_they_were_split() {
    let fixture = Fixture::with_shop(NOW);
    let query = "{ } > { status = error } | by(resource.service.name)";
    let found = search(&fixture, query).await;
    let sets = &found["traces"][0]["spanSets"];
    let matched = [0, 1].map(|at: usize| sets[at]["matched"].as_u64());
    assert_eq!(matched, [Some(2), Some(2)]);
    let by = json!([{"key": "by(resource.service.name)", "value": {"stringValue": "gateway"}}]);
    assert_eq!(sets[0]["attributes"], by);
}

/// *Scenario*: `product` begins before the range, and a client below it within.
/// *Guarantees*: a trace is found by the spans that a query selects, whichever side has more conditions.
#[tokio::test]
async fn a_trace_is_found_by_selected_spans_that_begin_in_the_range() {
    let fixture = Fixture::with_shop(NOW);
    let range = format!("start={}&end={}", NOW + 3_000_000, NOW + 1_000_000_000);
    for (query, found) in [
        ("{ name = \"product\" }", 0),
        (
            "{ name = \"product\" && kind != consumer } >> { kind = client }",
            1,
        ),
        (
            "{ kind = client && status = error } << { name = \"product\" }",
            0,
        ),
        (
            "{ name = \"product\" && kind != consumer } && { kind = client }",
            1,
        ),
        (
            "{ name = \"product\" } && { kind = client && status = error }",
            1,
        ),
        ("{ name = \"product\" } && { name = \"GET\" }", 0),
        ("{ name = \"product\" } || { kind = client }", 1),
        ("{ name = \"product\" } &>> { kind = client }", 1),
    ] {
        let uri = format!("/tempo/api/search?{range}&{}", encoded(query));
        let answer = fixture.json(&uri).await;
        let traces = answer["traces"].as_array().unwrap();
        assert_eq!(traces.len(), found, "{query}");
    }
    let named = encoded(&format!(
        "{{ trace:id = \"{TRACE}\" && name = \"product\" }}"
    ));
    let uri = format!("/tempo/api/search?{range}&{named}");
    assert_eq!(fixture.json(&uri).await["traces"][0]["traceID"], TRACE);
}

/// Guarantees: the answer has only the fields of Tempo's messages, because Grafana rejects unknown ones.
#[tokio::test]
async fn searches_have_the_fields_of_tempos_messages_alone() {
    let fixture = Fixture::with_shop(NOW);
    let found = search(
        &fixture,
        "{ name =~ \".*\" && kind != consumer } | count() > 1",
    )
    .await;
    let of_search = ["traces", "metrics"];
    let of_metrics = [
        "inspectedTraces",
        "inspectedBytes",
        "completedJobs",
        "totalJobs",
    ];
    let of_trace = [
        "traceID",
        "rootServiceName",
        "rootTraceName",
        "startTimeUnixNano",
        "durationMs",
        "spanSet",
        "spanSets",
        "serviceStats",
        "spanCount",
        "errorCount",
    ];
    let of_set = [
        "spans",
        "matched",
        "attributes",
        "spanID",
        "name",
        "durationNanos",
    ];
    let of_value = ["key", "value", "stringValue", "intValue"];
    let services = ["gateway", "product"];
    let known: [&[&str]; 6] = [
        &of_search,
        &of_metrics,
        &of_trace,
        &of_set,
        &of_value,
        &services,
    ];
    let known: BTreeSet<String> = known.concat().into_iter().map(str::to_owned).collect();
    let mut keys = BTreeSet::new();
    add_keys(&found, &mut keys);
    assert_eq!(keys, known);
}

fn add_keys(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| add_keys(item, keys)),
        Value::Object(fields) => {
            for (key, value) in fields {
                keys.insert(key.clone());
                add_keys(value, keys);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn limits_bound_traces_and_spans() {
    let fixture = Fixture::with_shop(NOW);
    let spans = async |more: &str| {
        let uri = format!("/tempo/api/search?{RANGE}&{}{more}", encoded("{ }"));
        let found = fixture.json(&uri).await;
        let set = found["traces"][0]["spanSets"][0].clone();
        (
            set["spans"].as_array().unwrap().len(),
            set["matched"].as_u64(),
        )
    };
    assert_eq!(spans("").await, (3, Some(5)));
    assert_eq!(spans("&spss=4&limit=1").await, (4, Some(5)));
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_its_name() {
    let fixture = Fixture::new();
    for (question, problem) in [
        ("limit=0", "invalid limit"),
        ("spss=x&q=%7B%7D", "invalid spss"),
        ("start=9&end=5", "invalid start"),
        ("q=%7B", "line 1, col 2"),
        ("q=%7B%7D%7Crate()", "metrics/query_range"),
        ("q=%7B%7D%7Ccompare(%7B%7D)", "compare() is not supported"),
        ("tags=x", "invalid tags"),
        ("minDuration=soon", "invalid minDuration"),
        ("minDuration=2s&maxDuration=1s", "invalid maxDuration"),
    ] {
        let (status, text) = refused(&fixture, &format!("/tempo/api/search?{question}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.contains(problem), "{question}: {text}");
    }
}

#[tokio::test]
async fn tags_find_traces_by_part_of_a_value() {
    let fixture = Fixture::with_shop(NOW);
    for (question, found) in [
        ("tags=service.name%3Dgate", 1),
        ("tags=db.system%3DPOSTGRES+name%3Dsel", 1),
        ("tags=db.system%3DPOSTGRES+name%3Dget", 0),
        ("tags=status.code%3Derror", 1),
        (
            "tags=http.route%3D%22%2Fproduct%2F%7Bsku%7D%22&minDuration=42ms",
            1,
        ),
        ("minDuration=43ms", 0),
        ("maxDuration=42ms", 1),
        ("", 1),
    ] {
        let answer = fixture
            .json(&format!("/tempo/api/search?{RANGE}&{question}"))
            .await;
        assert_eq!(
            answer["traces"].as_array().unwrap().len(),
            found,
            "{question}"
        );
    }
}
