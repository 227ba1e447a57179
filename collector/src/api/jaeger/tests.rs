//! The routes as Jaeger's clients call them, against real pieces.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::search::by_ids;
use crate::api::dialect::Listed;
use crate::api::tests::Fixture;
use crate::model::UnixNanos;

/// 2026-11-23T10:00:00Z.
const NOW: u64 = 1_795_428_000_000_000_000;
/// An hour around it in microseconds, as Grafana gives it.
const RANGE: &str = "start=1795426200000000&end=1795429800000000";
const SHOP: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

async fn failure(fixture: &Fixture, uri: &str) -> (StatusCode, String) {
    let (status, content_type, body) = fixture.get(uri).await;
    assert_eq!(content_type, "application/json", "{uri}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["data"], Value::Null, "{uri}");
    assert_eq!(body["errors"][0]["code"], status.as_u16(), "{uri}");
    let message = body["errors"][0]["msg"].as_str().unwrap();
    (status, message.to_owned())
}

async fn count(fixture: &Fixture, question: &str) -> usize {
    let uri = format!("/jaeger/api/traces?{RANGE}&{question}");
    let answer = fixture.json(&uri).await;
    assert_eq!(answer["errors"], Value::Null, "{question}");
    answer["data"].as_array().unwrap().len()
}

/// A span with every possible field, and one whose parent is missing.
fn everything() -> Value {
    let text = |text: &str| json!({"stringValue": text});
    let tag = |key: &str, value: Value| json!({"key": key, "value": value});
    let list =
        json!({"arrayValue": {"values": [text("b"), {"intValue": "1"}, {"doubleValue": 2.0}]}});
    let map = json!({"kvlistValue": {"values": [tag("y", json!({"boolValue": false})), tag("x", json!({}))]}});
    let attributes = json!([
        tag("z.text", text("a")),
        tag("y.true", json!({"boolValue": true})),
        tag("x.safe", json!({"intValue": "9007199254740991"})),
        tag("x.large", json!({"intValue": "-9007199254740992"})),
        tag("w.double", json!({"doubleValue": 0.25})),
        tag("w.nan", json!({"doubleValue": "NaN"})),
        tag("v.bytes", json!({"bytesValue": "AQL/"})),
        tag("u.list", list),
        tag("u.map", map),
        tag("u.none", json!({})),
    ]);
    let own = "00000000000000000123456789abcdef";
    let other = "0af7651916cd43dd8448eb211c80319c";
    let time = |micros: u64| (NOW + micros * 1_000 + 999).to_string();
    json!({"resourceSpans": [{
        "resource": {"attributes": [tag("service.name", text("cart")), tag("host.name", text("a")), tag("cpus", json!({"intValue": "8"}))]},
        "scopeSpans": [{"scope": {"name": "lib", "version": "1.2"}, "spans": [
            {
                "traceId": own, "spanId": "00000000000000a1", "name": "GET /cart", "kind": 2, "flags": 0x303,
                "startTimeUnixNano": time(0), "endTimeUnixNano": time(1_500), "attributes": attributes, "traceState": "a=b",
                "status": {"code": 2, "message": "no stock"},
                "events": [
                    {"timeUnixNano": time(7), "name": "retry", "attributes": [tag("n", json!({"intValue": "2"})), tag("a", text("b"))]},
                    {"timeUnixNano": time(8), "name": "named", "attributes": [tag("b", text("c")), tag("event", text("own"))]},
                ],
                "links": [{"traceId": other, "spanId": "00000000000000b1"}],
            },
            {
                "traceId": own, "spanId": "00000000000000a2", "parentSpanId": "00000000000000ff", "name": "work", "kind": 1,
                "startTimeUnixNano": time(5), "endTimeUnixNano": time(6), "attributes": [], "status": {"code": 1},
                "links": [
                    {"traceId": other, "spanId": "00000000000000b2", "attributes": [tag("opentracing.ref_type", text("child_of"))]},
                    {"traceId": own, "spanId": "00000000000000ff"},
                    {"traceId": own, "spanId": "00000000000000a1", "attributes": [tag("opentracing.ref_type", text("child_of"))]},
                ],
            },
        ]}],
    }]})
}

#[tokio::test]
async fn a_trace_has_the_shape_that_jaegers_pages_know() {
    let mut fixture = Fixture::new();
    fixture.receive(&everything(), NOW);
    let answer = fixture.json("/jaeger/api/traces/0123456789abcdef").await;
    let text = serde_json::to_string_pretty(&answer).unwrap();
    insta::assert_snapshot!("everything", text);
    for same in [
        "0123456789ABCDEF",
        "123456789abcdef",
        "00000000000000000123456789abcdef",
    ] {
        let uri = format!("/jaeger/api/traces/{same}?start=1&end=2&raw=false");
        assert_eq!(fixture.json(&uri).await, answer, "{same}");
    }
}

#[tokio::test]
async fn a_raw_trace_keeps_the_order_in_which_it_was_received() {
    let mut fixture = Fixture::new();
    fixture.receive(&everything(), NOW);
    let answer = fixture
        .json("/jaeger/api/traces/123456789abcdef?raw=true")
        .await;
    let spans = answer["data"][0]["spans"].as_array().unwrap();
    let keys = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|tag| tag["key"].as_str().unwrap().to_owned())
            .collect()
    };
    let tags = keys(&spans[0]["tags"]);
    assert_eq!(
        tags[..3],
        ["otel.scope.name", "otel.scope.version", "z.text"]
    );
    assert_eq!(tags.last().unwrap(), "w3c.tracestate");
    assert_eq!(keys(&spans[0]["logs"][0]["fields"]), ["event", "n", "a"]);
    assert_eq!(spans[1]["references"][0]["spanID"], "00000000000000ff");
}

#[tokio::test]
async fn a_server_that_took_its_clients_id_gets_its_own() {
    let mut fixture = Fixture::new();
    let span = |id: &str, parent: &str, name: &str, kind: u8, at: u64| {
        json!({"traceId": SHOP, "spanId": id, "parentSpanId": parent, "name": name, "kind": kind,
               "startTimeUnixNano": (NOW + at).to_string(), "endTimeUnixNano": (NOW + at + 9).to_string()})
    };
    let spans = [
        span("00000000000000a1", "", "call", 3, 0),
        span("00000000000000a1", "", "serve", 2, 1),
        span("0000000000000001", "00000000000000a1", "query", 3, 2),
    ];
    fixture.receive(
        &json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}),
        NOW,
    );
    let places = |answer: &Value| -> Vec<(String, String)> {
        let spans = answer["data"][0]["spans"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        spans
            .map(|span| {
                (
                    text(&span["spanID"]),
                    text(&span["references"][0]["spanID"]),
                )
            })
            .collect()
    };
    let place = |id: &str, parent: &str| (id.to_owned(), parent.to_owned());
    let uri = format!("/jaeger/api/traces/{SHOP}");
    assert_eq!(
        places(&fixture.json(&uri).await),
        [
            place("00000000000000a1", ""),
            place("0000000000000002", "00000000000000a1"),
            place("0000000000000001", "0000000000000002"),
        ]
    );
    assert_eq!(
        places(&fixture.json(&format!("{uri}?raw=1")).await)[1],
        place("00000000000000a1", "")
    );
}

#[tokio::test]
async fn a_search_finds_whole_traces_by_any_of_their_spans() {
    let fixture = Fixture::with_shop(NOW);
    let uri = format!("/jaeger/api/traces?service=product&{RANGE}");
    let answer = fixture.json(&uri).await;
    let by_id = fixture.json(&format!("/jaeger/api/traces/{SHOP}")).await;
    assert_eq!(answer["data"], by_id["data"]);
    assert_eq!(by_id["data"][0]["spans"].as_array().unwrap().len(), 5);
    for one in [
        "service=gateway",
        "service=gateway&operation=GET&limit=1500&lookback=1h&minDuration&maxDuration=",
        "service=gateway&minDuration=1ms&maxDuration=1m0.042s",
        "service=gateway&limit=0",
        "service=product&tag=http.route:/product/%7Bsku%7D&tag=error:true",
        "service=product&tags=%7B%22db.system%22:%22postgresql%22,%22error%22:true%7D",
        "service=product&tag=span.kind:client&tag=db.name:shop",
        "service=product&tag=otel.status_code:ERROR&tag=otel.scope.name:shop",
        "service=gateway&operation=GET%20/product/%7Bsku%7D&tag=span.kind:server",
    ] {
        assert_eq!(count(&fixture, one).await, 1, "{one}");
    }
    for none in [
        "service=mail",
        "service=gateway&minDuration=1s",
        "service=gateway&operation=SELECT",
        "service=gateway&operation=GET%20/product/%7Bsku%7D&tag=error:true",
        "service=product&tag=error:false",
        "service=product&tag=span.kind:client&tag=http.route:/product/%7Bsku%7D",
        "service=product&tag=span.kind:consumer",
        "service=product&tag=otel.scope.version:1",
    ] {
        assert_eq!(count(&fixture, none).await, 0, "{none}");
    }
}

/// *Scenario*: tags that are attributes of an event, a link, a scope or a resource, values that are shown as
/// JSON, and a failure that only an attribute shows.
/// *Guarantees*: searches find them as Jaeger does.
#[tokio::test]
async fn tags_are_searched_wherever_jaeger_shows_them() {
    let mut fixture = Fixture::new();
    let mut request = everything();
    let spans = &mut request["resourceSpans"][0]["scopeSpans"][0]["spans"];
    let failed = json!({"key": "error", "value": {"boolValue": true}});
    spans[1]["attributes"] = json!([failed]);
    fixture.receive(&request, NOW);
    for (tags, found) in [
        (json!({"n": "2"}), 1),
        (json!({"event": "retry"}), 1),
        (json!({"event": "own"}), 1),
        (json!({"event": "named"}), 0),
        (json!({"opentracing.ref_type": "child_of"}), 1),
        (json!({"cpus": 8}), 1),
        (json!({"otel.scope.version": "1.2"}), 1),
        (json!({"otel.scope.version": "1"}), 0),
        (json!({"w3c.tracestate": "a=b"}), 1),
        (json!({"otel.status_description": "no stock"}), 1),
        (json!({"otel.status_code": "OK"}), 1),
        (json!({"u.list": "[\"b\",1,2]"}), 1),
        (json!({"u.list": "[\"b\",1]"}), 0),
        (json!({"u.map": "{\"x\":null,\"y\":false}"}), 1),
        // Of the span without a status that says so.
        (json!({"error": "true", "span.kind": "internal"}), 1),
    ] {
        let tags: String = tags
            .to_string()
            .bytes()
            .map(|b| format!("%{b:02x}"))
            .collect();
        let question = format!("service=cart&tags={tags}");
        assert_eq!(count(&fixture, &question).await, found, "{question}");
    }
}

#[tokio::test]
async fn the_range_is_microseconds_or_milliseconds_with_both_ends() {
    let fixture = Fixture::with_shop(NOW);
    let (micros, millis) = (NOW / 1_000, NOW / 1_000_000);
    for (start, end, found) in [
        (micros, micros, 1),
        (millis, millis, 1),
        (micros - 1, micros - 1, 0),
        (micros + 1, micros + 1, 0),
        (0, micros, 1),
    ] {
        let uri = format!("/jaeger/api/traces?service=gateway&start={start}&end={end}");
        let answer = fixture.json(&uri).await;
        assert_eq!(answer["data"].as_array().unwrap().len(), found, "{uri}");
    }
}

#[tokio::test]
async fn traces_of_given_ids_come_with_a_word_on_those_that_are_missing() {
    let fixture = Fixture::with_shop(NOW);
    let uri = format!("/jaeger/api/traces?traceID={SHOP}&traceID=7b");
    let answer = fixture.json(&uri).await;
    assert_eq!(answer["data"][0]["traceID"], SHOP);
    assert_eq!(
        answer["errors"],
        json!([{"msg": "trace not found", "traceID": "000000000000007b"}])
    );
}

/// *Scenario*: the time limit of a list of ids is reached before its traces are read.
/// *Guarantees*: each is listed as left out, none as unknown.
#[tokio::test]
async fn traces_that_are_not_read_in_time_are_left_out() {
    let fixture = Fixture::with_shop(NOW);
    let ids = [SHOP.to_owned(), "7b".to_owned()];
    let over = Listed::until(Instant::now());
    let found = by_ids(&fixture.state.query, &ids, over).await.unwrap();
    assert!(found.traces.is_empty());
    assert_eq!(found.remarks.len(), 2);
    for remark in found.remarks {
        assert!(remark.message.contains("left out: 11 s"), "{remark:?}");
        assert!(remark.trace_id.is_some());
    }
}

#[tokio::test]
async fn only_the_newest_traces_within_the_limit_are_answered() {
    let mut fixture = Fixture::new();
    for number in 1..=5_u64 {
        let start = NOW + number * 1_000_000;
        let kind = if number % 2 == 0 { 2 } else { 1 };
        let span = json!({
            "traceId": format!("{number:032x}"), "spanId": "0000000000000001", "name": "job", "kind": kind,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 1_000).to_string(),
        });
        let resource =
            json!({"attributes": [{"key": "service.name", "value": {"stringValue": "cron"}}]});
        let spans = json!([{"spans": [span]}]);
        fixture.receive(
            &json!({"resourceSpans": [{"resource": resource, "scopeSpans": spans}]}),
            NOW,
        );
    }
    let ids = async |question: &str| -> Vec<String> {
        let uri = format!("/jaeger/api/traces?{RANGE}&service=cron&{question}");
        let answer = fixture.json(&uri).await;
        let traces = answer["data"].as_array().unwrap().iter();
        traces
            .map(|trace| trace["traceID"].as_str().unwrap()[15..].to_owned())
            .collect()
    };
    assert_eq!(ids("limit=2").await, ["5", "4"]);
    assert_eq!(ids("limit=2&tag=span.kind:internal").await, ["5", "3"]);
    assert_eq!(ids("limit=9&tag=span.kind:internal").await, ["5", "3", "1"]);
}

#[tokio::test]
async fn services_and_operations_are_listed_with_their_number() {
    let fixture = Fixture::with_shop(UnixNanos::now().get());
    let envelope = |data: Value, total: usize| json!({"data": data, "total": total, "limit": 0, "offset": 0, "errors": null});
    assert_eq!(
        fixture.json("/jaeger/api/services").await,
        envelope(json!(["gateway", "product"]), 2)
    );
    assert_eq!(
        fixture
            .json("/jaeger/api/services/gateway/operations")
            .await,
        envelope(json!(["GET", "GET /product/{sku}", "product"]), 3)
    );
    assert_eq!(
        fixture
            .json("/jaeger/api/services/no%2Fbody/operations")
            .await,
        envelope(json!([]), 0)
    );
    let operation = |name: &str, kind: &str| json!({"name": name, "spanKind": kind});
    assert_eq!(
        fixture.json("/jaeger/api/operations?service=gateway").await,
        envelope(
            json!([
                operation("GET", "client"),
                operation("GET /product/{sku}", "server"),
                operation("product", "internal")
            ]),
            3
        )
    );
    assert_eq!(
        fixture
            .json("/jaeger/api/operations?service=gateway&spanKind=server")
            .await,
        envelope(json!([operation("GET /product/{sku}", "server")]), 1)
    );
}

fn call_of_itself(now: u64) -> Value {
    let span = |id: &str, parent: &str, kind: u8| {
        json!({"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": id, "parentSpanId": parent, "name": "x", "kind": kind,
               "startTimeUnixNano": now.to_string(), "endTimeUnixNano": (now + 9).to_string()})
    };
    let spans = [
        span("00000000000000a1", "", 3),
        span("00000000000000a2", "00000000000000a1", 2),
    ];
    json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
}

#[tokio::test]
async fn dependencies_are_those_of_the_time_before() {
    let now = UnixNanos::now().get();
    let mut fixture = Fixture::with_shop(now);
    fixture.receive(&call_of_itself(now), now);
    let own = fixture.json("/api/dependencies").await;
    assert_eq!(own["dependencies"].as_array().unwrap().len(), 2);
    let link = json!([{"parent": "gateway", "child": "product", "callCount": 1}]);
    let millis = now / 1_000_000 + 1_000;
    for question in [
        String::new(),
        format!("?endTs={millis}&lookback=3600000"),
        format!("?endTs={}&lookback=3600000&service=product", millis * 1_000),
    ] {
        let uri = format!("/jaeger/api/dependencies{question}");
        assert_eq!(fixture.json(&uri).await["data"], link, "{uri}");
    }
    for question in ["?service=mail", "?endTs=1577836800000"] {
        let uri = format!("/jaeger/api/dependencies{question}");
        assert_eq!(fixture.json(&uri).await["data"], json!([]), "{uri}");
    }
}

#[tokio::test]
async fn a_wrong_parameter_is_named_in_jaegers_envelope() {
    let fixture = Fixture::new();
    let search = "/jaeger/api/traces?service=a&";
    let long = "x".repeat(5_000);
    let many: String = (0..17).map(|number| format!("tag=k{number}:v&")).collect();
    for (uri, parameter) in [
        ("/jaeger/api/traces".to_owned(), "service"),
        ("/jaeger/api/traces?service=".to_owned(), "service"),
        (format!("/jaeger/api/traces?service={long}"), "service"),
        ("/jaeger/api/operations".to_owned(), "service"),
        (format!("{search}start=yesterday"), "start"),
        (format!("{search}end=-1"), "end"),
        (format!("{search}start=20&end=10"), "start"),
        (format!("{search}limit=-1"), "limit"),
        (format!("{search}limit=ten"), "limit"),
        (format!("{search}minDuration=150"), "minDuration"),
        (format!("{search}maxDuration=-1s"), "maxDuration"),
        (
            format!("{search}minDuration=2s&maxDuration=1s"),
            "minDuration",
        ),
        (format!("{search}tag=error"), "tag"),
        (format!("{search}tag=:x"), "tag"),
        (format!("{search}{many}"), "tags"),
        (format!("{search}tags=error"), "tags"),
        (format!("{search}tags=%5B%5D"), "tags"),
        (format!("{search}tags=%7B%22a%22:%7B%7D%7D"), "tags"),
        (format!("{search}traceID=xyz"), "traceID"),
        (format!("{search}raw=maybe"), "raw"),
        (format!("{search}{}", "x=y&".repeat(200)), "query"),
        ("/jaeger/api/traces/xyz".to_owned(), "traceID"),
        (format!("/jaeger/api/traces/{SHOP}0"), "traceID"),
        (format!("/jaeger/api/traces/{SHOP}?start=now"), "start"),
        (format!("/jaeger/api/traces/{SHOP}?end=1.5"), "end"),
        ("/jaeger/api/dependencies?endTs=now".to_owned(), "endTs"),
        (
            "/jaeger/api/dependencies?lookback=1h".to_owned(),
            "lookback",
        ),
    ] {
        let (status, message) = failure(&fixture, &uri).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{uri}");
        assert!(message.contains(parameter), "{uri}: {message}");
        assert!(message.len() < 300, "{message}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_404() {
    let fixture = Fixture::new();
    let (status, message) = failure(&fixture, &format!("/jaeger/api/traces/{SHOP}")).await;
    assert_eq!(
        (status, message.as_str()),
        (StatusCode::NOT_FOUND, "trace not found")
    );
    for uri in [
        "/jaeger/api",
        "/jaeger/api/traces/0",
        "/jaeger/api/metrics/quality",
        "/jaeger/api/quality-metrics",
    ] {
        assert_eq!(
            failure(&fixture, uri).await.0,
            StatusCode::NOT_FOUND,
            "{uri}"
        );
    }
}

#[tokio::test]
async fn a_person_gets_lines() {
    let fixture = Fixture::new();
    let (_, content_type, body) = fixture.get("/jaeger/api/services?prettyPrint=true").await;
    assert_eq!(content_type, "application/json");
    assert!(
        body.starts_with("{\n    \"data\": [],\n    \"total\": 0,"),
        "{body}"
    );
}

const V3_RANGE: &str =
    "query.startTimeMin=2026-11-23T09:00:00Z&query.start_time_max=2026-11-23T11:00:00.5Z";

#[tokio::test]
async fn version_3_answers_in_otlp() {
    let fixture = Fixture::with_shop(NOW);
    let own = fixture.json(&format!("/api/traces/{SHOP}")).await;
    let result = json!({"result": {"resourceSpans": own["resourceSpans"]}});
    for uri in [
        format!("/jaeger/api/v3/traces/{SHOP}?start_time=2026-11-23T09:00:00Z&rawTraces=true"),
        format!("/jaeger/api/v3/traces?{V3_RANGE}&query.serviceName=gateway&query.search_depth=1"),
        format!(
            "/jaeger/api/v3/traces?{V3_RANGE}&query.service_name=product&query.num_traces=5&query.duration_min=1ms"
        ),
        format!(
            "/jaeger/api/v3/traces?{V3_RANGE}&query.attributes=%7B%22error%22:%22true%22,%22span.kind%22:%22client%22%7D"
        ),
    ] {
        assert_eq!(fixture.json(&uri).await, result, "{uri}");
    }
}

#[tokio::test]
async fn version_3_lists_names_and_rows() {
    let fixture = Fixture::with_shop(UnixNanos::now().get());
    assert_eq!(
        fixture.json("/jaeger/api/v3/services").await,
        json!({"services": ["gateway", "product"]})
    );
    for spelling in ["spanKind", "span_kind"] {
        let uri = format!("/jaeger/api/v3/operations?service=product&{spelling}=server");
        assert_eq!(
            fixture.json(&uri).await,
            json!({"operations": [{"name": "GET /product/{sku}", "spanKind": "server"}]})
        );
    }
    let fixture = Fixture::with_shop(NOW);
    let row = json!({
        "traceId": SHOP, "rootServiceName": "gateway", "rootOperationName": "GET /product/{sku}",
        "minStartTimeUnixNano": NOW.to_string(), "maxEndTimeUnixNano": (NOW + 42_000_000).to_string(),
        "spanCount": 5, "errorSpanCount": 4, "orphanSpanCount": 0,
        "services": [
            {"name": "gateway", "spanCount": 3, "errorSpanCount": 2},
            {"name": "product", "spanCount": 2, "errorSpanCount": 2},
        ],
    });
    for attributes in ["", "&query.attributes=%7B%22span.kind%22:%22server%22%7D"] {
        let uri = format!("/jaeger/api/v3/trace-summaries?{V3_RANGE}{attributes}");
        assert_eq!(
            fixture.json(&uri).await,
            json!({"summaries": [row]}),
            "{uri}"
        );
    }
}

#[tokio::test]
async fn version_3_has_an_error_envelope_of_its_own() {
    let fixture = Fixture::new();
    let search = format!("/jaeger/api/v3/traces?{V3_RANGE}");
    for (uri, status, word) in [
        (
            format!("/jaeger/api/v3/traces/{SHOP}"),
            404,
            "No traces found",
        ),
        (search.clone(), 404, "No traces found"),
        ("/jaeger/api/v3/nothing".to_owned(), 404, "route"),
        ("/jaeger/api/v3/traces/xyz".to_owned(), 400, "traceID"),
        (
            format!("/jaeger/api/v3/traces/{SHOP}?startTime=now"),
            400,
            "startTime",
        ),
        (
            "/jaeger/api/v3/traces".to_owned(),
            400,
            "query.startTimeMin",
        ),
        (
            format!("{search}&query.duration_min=9"),
            400,
            "query.duration_min",
        ),
        (
            format!("{search}&query.durationMin=2s&query.durationMax=1s"),
            400,
            "query.durationMax",
        ),
        (
            format!("{search}&query.attributes=x"),
            400,
            "query.attributes",
        ),
        (
            format!("{search}&query.searchDepth=x"),
            400,
            "query.searchDepth",
        ),
        (
            format!("{search}&query.raw_traces=x"),
            400,
            "query.raw_traces",
        ),
        ("/jaeger/api/v3/operations".to_owned(), 400, "service"),
    ] {
        let (given, content_type, body) = fixture.get(&uri).await;
        assert_eq!(
            (given.as_u16(), content_type.as_str()),
            (status, "application/json"),
            "{uri}"
        );
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["error"]["httpCode"], status, "{uri}");
        assert!(
            body["error"]["message"].as_str().unwrap().contains(word),
            "{body}"
        );
    }
}

#[tokio::test]
async fn operations_are_listed_though_no_time_is_left_for_their_kinds() {
    let fixture = Fixture::with_shop(UnixNanos::now().get());
    let query = &fixture.state.query;
    let found = super::names::operations(query, "gateway", None, Duration::ZERO).await;
    let (operations, missing) = found.unwrap();
    assert!(!operations.is_empty());
    assert!(missing.unwrap().contains("kinds of some operations"));
}
