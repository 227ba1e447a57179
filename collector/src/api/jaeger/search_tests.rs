//! The searches that Jaeger expects of every storage, on both versions of its API: tags on spans, events, resources, scopes
//! and links, or spread over them, with operations and durations. Beside each trace that is to be found stand others of its
//! service that differ in one tag or in duration.

use serde_json::{Value, json};

use crate::api::tests::Fixture;

/// 2026-11-23T10:00:00Z.
const NOW: u64 = 1_795_428_000_000_000_000;
/// The hour around it, in the forms of both versions.
const RANGE: &str = "start=1795426200000000&end=1795429800000000";
const RANGE_3: &str =
    "query.start_time_min=2026-11-23T09:30:00Z&query.start_time_max=2026-11-23T10:30:00Z";

/// Where the four tags stand (`s` span, `e` event, `r` resource, `c` scope, `l` link), whether an operation is asked for, the
/// duration in nanoseconds, and the bounds that are asked for.
type Case = (&'static str, bool, u64, &'static str, &'static str);

const CASES: [Case; 23] = [
    ("ssss", false, 7_000, "", ""),
    ("eeee", false, 5_000, "", ""),
    ("rrrr", false, 5_000, "", ""),
    ("ress", false, 5_000, "", ""),
    ("", true, 5_000, "", ""),
    ("", true, 2_000, "", "2us"),
    ("", true, 5_000, "4500ns", "5500ns"),
    ("", false, 5_000, "4500ns", "5500ns"),
    ("", false, 1_000, "", "1us"),
    ("", false, 100_000, "", ""),
    ("ssss", true, 2_000, "", ""),
    ("rrrr", true, 1_000, "", "2us"),
    ("eeee", true, 5_000, "4500ns", "5500ns"),
    ("ssss", false, 5_000, "4500ns", "5500ns"),
    ("rrrr", false, 1_000, "", "1us"),
    ("rese", true, 5_000, "", ""),
    ("sere", true, 1_000, "", "2us"),
    ("serr", true, 5_000, "4500ns", "5500ns"),
    ("esrs", false, 5_000, "4500ns", "5500ns"),
    ("serr", false, 1_000, "", "1us"),
    ("ssss", false, 1_000, "", ""),
    ("cccc", false, 1_000, "", ""),
    ("llll", false, 2_000, "", ""),
];

/// A text, a number, a fraction and a truth.
fn tags() -> [(&'static str, Value, &'static str); 4] {
    [
        ("tag1", json!({"stringValue": "value"}), "value"),
        ("tag2", json!({"intValue": "123"}), "123"),
        ("tag3", json!({"doubleValue": 72.5}), "72.5"),
        ("tag4", json!({"boolValue": true}), "true"),
    ]
}

/// Returns the id of one of a case's traces: the first is to be found.
fn id(case: usize, variant: usize) -> String {
    format!("{:032x}", case * 16 + variant + 0x1000)
}

/// Returns a trace of a case; in later variants one tag has another value, or the duration is tenfold.
fn trace(case: usize, variant: usize) -> Value {
    let (places, _, nanos, _, _) = CASES[case];
    let at = |place: char| {
        let is_there = |(number, _): &(usize, _)| places.chars().nth(*number) == Some(place);
        let there = tags().into_iter().enumerate().filter(is_there);
        let attribute = |(number, (key, value, _))| match variant == number + 1 {
            true => json!({"key": key, "value": {"stringValue": "other"}}),
            false => json!({"key": key, "value": value}),
        };
        there.map(attribute).collect::<Vec<_>>()
    };
    let service =
        json!({"key": "service.name", "value": {"stringValue": format!("service-{case}")}});
    let mut resource = at('r');
    resource.push(service);
    let end = NOW + nanos * if variant == 5 { 10 } else { 1 };
    json!({"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [{
        "scope": {"name": "library", "attributes": at('c')},
        "spans": [{
            "traceId": id(case, variant), "spanId": "00000000000000a1", "name": format!("operation-{case}"), "kind": 1,
            "startTimeUnixNano": NOW.to_string(), "endTimeUnixNano": end.to_string(), "attributes": at('s'),
            "events": [{"timeUnixNano": NOW.to_string(), "name": "an event", "attributes": at('e')}],
            "links": [{"traceId": id(case, 9), "spanId": "00000000000000b1", "attributes": at('l')}],
        }],
    }]}]})
}

/// Returns the parameters of a case: of the first version, or with the prefix and the names of the third.
fn question(case: usize, is_third: bool) -> String {
    let (places, is_named, _, min, max) = CASES[case];
    let names = match is_third {
        true => [
            "query.service_name",
            "query.operation_name",
            "query.attributes",
            "query.duration_min",
            "query.duration_max",
        ],
        false => ["service", "operation", "tags", "minDuration", "maxDuration"],
    };
    let asked: serde_json::Map<_, _> = tags()
        .into_iter()
        .map(|(key, _, text)| (key.to_owned(), json!(text)))
        .collect();
    let asked = json!(asked).to_string();
    let encoded: String = asked.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let values = [
        format!("service-{case}"),
        if is_named {
            format!("operation-{case}")
        } else {
            String::new()
        },
        if places.is_empty() {
            String::new()
        } else {
            encoded
        },
        min.to_owned(),
        max.to_owned(),
    ];
    let given = names
        .into_iter()
        .zip(values)
        .filter(|(_, value)| !value.is_empty());
    given
        .map(|(name, value)| format!("&{name}={value}"))
        .collect()
}

#[tokio::test]
async fn each_search_finds_its_own_trace_on_both_versions() {
    let mut fixture = Fixture::new();
    for (case, (places, _, _, min, max)) in CASES.into_iter().enumerate() {
        fixture.receive(&trace(case, 0), NOW);
        let of_tags = 1..=places.len();
        let is_bounded = !min.is_empty() || !max.is_empty();
        for variant in of_tags.chain(is_bounded.then_some(5)) {
            fixture.receive(&trace(case, variant), NOW);
        }
    }
    for case in 0..CASES.len() {
        let uri = format!("/jaeger/api/traces?{RANGE}{}", question(case, false));
        let first = fixture.json(&uri).await;
        let uri = format!("/jaeger/api/v3/traces?{RANGE_3}{}", question(case, true));
        let third = fixture.json(&uri).await;
        let found = |answer: &Value, key: &str| {
            let ids = answer.as_array().unwrap().iter();
            ids.map(|one| one[key].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let expected = [id(case, 0)];
        let short = [expected[0].trim_start_matches('0').to_owned()];
        let of_first = found(&first["data"], "traceID");
        let of_first: Vec<_> = of_first
            .iter()
            .map(|id| id.trim_start_matches('0'))
            .collect();
        assert_eq!(of_first, short, "case {}", case + 1);
        let spans = third["result"]["resourceSpans"].as_array().unwrap().iter();
        let spans: Vec<_> = spans
            .map(|one| one["scopeSpans"][0]["spans"][0].clone())
            .collect();
        assert_eq!(
            found(&json!(spans), "traceId"),
            expected,
            "case {}",
            case + 1
        );
    }
}
