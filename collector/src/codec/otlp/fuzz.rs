//! What must hold for any bytes at all: the bodies of the fuzz targets, which tests run over mutated samples too.
//!
//! Each panics where a rule is broken, and only there.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
};
use prost::Message;

use super::json::{logs_to_protobuf, metrics_to_protobuf, traces_to_protobuf};
use super::{Limits, ResourceView, ScopeView, SpanView, SpanVisitor, decode};

/// A moment well after every sample.
const NOW: u64 = 1_800_000_000_000_000_000;

/// Walks the bytes and decodes everything that the walk accepts.
///
/// # Panics
/// Where a span breaks what `SpanView` promises.
pub fn walk_traces(bytes: &[u8]) {
    let mut checker = Checker::default();
    if let Ok(accepted) = super::walk_traces(bytes, &Limits::default(), NOW, &mut checker) {
        assert_eq!(
            accepted.spans, checker.spans,
            "every accepted span is visited"
        );
    }
    decode::value(bytes);
    decode::event(bytes);
    decode::link(bytes);
}

/// Transcodes the text as traces.
///
/// # Panics
/// Where what comes out is no protobuf.
pub fn json_traces(text: &[u8]) {
    if let Ok((bytes, _)) = traces_to_protobuf(text) {
        let walked = super::walk_traces(&bytes, &Limits::default(), NOW, &mut Checker::default());
        walked.expect("what the transcoder writes is protobuf");
    }
}

/// Transcodes the text as metrics.
///
/// # Panics
/// Where what comes out is no protobuf.
pub fn json_metrics(text: &[u8]) {
    if let Ok((bytes, _)) = metrics_to_protobuf(text) {
        let decoded = ExportMetricsServiceRequest::decode(&bytes[..]);
        decoded.expect("what the transcoder writes is protobuf");
    }
}

/// Transcodes the text as logs.
///
/// # Panics
/// Where what comes out is no protobuf.
pub fn json_logs(text: &[u8]) {
    if let Ok((bytes, _)) = logs_to_protobuf(text) {
        let decoded = ExportLogsServiceRequest::decode(&bytes[..]);
        decoded.expect("what the transcoder writes is protobuf");
    }
}

/// Holds every view against the limits.
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

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::sample::{Shop, curl_sample, demo_trace};

    const ROUNDS: usize = 4_000;

    /// Runs `target` over the seeds with bytes changed, cut out, doubled and swapped in at random.
    fn replay(seeds: &[Vec<u8>], target: fn(&[u8])) {
        let mut rng = Rng::with_seed(42);
        for _ in 0..ROUNDS {
            let mut bytes = seeds[rng.usize(..seeds.len())].clone();
            for _ in 0..rng.usize(1..5) {
                mutate(&mut bytes, &mut rng);
            }
            target(&bytes);
        }
        seeds.iter().for_each(|seed| target(seed));
    }

    fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
        if bytes.is_empty() {
            bytes.push(rng.u8(..));
        }
        let at = rng.usize(..bytes.len());
        let end = (at + rng.usize(1..20)).min(bytes.len());
        match rng.u8(..4) {
            0 => bytes[at] = rng.u8(..),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            _ => bytes.insert(at, [0, 0x7f, 0x80, 0xff, b'"', b'{', b'['][rng.usize(..7)]),
        }
    }

    #[test]
    fn mutated_requests_keep_the_rules() {
        let mut seeds: Vec<Vec<u8>> = Shop::new(5)
            .requests(200, 5)
            .map(|request| request.to_vec())
            .collect();
        seeds.push(demo_trace(NOW));
        replay(&seeds, walk_traces);
    }

    #[test]
    fn mutated_json_keeps_the_rules() {
        let metrics = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
            {"name":"a","sum":{"isMonotonic":true,"aggregationTemporality":2,"dataPoints":[
            {"asInt":"5","timeUnixNano":"1","exemplars":[{"asDouble":1.5,"traceId":"0a"}]}]}},
            {"name":"b","exponentialHistogram":{"dataPoints":[{"scale":-2,"count":3,
            "positive":{"offset":-1,"bucketCounts":["1",2]},"zeroThreshold":0.5}]}}]}]}]}"#;
        let logs = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityNumber":9,
            "eventName":"e","body":{"kvlistValue":{"values":[{"key":"k","value":{"arrayValue":
            {"values":[{"bytesValue":"AP8="},{"doubleValue":"NaN"},null]}}}]}}}]}]}]}"#;
        let traces = curl_sample().into_bytes();
        let seeds = [traces, metrics.to_vec(), logs.to_vec()];
        for target in [json_traces, json_metrics, json_logs] {
            replay(&seeds, target);
        }
    }
}
