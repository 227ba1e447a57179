//! The 25 searches with which Jaeger tests every storage, on both versions of its API: tags of a span, its
//! process, scope, events and links, separately or together, with an operation and bounds of the duration.
//!
//! Beside each matching trace there are some that differ from it in one requested property.

use serde_json::{Value, json};

use crate::api::tests::Fixture;

/// 2026-11-23T10:00:00Z; the searched range begins here and is two hours long.
const BEGIN: u64 = 1_795_428_000_000_000_000;
const HOUR: u64 = 3_600_000_000_000;
const MINUTE: u64 = 60_000_000_000;
const OPERATION: &str = "buy";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Spot {
    Span,
    Process,
    Scope,
    Event,
    Link,
}

#[derive(Debug, Clone)]
struct Fact {
    name: &'static str,
    /// The place of each of the four tags; `None`: without tags.
    tags: Option<[Spot; 4]>,
    asks_operation: bool,
    /// Nanoseconds, 0 for none.
    durations: (u64, u64),
    traces: u64,
    /// Whether a span of the trace is hours before the range.
    began_before: bool,
    scope: Option<[&'static str; 2]>,
}

/// The property that differs from the requested one.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Difference {
    Nothing,
    Tag,
    Operation,
    TooShort,
    TooLong,
    Time,
}

/// No bounds of the duration, a range, and the maximum.
const NONE: (u64, u64) = (0, 0);
const RANGE: (u64, u64) = (4_500, 5_500);
const APART: Option<[Spot; 4]> = Some([Spot::Process, Spot::Event, Spot::Span, Spot::Span]);

fn fact(
    name: &'static str,
    tags: Option<[Spot; 4]>,
    asks_operation: bool,
    durations: (u64, u64),
) -> Fact {
    Fact {
        name,
        tags,
        asks_operation,
        durations,
        traces: 1,
        began_before: false,
        scope: None,
    }
}

fn facts() -> Vec<Fact> {
    use Spot::{Event, Link, Process, Scope, Span};
    let mut facts = vec![
        fact("tags of a span", Some([Span; 4]), false, NONE),
        fact("tags of an event", Some([Event; 4]), false, NONE),
        fact("tags of a process", Some([Process; 4]), false, NONE),
        fact("tags apart", APART, false, NONE),
        Fact {
            began_before: true,
            ..fact("a trace that began before", None, false, NONE)
        },
        fact("operation", None, true, NONE),
        fact("operation, longest", None, true, (0, 2_000)),
        fact("operation, range", None, true, RANGE),
        fact("range", None, false, RANGE),
        fact("longest", None, false, (0, 1_000)),
        fact("nothing but the service", None, false, NONE),
        Fact {
            traces: 3,
            ..fact("several traces", None, false, NONE)
        },
        Fact {
            scope: Some(["shop-library", "1.1.1"]),
            ..fact("tags, name of a scope", Some([Span; 4]), false, NONE)
        },
        fact("tags of a scope", Some([Scope; 4]), false, NONE),
        fact("tags of a link", Some([Link; 4]), false, NONE),
    ];
    facts.extend(with_more("tags of a process and more", Some([Process; 4])));
    facts.extend(with_more("tags apart and more", APART));
    facts
}

/// Returns searches for tags combined with an operation or durations.
fn with_more(name: &'static str, tags: Option<[Spot; 4]>) -> [Fact; 5] {
    [
        fact(name, tags, true, NONE),
        fact(name, tags, true, (0, 2_000)),
        fact(name, tags, true, RANGE),
        fact(name, tags, false, RANGE),
        fact(name, tags, false, (0, 1_000)),
    ]
}

impl Fact {
    fn differences(&self) -> Vec<Difference> {
        use Difference::{Operation, Tag, Time, TooLong, TooShort};
        let (min, max) = self.durations;
        let asked = [
            (self.tags.is_some(), Tag),
            (self.asks_operation, Operation),
            (min > 0, TooShort),
            (max > 0, TooLong),
            (true, Time),
        ];
        let asked = asked.into_iter().filter(|(asked, _)| *asked);
        asked.map(|(_, difference)| difference).collect()
    }

    /// Returns the attributes at a place of its span.
    fn attributes(&self, spot: Spot, difference: Difference) -> Vec<Value> {
        let items = if difference == Difference::Tag {
            124
        } else {
            123
        };
        let tags = [
            ("customer", json!({"stringValue": "Ann"})),
            ("items", json!({"intValue": items.to_string()})),
            ("price", json!({"doubleValue": 72.5})),
            ("paid", json!({"boolValue": true})),
        ];
        let spots = self.tags.into_iter().flatten();
        let there = tags.into_iter().zip(spots).filter(|(_, at)| *at == spot);
        there
            .map(|((key, value), _)| json!({"key": key, "value": value}))
            .collect()
    }

    fn request(&self, service: &str, id: &str, difference: Difference) -> Value {
        let start = match difference {
            Difference::Time => BEGIN - MINUTE,
            _ => BEGIN + HOUR,
        };
        let length = match (difference, self.durations) {
            (Difference::TooShort, (min, _)) => min - 500,
            (Difference::TooLong, (_, max)) => max + 500,
            (_, (_, 0)) => 5_000,
            (_, (min, max)) => (min + max).div_ceil(2),
        };
        let of = |spot| self.attributes(spot, difference);
        let mut process = of(Spot::Process);
        process.push(json!({"key": "service.name", "value": {"stringValue": service}}));
        let [scope, version] = self.scope.unwrap_or_default();
        let span = |id: &str, start: u64| {
            json!({
                "traceId": id, "spanId": format!("{start:016x}"), "kind": 1,
                "name": if difference == Difference::Operation { "sell" } else { OPERATION },
                "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + length).to_string(),
                "attributes": of(Spot::Span),
                "events": [{"timeUnixNano": start.to_string(), "attributes": of(Spot::Event)}],
                "links": [{"traceId": "f".repeat(32), "spanId": "f".repeat(16), "attributes": of(Spot::Link)}],
            })
        };
        let mut spans = vec![span(id, start)];
        if self.began_before && difference == Difference::Nothing {
            spans.push(span(id, BEGIN - 3 * HOUR));
        }
        json!({"resourceSpans": [{
            "resource": {"attributes": process},
            "scopeSpans": [{"scope": {"name": scope, "version": version, "attributes": of(Spot::Scope)}, "spans": spans}],
        }]})
    }

    fn questions(&self, service: &str) -> [String; 2] {
        let mut tags = json!({});
        if self.tags.is_some() {
            tags = json!({"customer": "Ann", "items": 123, "price": 72.5, "paid": true});
        }
        if let Some([name, version]) = self.scope {
            tags["otel.scope.name"] = name.into();
            tags["otel.scope.version"] = version.into();
        }
        let tags: String = tags
            .to_string()
            .bytes()
            .map(|byte| format!("%{byte:02x}"))
            .collect();
        let (start, end) = (BEGIN / 1_000, (BEGIN + 2 * HOUR) / 1_000);
        let mut classic = format!(
            "/jaeger/api/traces?service={service}&start={start}&end={end}&limit=1000&tags={tags}"
        );
        let mut third = format!(
            "/jaeger/api/v3/traces?query.serviceName={service}&query.searchDepth=1000&query.attributes={tags}\
             &query.startTimeMin=2026-11-23T10:00:00Z&query.startTimeMax=2026-11-23T12:00:00Z"
        );
        if self.asks_operation {
            classic += &format!("&operation={OPERATION}");
            third += &format!("&query.operationName={OPERATION}");
        }
        let (min, max) = self.durations;
        for (bound, old, new) in [
            (min, "minDuration", "durationMin"),
            (max, "maxDuration", "durationMax"),
        ] {
            if bound > 0 {
                classic += &format!("&{old}={bound}ns");
                third += &format!("&query.{new}={bound}ns");
            }
        }
        [classic, third]
    }
}

/// Returns the ids of the traces in an answer of either version, sorted.
fn found(answer: &Value) -> Vec<String> {
    let classic = answer["data"].as_array().into_iter().flatten();
    let mut ids: Vec<_> = classic.map(|trace| trace["traceID"].clone()).collect();
    for resource in answer["result"]["resourceSpans"]
        .as_array()
        .into_iter()
        .flatten()
    {
        for scope in resource["scopeSpans"].as_array().into_iter().flatten() {
            let spans = scope["spans"].as_array().into_iter().flatten();
            ids.extend(spans.map(|span| span["traceId"].clone()));
        }
    }
    let mut ids: Vec<_> = ids
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

#[tokio::test]
async fn each_question_finds_its_traces_and_no_others() {
    let mut fixture = Fixture::new();
    let facts = facts();
    assert_eq!(facts.len(), 25);
    let mut wanted = Vec::new();
    for (number, fact) in facts.iter().enumerate() {
        let service = format!("shop-{number}");
        let id = |trace: u64| format!("{:016x}{trace:016x}", number + 1);
        for trace in 1..=fact.traces {
            let request = fact.request(&service, &id(trace), Difference::Nothing);
            fixture.receive(&request, BEGIN + 2 * HOUR);
        }
        for (trace, difference) in (100..).zip(fact.differences()) {
            let request = fact.request(&service, &id(trace), difference);
            fixture.receive(&request, BEGIN + 2 * HOUR);
        }
        wanted.push((1..=fact.traces).map(id).collect::<Vec<_>>());
    }
    for (number, (fact, wanted)) in facts.iter().zip(wanted).enumerate() {
        for question in fact.questions(&format!("shop-{number}")) {
            let answer = fixture.json(&question).await;
            assert_eq!(found(&answer), wanted, "{}: {question}", fact.name);
        }
    }
}
