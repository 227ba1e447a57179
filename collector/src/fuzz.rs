//! The fuzz targets by name: invariants for any external bytes and any file.
//!
//! `collector/fuzz` runs them under libFuzzer, with seeds for each. The tests here run every target on its
//! seeds and on mutations of them. An input that once broke an invariant stays as a seed.

use crate::{actuator, api, codec, pipeline, receivers, store};

/// A target: panics when an invariant is broken.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Target); 30] = [
    ("traces_protobuf", codec::fuzz::traces_protobuf),
    ("traces_json", codec::fuzz::traces_json),
    ("metrics_protobuf", pipeline::fuzz::metrics),
    ("metrics_json", codec::fuzz::metrics_json),
    ("circuit_mapping", codec::fuzz::circuit_mapping),
    ("logs_protobuf", pipeline::fuzz::logs),
    ("logs_json", codec::fuzz::logs_json),
    ("zipkin_json_v2", codec::fuzz::zipkin_json_v2),
    ("zipkin_json_v1", codec::fuzz::zipkin_json_v1),
    ("zipkin_protobuf", codec::fuzz::zipkin_protobuf),
    ("zipkin_thrift", codec::fuzz::zipkin_thrift),
    ("eureka_registration", codec::fuzz::eureka_registration),
    ("admin_registration", codec::fuzz::admin_registration),
    ("actuator_answer", actuator::fuzz),
    ("hystrix_stream", receivers::fuzz::hystrix_stream),
    ("bodies", receivers::fuzz::bodies),
    ("grpc_frame", receivers::fuzz::grpc_frame),
    ("grpc_web_text", receivers::fuzz::grpc_web_text),
    ("control_poll", receivers::fuzz::control_poll),
    ("segment_file", store::fuzz::segment_file),
    ("segment_block", store::fuzz::segment_block),
    ("segment_footer", store::fuzz::segment_footer),
    ("series_block", store::fuzz::series_block),
    ("logs_block", store::fuzz::logs_block),
    ("query", api::fuzz::query),
    ("query_jaeger", api::fuzz::query_jaeger),
    ("query_zipkin", api::fuzz::query_zipkin),
    ("filter", api::fuzz::filter),
    ("traceql", api::fuzz::traceql),
    ("words", api::fuzz::words),
];

/// Runs a target by name.
///
/// # Panics
/// When an invariant is broken, or there is no such target.
pub fn run(name: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    let (_, target) = found.expect("the binaries are named as the targets");
    target(input);
}

#[cfg(test)]
mod tests;
