//! Invariants of the decoders for arbitrary input: their fuzz targets.
//!
//! A target panics only when an invariant is broken.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
};
use prost::Message;

use super::circuits::{MAX_COUNT, Mapping, decode_metrics};
use super::eureka::{self, EurekaFormat};
use super::otlp::{
    Limits, ResourceView, ScopeView, SpanView, SpanVisitor, decode, read_logs, walk_traces,
};
use super::zipkin::Encoding;
use super::{Format, Signal, spring_boot_admin};
use crate::model::{Details, Registered, UnixNanos};

/// A time well after every sample.
const NOW: u64 = 1_800_000_000_000_000_000;

/// Walks the bytes and decodes everything that the walk accepts.
///
/// # Panics
/// When a span breaks a promise of `SpanView`.
pub(crate) fn traces_protobuf(bytes: &[u8]) {
    let mut checker = Checker::default();
    if let Ok(accepted) = walk_traces(bytes, &Limits::default(), NOW, &mut checker) {
        assert_eq!(
            accepted.spans, checker.spans,
            "every accepted span is visited"
        );
    }
    decode::value(bytes);
    decode::event(bytes);
    decode::link(bytes);
}

/// Reads the text as traces in OTLP JSON.
///
/// # Panics
/// When the output is not protobuf or exceeds the reserved size.
pub(crate) fn traces_json(text: &[u8]) {
    spans(Format::OtlpJson, text);
}

/// Reads the text as a registration of a client of Spring Boot Admin.
///
/// # Panics
/// When the password of its actuator is listed.
pub(crate) fn admin_registration(text: &[u8]) {
    let Ok(registration) = spring_boot_admin::read_registration(text) else {
        return;
    };
    let now = UnixNanos::new(NOW);
    let registered = Registered {
        registration,
        details: Details::default(),
        forced: None,
        since: now,
        changed: now,
        status_changed: now,
    };
    let metadata = &registered.registration.metadata;
    assert!(!metadata.contains_key("user.password"));
    let listed = spring_boot_admin::instance(&registered, "");
    assert_eq!(
        listed["registration"]["metadata"],
        serde_json::json!(metadata)
    );
}

/// Reads the text as a registration of Eureka, in JSON and in XML.
///
/// # Panics
/// When what was read from XML cannot be written and read again.
pub(crate) fn eureka_registration(text: &[u8]) {
    for format in [EurekaFormat::Json, EurekaFormat::Xml] {
        let Ok(registration) = eureka::read_registration(text, format, "SHOP") else {
            continue;
        };
        let now = UnixNanos::new(NOW);
        let registered = Registered {
            registration,
            details: Details::default(),
            forced: None,
            since: now,
            changed: now,
            status_changed: now,
        };
        let listed = eureka::instance(&registered, now, "ADDED", EurekaFormat::Xml);
        let mut written = String::new();
        eureka::put_xml(&mut written, "instance", &listed);
        let again = eureka::read_xml(&written);
        assert!(again.is_ok(), "what is listed can be read: {written}");
    }
    let read = std::str::from_utf8(text).ok().map(eureka::read_xml);
    if let Some(Ok(serde_json::Value::Object(root))) = read
        && let Some((name, value)) = root.iter().next()
    {
        let mut written = String::new();
        eureka::put_xml(&mut written, name, value);
        let again = eureka::read_xml(&written);
        assert!(again.is_ok(), "what is written can be read: {written}");
    }
}

/// Reads the text as metrics in OTLP JSON.
///
/// # Panics
/// As [`traces_json`].
pub(crate) fn metrics_json(text: &[u8]) {
    if let Some(bytes) = rewritten(Format::OtlpJson, Signal::Metrics, text) {
        let decoded = ExportMetricsServiceRequest::decode(&bytes[..]);
        decoded.expect("what the transcoder writes is protobuf");
    }
}

/// Reads the text before a zero byte as a file that maps metrics onto circuits, and by it the metrics in OTLP JSON behind.
///
/// # Panics
/// As [`traces_json`], and when a count exceeds its limit.
pub(crate) fn circuit_mapping(text: &[u8]) {
    let mut parts = text.splitn(2, |byte| *byte == 0);
    let [file, metrics] = [parts.next(), parts.next()].map(Option::unwrap_or_default);
    let Ok(mapping) = Mapping::read(&String::from_utf8_lossy(file)) else {
        return;
    };
    if let Some(bytes) = rewritten(Format::OtlpJson, Signal::Metrics, metrics) {
        let batch = decode_metrics(&bytes, &mapping);
        let batch = batch.expect("what the transcoder writes is protobuf");
        let counts = batch.observations.iter().flat_map(|one| &one.counts);
        counts.for_each(|point| assert!(point.count <= MAX_COUNT));
    }
}

/// Reads the text as logs in OTLP JSON, and then their records.
///
/// # Panics
/// As [`traces_json`], and when a record exceeds a limit.
pub(crate) fn logs_json(text: &[u8]) {
    if let Some(bytes) = rewritten(Format::OtlpJson, Signal::Logs, text) {
        let decoded = ExportLogsServiceRequest::decode(&bytes[..]);
        decoded.expect("what the transcoder writes is protobuf");
        let read = read_logs(&bytes, &Limits::default(), UnixNanos::new(NOW));
        let read = read.expect("what the transcoder writes is protobuf");
        for record in read.records {
            assert!(record.attributes.len() <= Limits::ATTRIBUTES);
            assert!(record.time.get() > 0, "every record has a time");
        }
    }
}

/// Reads the text as Zipkin JSON v2.
///
/// # Panics
/// As [`traces_json`].
pub(crate) fn zipkin_json_v2(text: &[u8]) {
    spans(Format::Zipkin(Encoding::JsonV2), text);
}

/// Reads the text as Zipkin JSON v1.
///
/// # Panics
/// As [`traces_json`].
pub(crate) fn zipkin_json_v1(text: &[u8]) {
    spans(Format::Zipkin(Encoding::JsonV1), text);
}

/// Reads the bytes as Zipkin protobuf.
///
/// # Panics
/// As [`traces_json`].
pub(crate) fn zipkin_protobuf(bytes: &[u8]) {
    spans(Format::Zipkin(Encoding::Protobuf), bytes);
}

/// Reads the bytes as Zipkin thrift.
///
/// # Panics
/// As [`traces_json`].
pub(crate) fn zipkin_thrift(bytes: &[u8]) {
    spans(Format::Zipkin(Encoding::Thrift), bytes);
}

/// Converts the message to OTLP; checks that it is protobuf and within the reserved size.
fn rewritten(format: Format, signal: Signal, message: &[u8]) -> Option<Vec<u8>> {
    let reserved = format.rewritten_bytes(message);
    let (bytes, _) = format.to_otlp(signal, message).ok()?;
    assert!(
        bytes.len() <= reserved,
        "{} bytes where {reserved} are reserved",
        bytes.len()
    );
    Some(bytes.into_owned())
}

fn spans(format: Format, message: &[u8]) {
    if rewritten(format, Signal::Traces, message).is_some() {
        let mut checker = Checker::default();
        let walked = format.walk_spans(message, &Limits::default(), NOW, &mut checker);
        let accepted = walked.expect("what the transcoder writes is protobuf");
        assert_eq!(
            accepted.spans, checker.spans,
            "every accepted span is visited"
        );
    }
}

/// Checks every view against the limits.
#[derive(Debug, Default)]
struct Checker {
    resource: bool,
    scope: bool,
    spans: u64,
}

impl SpanVisitor for Checker {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        assert!(!resource.service_name.is_empty());
        assert!(resource.attributes.len() <= Limits::ATTRIBUTES);
        self.resource = true;
        self.scope = false;
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        assert!(self.resource, "a resource comes before its scopes");
        assert!(scope.name.len() <= Limits::NAME_BYTES);
        self.scope = true;
    }

    fn span(&mut self, span: &SpanView<'_>) {
        assert!(self.scope, "a scope comes before its spans");
        assert!(span.trace_id != [0; 16] && span.span_id != [0; 8]);
        assert!(span.kind <= 5 && span.status_code <= 2);
        assert!(span.name.len() <= Limits::NAME_BYTES);
        assert!(span.attributes.len() <= Limits::ATTRIBUTES);
        for attribute in span.attributes {
            assert!(attribute.key.len() <= Limits::KEY_BYTES);
            decode::value_of_view(&attribute.value);
        }
        for event in span.events {
            assert!(event.len() <= Limits::EVENT_BYTES);
            decode::event(event);
        }
        for link in span.links {
            assert!(decode::link(link).trace_id != opentelemetry::TraceId::INVALID);
        }
        self.spans += 1;
    }
}
