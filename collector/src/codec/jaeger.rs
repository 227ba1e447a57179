//! Converts traces from Jaeger's query service, or downloaded from its pages, to OTLP JSON. Tags that Jaeger
//! derives from a span's kind, status, scope and trace state become those fields again. Jaeger's times are
//! whole microseconds.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::otlp::DecodeError;

/// Jaeger's tags for a scope's name, now and before OpenTelemetry renamed libraries to scopes.
const SCOPE_NAME_TAGS: [&str; 2] = ["otel.scope.name", "otel.library.name"];
const SCOPE_VERSION_TAGS: [&str; 2] = ["otel.scope.version", "otel.library.version"];

/// A file from Jaeger: traces in `data`, or one trace.
#[derive(Debug, Deserialize)]
struct File<'a> {
    #[serde(borrow, default)]
    data: Vec<Trace<'a>>,
    #[serde(flatten, borrow)]
    alone: Trace<'a>,
}

#[derive(Debug, Deserialize)]
struct Trace<'a> {
    #[serde(borrow, default)]
    spans: Vec<Span<'a>>,
    #[serde(borrow, default)]
    processes: HashMap<Cow<'a, str>, Process<'a>>,
}

#[derive(Debug, Deserialize)]
struct Process<'a> {
    #[serde(borrow, default, rename = "serviceName")]
    service_name: Cow<'a, str>,
    #[serde(borrow, default)]
    tags: Vec<Tag<'a>>,
}

#[derive(Debug, Deserialize)]
struct Span<'a> {
    #[serde(borrow, rename = "traceID")]
    trace_id: Cow<'a, str>,
    #[serde(borrow, rename = "spanID")]
    span_id: Cow<'a, str>,
    #[serde(borrow, default, rename = "operationName")]
    operation_name: Cow<'a, str>,
    #[serde(borrow, default)]
    references: Vec<Reference<'a>>,
    #[serde(default, rename = "startTime")]
    start_micros: u64,
    #[serde(default, rename = "duration")]
    duration_micros: u64,
    #[serde(borrow, default)]
    tags: Vec<Tag<'a>>,
    #[serde(borrow, default)]
    logs: Vec<Log<'a>>,
    #[serde(borrow, default, rename = "processID")]
    process_id: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct Reference<'a> {
    #[serde(borrow, default, rename = "refType")]
    ref_type: Cow<'a, str>,
    #[serde(borrow, default, rename = "traceID")]
    trace_id: Cow<'a, str>,
    #[serde(borrow, default, rename = "spanID")]
    span_id: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct Log<'a> {
    #[serde(default)]
    timestamp: u64,
    #[serde(borrow, default)]
    fields: Vec<Tag<'a>>,
}

#[derive(Debug, Deserialize)]
struct Tag<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, default, rename = "type")]
    value_type: Cow<'a, str>,
    #[serde(default)]
    value: Json,
}

/// Converts Jaeger traces to an OTLP export request in JSON.
///
/// # Errors
/// When the text is not JSON of that shape.
pub(crate) fn to_otlp_json(text: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let file: File<'_> = serde_json::from_slice(text)?;
    let mut out = b"{\"resourceSpans\":[".to_vec();
    let mut is_first = true;
    for trace in file.data.iter().chain([&file.alone]) {
        for (process, spans) in by_process(trace) {
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            write_process(process, &spans, &mut out)?;
        }
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

/// Groups a trace's spans by their process; `None` for spans with an unknown process.
fn by_process<'t, 'a>(trace: &'t Trace<'a>) -> Vec<(Option<&'t Process<'a>>, Vec<&'t Span<'a>>)> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut processes: Vec<(Option<&Process<'a>>, Vec<&Span<'a>>)> = Vec::new();
    for span in &trace.spans {
        let place = *places.entry(&span.process_id).or_insert_with(|| {
            processes.push((trace.processes.get(&span.process_id), Vec::new()));
            processes.len() - 1
        });
        processes[place].1.push(span);
    }
    processes
}

fn write_process(
    process: Option<&Process<'_>>,
    spans: &[&Span<'_>],
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let mut attributes = Vec::new();
    if let Some(process) = process {
        attributes.push(json!({
            "key": "service.name",
            "value": { "stringValue": process.service_name },
        }));
        attributes.extend(process.tags.iter().map(attribute));
    }
    out.extend_from_slice(b"{\"resource\":{\"attributes\":");
    serde_json::to_writer(&mut *out, &attributes)?;
    out.extend_from_slice(b"},\"scopeSpans\":[");
    for (index, span) in spans.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, &scope_spans(span))?;
    }
    out.extend_from_slice(b"]}");
    Ok(())
}

fn scope_spans(span: &Span<'_>) -> Json {
    let text = |keys: &[&str]| {
        let tag = span
            .tags
            .iter()
            .find(|tag| keys.contains(&tag.key.as_ref()));
        tag.and_then(|tag| tag.value.as_str()).unwrap_or_default()
    };
    let start = span.start_micros.saturating_mul(1_000);
    let end = start.saturating_add(span.duration_micros.saturating_mul(1_000));
    let parent = parent(span);
    let links = span.references.iter().enumerate();
    let links: Vec<Json> = links
        .filter(|(index, _)| Some(*index) != parent)
        .map(|(_, reference)| link(reference))
        .collect();
    let attributes = span.tags.iter().filter(|tag| !is_made(&tag.key));
    json!({
        "scope": {
            "name": text(&SCOPE_NAME_TAGS),
            "version": text(&SCOPE_VERSION_TAGS),
        },
        "spans": [{
            "traceId": padded(&span.trace_id, 32),
            "spanId": padded(&span.span_id, 16),
            "parentSpanId": parent.map_or_else(String::new, |at| padded(&span.references[at].span_id, 16)),
            "traceState": text(&["w3c.tracestate"]),
            "name": span.operation_name,
            "kind": kind(text(&["span.kind"])),
            "startTimeUnixNano": start.to_string(),
            "endTimeUnixNano": end.to_string(),
            "attributes": attributes.map(attribute).collect::<Vec<_>>(),
            "events": span.logs.iter().map(event).collect::<Vec<_>>(),
            "links": links,
            "status": { "code": status(span), "message": text(&["otel.status_description"]) },
        }],
    })
}

/// Returns the parent's reference: the first child-of within the trace, else the first of any kind within it.
fn parent(span: &Span<'_>) -> Option<usize> {
    let is_within = |reference: &Reference<'_>| reference.trace_id == span.trace_id;
    let references = || span.references.iter();
    let is_child =
        |reference: &Reference<'_>| is_within(reference) && reference.ref_type == "CHILD_OF";
    references()
        .position(is_child)
        .or_else(|| references().position(is_within))
}

fn link(reference: &Reference<'_>) -> Json {
    let mut link = Map::new();
    link.insert("traceId".to_owned(), padded(&reference.trace_id, 32).into());
    link.insert("spanId".to_owned(), padded(&reference.span_id, 16).into());
    if reference.ref_type == "CHILD_OF" {
        let child_of =
            json!([{ "key": "opentracing.ref_type", "value": { "stringValue": "child_of" } }]);
        link.insert("attributes".to_owned(), child_of);
    }
    link.into()
}

fn event(log: &Log<'_>) -> Json {
    let is_name = |tag: &&Tag<'_>| tag.key == "event" && tag.value.is_string();
    let name = log.fields.iter().find(is_name);
    let name = name.and_then(|tag| tag.value.as_str()).unwrap_or("log");
    let fields = log.fields.iter().filter(|tag| !is_name(tag));
    json!({
        "timeUnixNano": log.timestamp.saturating_mul(1_000).to_string(),
        "name": name,
        "attributes": fields.map(attribute).collect::<Vec<_>>(),
    })
}

fn attribute(tag: &Tag<'_>) -> Json {
    let value = match (tag.value_type.as_ref(), &tag.value) {
        ("int64", Json::Number(number)) => json!({ "intValue": number.to_string() }),
        ("int64", Json::String(digits)) if digits.parse::<i64>().is_ok() => {
            json!({ "intValue": digits })
        }
        ("float64", Json::Number(number)) => json!({ "doubleValue": number }),
        ("binary", Json::String(base64)) => json!({ "bytesValue": base64 }),
        (_, Json::Bool(flag)) => json!({ "boolValue": flag }),
        (_, Json::Number(number)) if number.is_i64() => json!({ "intValue": number.to_string() }),
        (_, Json::Number(number)) => json!({ "doubleValue": number }),
        (_, Json::String(text)) => json!({ "stringValue": text }),
        (_, Json::Null) => json!({}),
        (_, other) => json!({ "stringValue": other.to_string() }),
    };
    json!({ "key": tag.key, "value": value })
}

/// Returns whether Jaeger derives this tag from a field of OTLP.
fn is_made(key: &str) -> bool {
    let is_scope = SCOPE_NAME_TAGS.contains(&key) || SCOPE_VERSION_TAGS.contains(&key);
    is_scope
        || matches!(
            key,
            "span.kind"
                | "otel.status_code"
                | "otel.status_description"
                | "error"
                | "w3c.tracestate"
        )
}

fn kind(word: &str) -> u8 {
    match word {
        "internal" => 1,
        "server" => 2,
        "client" => 3,
        "producer" => 4,
        "consumer" => 5,
        _ => 0,
    }
}

fn status(span: &Span<'_>) -> u8 {
    let tag = |key: &str| {
        span.tags
            .iter()
            .find(|tag| tag.key == key)
            .map(|tag| &tag.value)
    };
    let has_failed = matches!(tag("error"), Some(Json::Bool(true)))
        || matches!(tag("error"), Some(Json::String(text)) if text == "true");
    match tag("otel.status_code").and_then(Json::as_str) {
        Some("ERROR") => 2,
        _ if has_failed => 2,
        Some("OK") => 1,
        _ => 0,
    }
}

/// Restores leading zeros of an id, which Jaeger may omit.
fn padded(id: &str, digits: usize) -> String {
    format!("{id:0>digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::otlp::json::traces_to_protobuf;

    fn converted(text: &str) -> Json {
        let otlp = to_otlp_json(text.as_bytes()).expect("Jaeger's JSON");
        traces_to_protobuf(&otlp).expect("OTLP's JSON");
        serde_json::from_slice(&otlp).expect("JSON")
    }

    #[test]
    fn tags_of_jaeger_become_fields_again() {
        let otlp = converted(
            r#"{"data": [{"traceID": "ab", "spans": [{"traceID": "ab", "spanID": "2", "operationName": "GET /",
            "references": [{"refType": "FOLLOWS_FROM", "traceID": "cd", "spanID": "9"}, {"refType": "CHILD_OF", "traceID": "ab", "spanID": "1"}],
            "startTime": 5, "duration": 7, "processID": "p1", "tags": [{"key": "span.kind", "type": "string", "value": "client"},
            {"key": "error", "type": "bool", "value": true}, {"key": "big", "type": "int64", "value": "9007199254740993"}, {"key": "x", "type": "float64", "value": 2}],
            "logs": [{"timestamp": 6, "fields": [{"key": "event", "type": "string", "value": "exception"}, {"key": "n", "type": "int64", "value": 3}]}]}],
            "processes": {"p1": {"serviceName": "shop", "tags": []}}}], "total": 0, "errors": null}"#,
        );
        let resource = &otlp["resourceSpans"][0];
        assert_eq!(
            resource["resource"]["attributes"][0]["value"]["stringValue"],
            "shop"
        );
        let span = &resource["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], format!("{:0>32}", "ab"));
        assert_eq!(span["parentSpanId"], format!("{:0>16}", "1"));
        assert_eq!(
            (&span["kind"], &span["status"]["code"]),
            (&json!(3), &json!(2))
        );
        assert_eq!(span["endTimeUnixNano"], "12000");
        assert_eq!(span["links"][0]["spanId"], format!("{:0>16}", "9"));
        assert_eq!(
            span["attributes"][0]["value"]["intValue"],
            "9007199254740993"
        );
        assert_eq!(span["attributes"][1]["value"]["doubleValue"], 2);
        assert_eq!(span["attributes"].as_array().map(Vec::len), Some(2));
        assert_eq!(span["events"][0]["name"], "exception");
    }

    #[test]
    fn libraries_of_older_files_are_scopes() {
        let otlp = converted(
            r#"{"traceID": "1", "spans": [{"traceID": "1", "spanID": "1", "tags": [
            {"key": "otel.library.name", "type": "string", "value": "io.brave"},
            {"key": "otel.library.version", "type": "string", "value": "1.2"}]}], "processes": {}}"#,
        );
        let scope_spans = &otlp["resourceSpans"][0]["scopeSpans"][0];
        assert_eq!(
            scope_spans["scope"],
            json!({ "name": "io.brave", "version": "1.2" })
        );
        assert_eq!(scope_spans["spans"][0]["attributes"], json!([]));
    }

    #[test]
    fn one_trace_without_an_answer_around_it_is_read_too() {
        let alone = converted(
            r#"{"traceID": "1", "spans": [{"traceID": "1", "spanID": "1"}], "processes": {}}"#,
        );
        assert_eq!(alone["resourceSpans"].as_array().map(Vec::len), Some(1));
        assert_eq!(converted("{}")["resourceSpans"], json!([]));
        assert!(to_otlp_json(b"[1]").is_err() && to_otlp_json(b"{\"data\": 1}").is_err());
    }
}
