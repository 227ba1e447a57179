//! Zipkin's encodings against what OTLP's generated types read of them.

mod memory;
mod thrift;
mod v1;
mod v2;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;

use super::Encoding;

#[derive(Debug, Clone)]
struct Sent {
    service: String,
    span: Span,
}

impl Sent {
    /// Returns the attributes as `key=value`.
    fn attributes(&self) -> Vec<String> {
        let attributes = self.span.attributes.iter();
        attributes
            .map(|attribute| {
                let value = attribute.value.as_ref().and_then(|any| any.value.as_ref());
                let text = match value.unwrap() {
                    Value::StringValue(text) => text.clone(),
                    Value::BoolValue(truth) => truth.to_string(),
                    Value::IntValue(number) => number.to_string(),
                    Value::DoubleValue(number) => number.to_string(),
                    Value::BytesValue(bytes) => format!("{bytes:?}"),
                    other => panic!("{other:?}"),
                };
                format!("{}={text}", attribute.key)
            })
            .collect()
    }

    fn times_us(&self) -> (u64, u64) {
        let (start, end) = (self.span.start_time_unix_nano, self.span.end_time_unix_nano);
        (start / 1_000, end.saturating_sub(start) / 1_000)
    }

    fn events(&self) -> Vec<(u64, &str)> {
        let events = self.span.events.iter();
        events
            .map(|event| (event.time_unix_nano / 1_000, event.name.as_str()))
            .collect()
    }
}

fn request(encoding: Encoding, message: &[u8]) -> ExportTraceServiceRequest {
    let (bytes, _) = encoding.to_otlp(message).unwrap();
    ExportTraceServiceRequest::decode(&bytes[..]).unwrap()
}

fn sent(encoding: Encoding, message: &[u8]) -> Vec<Sent> {
    let resources = request(encoding, message).resource_spans.into_iter();
    resources.map(one).collect()
}

fn one(mut resource: ResourceSpans) -> Sent {
    let attributes = resource.resource.unwrap_or_default().attributes;
    let value = attributes
        .first()
        .and_then(|name| name.value.clone()?.value);
    let service = match value {
        Some(Value::StringValue(name)) => name,
        _ => String::new(),
    };
    let span = resource.scope_spans[0].spans.remove(0);
    Sent { service, span }
}

fn problem(encoding: Encoding, message: impl AsRef<[u8]>) -> String {
    encoding.to_otlp(message.as_ref()).unwrap_err().to_string()
}
