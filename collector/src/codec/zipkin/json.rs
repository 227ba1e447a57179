//! Zipkin JSON v2 and v1, read span by span without building the list: memory is proportional to the text.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::json_text;
use super::super::otlp::{DecodeError, Repairs};
use super::loose::{Number, Text, Typed};
use super::read::{Entries, Fields, ListOf, Object};
use super::span::{Endpoint, Kind, Span};
use super::v1;

/// The message of Zipkin's server, which tools may look for.
const NOT_V2: &str = "Expected a JSON_V2 encoded list, but received: JSON_V1";
const NOT_V1: &str = "Expected a JSON_V1 encoded list, but received: JSON_V2";

/// Converts a list of v2 spans to an `ExportTraceServiceRequest`; an empty text is an empty list, as for
/// Zipkin.
///
/// # Errors
/// `DecodeError::Json`, with line and column, if the text is not a list of spans.
pub(super) fn v2_to_otlp(json: &[u8]) -> Result<(Vec<u8>, Repairs), DecodeError> {
    to_otlp::<Span>(json)
}

/// Converts a list of v1 spans to an `ExportTraceServiceRequest`.
///
/// # Errors
/// As [`v2_to_otlp`].
pub(super) fn v1_to_otlp(json: &[u8]) -> Result<(Vec<u8>, Repairs), DecodeError> {
    to_otlp::<SpanV1>(json)
}

fn to_otlp<S: ReadSpan>(json: &[u8]) -> Result<(Vec<u8>, Repairs), DecodeError> {
    if json.trim_ascii().is_empty() {
        return Ok((Vec::new(), Repairs::default()));
    }
    let (list, replaced) = json_text::read(json, |json| {
        let mut list = List::<S> {
            out: Vec::with_capacity(json.len()),
            span: S::default(),
            left_out: 0,
        };
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        deserializer.deserialize_seq(&mut list)?;
        deserializer.end()?;
        Ok(list)
    })?;
    let repairs = Repairs {
        replaced,
        left_out: list.left_out,
        empty: None,
    };
    Ok((list.out, repairs))
}

/// A span that can be read and then written.
trait ReadSpan: Fields + Default {
    /// The name of the list in errors.
    const LIST: &'static str;
    /// Writes the span and clears it for the next one; returns how many values were left out.
    fn finish(&mut self, out: &mut Vec<u8>) -> u64;
}

struct List<S> {
    out: Vec<u8>,
    span: S,
    left_out: u64,
}

impl<'de, S: ReadSpan> Visitor<'de> for &mut List<S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(S::LIST)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(OneSpan(&mut self.span))?.is_some() {
            self.left_out += self.span.finish(&mut self.out);
        }
        Ok(())
    }
}

/// Reads a span, which must be an object.
struct OneSpan<'s, S>(&'s mut S);

impl<'de, S: ReadSpan> DeserializeSeed<'de> for OneSpan<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(Object(self.0))
    }
}

impl ReadSpan for Span {
    const LIST: &'static str = "a JSON_V2 encoded list";

    fn finish(&mut self, out: &mut Vec<u8>) -> u64 {
        self.write(out);
        self.clear();
        0
    }
}

impl Fields for Span {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "traceId" => self.trace_id = id(&map.next_value()?)?,
            "id" => self.id = id(&map.next_value()?)?,
            "parentId" => self.parent_id = id(&map.next_value()?)?,
            "name" => self.name(&map.next_value::<Text<'_>>()?.0),
            "kind" => self.kind = kind(&map.next_value::<Text<'_>>()?.0)?,
            "timestamp" => self.timestamp_us = map.next_value::<Number>()?.0,
            "duration" => self.duration_us = map.next_value::<Number>()?.0,
            "localEndpoint" => map.next_value_seed(Object(&mut self.local))?,
            "remoteEndpoint" => map.next_value_seed(Object(&mut self.remote))?,
            "annotations" => map.next_value_seed(ListOf::new(|annotation: Annotation| {
                self.annotation(annotation.at_us, &annotation.value);
            }))?,
            "tags" => {
                map.next_value_seed(Entries(|key: &str, value: &str| self.tag(key, value)))?
            }
            "binaryAnnotations" => return Err(A::Error::custom(NOT_V2)),
            "debug" => self.debug = map.next_value::<Text<'_>>()?.0 == "true",
            // `shared` is not stored, nor are unknown fields.
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

impl Fields for Endpoint {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "serviceName" => self.service_name = map.next_value::<Text<'_>>()?.0.into_owned(),
            "ipv4" | "ipv6" => {
                let Text(address) = map.next_value()?;
                if !address.is_empty() && (name == "ipv4" || self.address.is_empty()) {
                    self.address = address.into_owned();
                }
            }
            "port" => self.port = u16::try_from(map.next_value::<Number>()?.0).unwrap_or(0),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

#[derive(Default)]
struct Annotation {
    at_us: u64,
    value: String,
}

impl Fields for Annotation {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "timestamp" => self.at_us = map.next_value::<Number>()?.0,
            "value" => self.value = map.next_value::<Text<'_>>()?.0.into_owned(),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

#[derive(Default)]
struct SpanV1 {
    span: v1::Span,
    left_out: u64,
}

impl ReadSpan for SpanV1 {
    const LIST: &'static str = "a JSON_V1 encoded list";

    fn finish(&mut self, out: &mut Vec<u8>) -> u64 {
        let Self { span, left_out } = std::mem::take(self);
        span.write(out);
        left_out
    }
}

impl Fields for SpanV1 {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let Self { span, left_out } = self;
        match name {
            "traceId" => span.trace_id = id(&map.next_value()?)?,
            "id" => span.id = id(&map.next_value()?)?,
            "parentId" => span.parent_id = id(&map.next_value()?)?,
            "name" => span.name = map.next_value::<Text<'_>>()?.0.into_owned(),
            "timestamp" => span.timestamp_us = map.next_value::<Number>()?.0,
            "duration" => span.duration_us = map.next_value::<Number>()?.0,
            "annotations" => map.next_value_seed(ListOf::new(|annotation| {
                *left_out += span.add_annotation(annotation);
            }))?,
            "binaryAnnotations" => map.next_value_seed(ListOf::new(|annotation| {
                *left_out += span.add_binary_annotation(annotation);
            }))?,
            "tags" | "localEndpoint" => return Err(A::Error::custom(NOT_V1)),
            "debug" => span.debug = map.next_value::<Text<'_>>()?.0 == "true",
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

impl Fields for v1::Annotation {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "timestamp" => self.at_us = map.next_value::<Number>()?.0,
            "value" => self.value = map.next_value::<Text<'_>>()?.0.into_owned(),
            "endpoint" => self.endpoint = endpoint(map)?,
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

impl Fields for v1::BinaryAnnotation {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "key" => self.key = map.next_value::<Text<'_>>()?.0.into_owned(),
            "value" => self.value = map.next_value::<Typed>()?.0,
            "endpoint" => self.endpoint = endpoint(map)?,
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

/// Reads an endpoint; null and an empty one are absent.
fn endpoint<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Endpoint>, A::Error> {
    let mut endpoint = Endpoint::default();
    map.next_value_seed(Object(&mut endpoint))?;
    Ok((endpoint != Endpoint::default()).then_some(endpoint))
}

fn kind<E: Error>(kind: &str) -> Result<Option<Kind>, E> {
    Ok(Some(match kind {
        "" => return Ok(None),
        "SERVER" => Kind::Server,
        "CLIENT" => Kind::Client,
        "PRODUCER" => Kind::Producer,
        "CONSUMER" => Kind::Consumer,
        _ => {
            return Err(E::custom(
                "`kind` must be CLIENT, SERVER, PRODUCER or CONSUMER",
            ));
        }
    }))
}

/// Reads one to `2 * BYTES` lower-case hex digits, padded on the left; an empty id is absent.
fn id<const BYTES: usize, E: Error>(Text(digits): &Text<'_>) -> Result<[u8; BYTES], E> {
    let wrong = || E::custom("an id should be lower-hex encoded with no prefix");
    if digits.len() > 2 * BYTES {
        return Err(wrong());
    }
    let mut id = [0; BYTES];
    for (place, digit) in digits.bytes().rev().enumerate() {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return Err(wrong()),
        };
        id[BYTES - 1 - place / 2] |= value << (4 * (place % 2));
    }
    Ok(id)
}
