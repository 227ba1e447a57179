//! Zipkin's JSON v2 to OTLP protobuf, span by span and without building the list: a span's fields are written as they
//! are read, so memory stays in proportion to the text. Names and tags are mapped as OpenTelemetry's Zipkin receiver
//! does, so that spans of Zipkin's exporters look like those of OTLP's.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::json_text;
use super::otlp::{DecodeError, Repairs, write};

/// OTLP's status codes.
const STATUS_OK: u64 = 1;
const STATUS_ERROR: u64 = 2;

/// Returns a list of spans as an `ExportTraceServiceRequest`, and what had to be changed; an empty text is an empty
/// list, as Zipkin has it.
///
/// A span without an id, or with neither a timestamp nor an annotation, is passed on incomplete: the walk rejects it.
///
/// # Errors
/// `DecodeError::Json`, with line and column, where the text is no list of spans.
pub fn to_otlp(json: &[u8]) -> Result<(Vec<u8>, Repairs), DecodeError> {
    if json.trim_ascii().is_empty() {
        return Ok((Vec::new(), Repairs::default()));
    }
    let (out, replaced) = json_text::read(json, |json| {
        let mut out = Vec::with_capacity(json.len());
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        deserializer.deserialize_seq(List(&mut out))?;
        deserializer.end()?;
        Ok(out)
    })?;
    let repairs = Repairs {
        replaced,
        ..Repairs::default()
    };
    Ok((out, repairs))
}

/// Writes a `ResourceSpans` for each span of a list.
struct List<'o>(&'o mut Vec<u8>);

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The words of Zipkin's server, which tools may look for.
        formatter.write_str("a JSON_V2 encoded list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut span = Span::default();
        while list.next_element_seed(&mut span)?.is_some() {
            span.write(self.0);
        }
        Ok(())
    }
}

/// A span being read; its buffers are reused for the next.
#[derive(Default)]
struct Span {
    /// The fields of the OTLP `Span` that are complete as soon as they are read.
    fields: Vec<u8>,
    service: String,
    scope: String,
    timestamp_us: u64,
    duration_us: u64,
    status_code: u64,
    status_message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    service_name: Option<String>,
    ipv4: Option<String>,
    ipv6: Option<String>,
    port: Option<u16>,
}

#[derive(Deserialize)]
struct Annotation {
    timestamp: Option<u64>,
    value: Option<String>,
}

impl<'de> DeserializeSeed<'de> for &mut Span {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Span {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a span")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.clear();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "traceId" => self.id::<16, _>(1, &map.next_value::<String>()?)?,
                "id" => self.id::<8, _>(2, &map.next_value::<String>()?)?,
                "parentId" => {
                    if let Some(parent) = map.next_value::<Option<String>>()? {
                        self.id::<8, _>(4, &parent)?;
                    }
                }
                "name" => {
                    let name = map.next_value::<Option<String>>()?.unwrap_or_default();
                    write::text(&mut self.fields, 5, &name);
                }
                "kind" => self.kind(map.next_value::<Option<String>>()?.as_deref())?,
                "timestamp" => self.timestamp_us = map.next_value::<Option<_>>()?.unwrap_or(0),
                "duration" => self.duration_us = map.next_value::<Option<_>>()?.unwrap_or(0),
                "localEndpoint" => self.local(map.next_value()?),
                "remoteEndpoint" => self.remote(map.next_value()?),
                "annotations" => map.next_value_seed(Annotations(&mut *self))?,
                "tags" => map.next_value_seed(Tags(&mut *self))?,
                "binaryAnnotations" => {
                    let problem = "Expected a JSON_V2 encoded list, but received: JSON_V1";
                    return Err(A::Error::custom(problem));
                }
                // `debug` and `shared` are of no use to the store, unknown fields neither.
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl Span {
    fn clear(&mut self) {
        self.fields.clear();
        self.service.clear();
        self.scope.clear();
        self.status_message.clear();
        (self.timestamp_us, self.duration_us, self.status_code) = (0, 0, 0);
    }

    /// Writes what was read as one `ResourceSpans`.
    fn write(&self, out: &mut Vec<u8>) {
        let start = self.timestamp_us.saturating_mul(1_000);
        let end = start.saturating_add(self.duration_us.saturating_mul(1_000));
        write::message(out, 1, |out| {
            if !self.service.is_empty() {
                write::message(out, 1, |out| {
                    attribute(out, 1, "service.name", &self.service)
                });
            }
            write::message(out, 2, |out| {
                if !self.scope.is_empty() {
                    write::message(out, 1, |out| write::text(out, 1, &self.scope));
                }
                write::message(out, 2, |out| {
                    out.extend_from_slice(&self.fields);
                    if start > 0 {
                        write::fixed64(out, 7, start);
                        write::fixed64(out, 8, end);
                    }
                    self.write_status(out);
                });
            });
        });
    }

    fn write_status(&self, out: &mut Vec<u8>) {
        if self.status_code > 0 {
            write::message(out, 15, |out| {
                write::text(out, 2, &self.status_message);
                write::varint(out, 3, self.status_code);
            });
        }
    }

    /// Writes an id, padded on the left; a trace id may have half the digits.
    fn id<const BYTES: usize, E: Error>(&mut self, field: u32, digits: &str) -> Result<(), E> {
        let id = read_id::<BYTES>(digits)
            .ok_or_else(|| E::custom("an id should be lower-hex encoded with no prefix"))?;
        write::bytes(&mut self.fields, field, &id);
        Ok(())
    }

    fn kind<E: Error>(&mut self, kind: Option<&str>) -> Result<(), E> {
        let number = match kind {
            None => return Ok(()),
            Some("SERVER") => 2,
            Some("CLIENT") => 3,
            Some("PRODUCER") => 4,
            Some("CONSUMER") => 5,
            Some(_) => {
                return Err(E::custom(
                    "`kind` must be CLIENT, SERVER, PRODUCER or CONSUMER",
                ));
            }
        };
        write::varint(&mut self.fields, 6, number);
        Ok(())
    }

    fn local(&mut self, endpoint: Option<Endpoint>) {
        let Some(endpoint) = endpoint else { return };
        self.address(&endpoint, "network.local.address", "network.local.port");
        self.service = endpoint.service_name.unwrap_or_default();
    }

    fn remote(&mut self, endpoint: Option<Endpoint>) {
        let Some(endpoint) = endpoint else { return };
        self.address(&endpoint, "network.peer.address", "network.peer.port");
        if let Some(name) = endpoint.service_name.filter(|name| !name.is_empty()) {
            attribute(&mut self.fields, 9, "peer.service", &name);
        }
    }

    fn address(&mut self, endpoint: &Endpoint, address_key: &str, port_key: &str) {
        if let Some(address) = endpoint.ipv4.as_ref().or(endpoint.ipv6.as_ref()) {
            attribute(&mut self.fields, 9, address_key, address);
        }
        if let Some(port) = endpoint.port.filter(|port| *port > 0) {
            key_value(&mut self.fields, 9, port_key, |out| {
                write::varint(out, 3, port.into())
            });
        }
    }

    /// Writes an annotation as an event. Without a timestamp of its own, a span begins with its first annotation.
    fn annotation(&mut self, annotation: &Annotation) {
        let at_us = annotation.timestamp.unwrap_or(0);
        if self.timestamp_us == 0 {
            self.timestamp_us = at_us;
        }
        write::message(&mut self.fields, 11, |out| {
            if at_us > 0 {
                write::fixed64(out, 1, at_us.saturating_mul(1_000));
            }
            write::text(out, 2, annotation.value.as_deref().unwrap_or_default());
        });
    }

    /// Writes a tag as an attribute, or as the field that OpenTelemetry's exporters write it from.
    fn tag(&mut self, key: &str, value: &str) {
        match (key, value) {
            // Zipkin takes any value for a failure, `false` too.
            ("error", _) => {
                self.status_code = STATUS_ERROR;
                if value != "true" {
                    value.clone_into(&mut self.status_message);
                }
            }
            ("otel.status_code", "ERROR") => self.status_code = STATUS_ERROR,
            ("otel.status_code", "OK") => self.status_code = STATUS_OK,
            ("otel.scope.name" | "otel.library.name", _) => value.clone_into(&mut self.scope),
            ("w3c.tracestate", _) => write::text(&mut self.fields, 3, value),
            _ => attribute(&mut self.fields, 9, key, value),
        }
    }
}

/// Writes the annotations of a span.
struct Annotations<'s>(&'s mut Span);

impl<'de> DeserializeSeed<'de> for Annotations<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Annotations<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of annotations")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(annotation) = list.next_element()? {
            self.0.annotation(&annotation);
        }
        Ok(())
    }
}

/// Writes the tags of a span.
struct Tags<'s>(&'s mut Span);

impl<'de> DeserializeSeed<'de> for Tags<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tags<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tags")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut tags: A) -> Result<(), A::Error> {
        while let Some((key, value)) = tags.next_entry::<String, Option<String>>()? {
            self.0.tag(&key, value.as_deref().unwrap_or_default());
        }
        Ok(())
    }
}

/// Writes an attribute that is text.
fn attribute(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    key_value(out, field, key, |out| {
        write::bytes(out, 1, value.as_bytes())
    });
}

fn key_value(out: &mut Vec<u8>, field: u32, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    write::message(out, field, |out| {
        write::text(out, 1, key);
        write::message(out, 2, value);
    });
}

/// Reads one to `2 * BYTES` digits of lower hex.
fn read_id<const BYTES: usize>(digits: &str) -> Option<[u8; BYTES]> {
    if digits.is_empty() || digits.len() > 2 * BYTES {
        return None;
    }
    let mut id = [0; BYTES];
    for (place, digit) in digits.bytes().rev().enumerate() {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        id[BYTES - 1 - place / 2] |= value << (4 * (place % 2));
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn decoded(json: &str) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest::decode(&to_otlp(json.as_bytes()).unwrap().0[..]).unwrap()
    }

    fn problem(json: &str) -> String {
        to_otlp(json.as_bytes()).unwrap_err().to_string()
    }

    /// The example of Zipkin's API description.
    const SPAN: &str = r#"{"id":"352bff9a74ca9ad2","traceId":"5af7183fb1d4cf5f","parentId":"6b221d5bc9e6496c",
        "name":"get /api","timestamp":1556604172355737,"duration":1431,"kind":"SERVER",
        "localEndpoint":{"serviceName":"backend","ipv4":"192.168.99.1","port":3306},
        "remoteEndpoint":{"serviceName":"web","ipv4":"172.19.0.2","port":58648},"shared":true,
        "annotations":[{"timestamp":1556604172355800,"value":"cache miss"}],
        "tags":{"http.method":"GET","error":"boom","otel.scope.name":"brave"}}"#;

    #[test]
    fn a_span_becomes_one_of_otlp() {
        let request = decoded(&format!("[{SPAN}]"));
        let resource = &request.resource_spans[0];
        let service = &resource.resource.as_ref().unwrap().attributes[0];
        assert_eq!(service.key, "service.name");
        let scope = &resource.scope_spans[0];
        assert_eq!(scope.scope.as_ref().unwrap().name, "brave");
        let span = &scope.spans[0];
        assert_eq!(span.trace_id[..8], [0; 8]);
        assert_eq!(
            span.trace_id[8..],
            [0x5a, 0xf7, 0x18, 0x3f, 0xb1, 0xd4, 0xcf, 0x5f]
        );
        assert_eq!(span.parent_span_id[0], 0x6b);
        assert_eq!((span.name.as_str(), span.kind), ("get /api", 2));
        assert_eq!(span.start_time_unix_nano, 1_556_604_172_355_737_000);
        assert_eq!(
            span.end_time_unix_nano - span.start_time_unix_nano,
            1_431_000
        );
        assert_eq!(span.events[0].name, "cache miss");
        let status = span.status.as_ref().unwrap();
        assert_eq!((status.code, status.message.as_str()), (2, "boom"));
        let attributes: Vec<_> = span
            .attributes
            .iter()
            .map(
                |attribute| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
                    Value::StringValue(text) => format!("{}={text}", attribute.key),
                    Value::IntValue(number) => format!("{}={number}", attribute.key),
                    other => panic!("{other:?}"),
                },
            )
            .collect();
        let expected = [
            "network.local.address=192.168.99.1",
            "network.local.port=3306",
            "network.peer.address=172.19.0.2",
            "network.peer.port=58648",
            "peer.service=web",
            "http.method=GET",
        ];
        assert_eq!(attributes, expected);
    }

    #[test]
    fn nulls_and_unknown_fields_are_ignored() {
        let json = r#"[{"traceId":"1","id":"2","parentId":null,"name":null,"kind":null,"tags":null,"annotations":null,
            "localEndpoint":null,"remoteEndpoint":{"serviceName":null},"new":[{}],"timestamp":null}]"#;
        let request = decoded(json);
        let span = &request.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(span.span_id, [0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(span.start_time_unix_nano, 0);
        assert!(span.attributes.is_empty());
        assert_eq!(to_otlp(b" \n").unwrap().0, b"");
        assert_eq!(to_otlp(b"[]").unwrap().0, b"");
    }

    #[test]
    fn an_annotation_can_tell_when_a_span_began() {
        let json = r#"[{"traceId":"1","id":"2","annotations":[{"timestamp":7,"value":"sr"}]}]"#;
        let span = &decoded(json).resource_spans[0].scope_spans[0].spans[0].clone();
        assert_eq!(span.start_time_unix_nano, 7_000);
    }

    #[test]
    fn what_is_no_list_of_spans_is_refused() {
        assert!(problem("{}").contains("expected a JSON_V2 encoded list"));
        let v1 = r#"[{"traceId":"1","id":"2","binaryAnnotations":[]}]"#;
        assert!(problem(v1).contains("Expected a JSON_V2 encoded list, but received: JSON_V1"));
        let upper = r#"[{"traceId":"ABC"}]"#;
        assert!(problem(upper).contains("lower-hex encoded with no prefix"));
        assert!(problem(r#"[{"id":"00000000000000001"}]"#).contains("lower-hex"));
        assert!(problem(r#"[{"kind":"LOCAL"}]"#).contains("`kind` must be"));
        assert!(problem(&format!("[{SPAN}")).contains("EOF"));
        assert!(problem(&format!("[{SPAN}] x")).contains("trailing"));
    }

    proptest! {
        /// Guarantees: what is written is never more than the bytes that are reserved for it.
        #[test]
        fn memory_is_in_proportion_to_the_text(tags in proptest::collection::vec("[a-b]{0,1}", 0..50), spans in 1..50_usize) {
            let tags: Vec<String> = tags.iter().map(|tag| format!("\"{tag}\":\"\"")).collect();
            let span = format!("{{\"traceId\":\"1\",\"id\":\"1\",\"tags\":{{{}}}}}", tags.join(","));
            for span in [span.as_str(), "{}", r#"{"annotations":[{},{},{},{},{},{},{},{}]}"#, r#"{"id":"1"}"#] {
                let json = format!("[{}]", vec![span; spans].join(","));
                let written = to_otlp(json.as_bytes()).unwrap().0.len();
                prop_assert!(written <= super::super::Format::ZipkinJson.rewritten_bytes(json.as_bytes()), "{span}");
            }
        }

        #[test]
        fn noise_never_panics(noise in "[\\[\\]{}\":,a-z0-9]{0,60}") {
            let _ = to_otlp(noise.as_bytes());
        }
    }
}
