//! The part of `/metrics` about services: figures of their calls and operations from their spans, under the names that
//! Grafana's service map and RED tables ask Prometheus for.

use super::exposition::Exposition;
use crate::live::{EdgeFigures, LATENCY_DOUBLINGS, OperationFigures};
use crate::model::SpanKind;

/// Writes the calls between services.
pub(super) fn write_edges(text: &mut Exposition, edges: &[EdgeFigures]) {
    type Figure = fn(&EdgeFigures) -> u64;
    let families: [(&str, &str, Figure); 2] = [
        (
            "traces_service_graph_request_total",
            "Calls between two services.",
            |edge| edge.calls,
        ),
        (
            "traces_service_graph_request_failed_total",
            "Calls between two services of which either half failed.",
            |edge| edge.errors,
        ),
    ];
    for (name, help, figure) in families {
        text.family(name, "counter", help);
        for edge in edges {
            let labels = [
                ("client", edge.client.as_str()),
                ("server", edge.server.as_str()),
                (
                    "connection_type",
                    if edge.server_is_virtual {
                        "virtual_node"
                    } else {
                        ""
                    },
                ),
            ];
            text.sample(name, &labels, figure(edge));
        }
    }
}

/// Writes rate, errors and duration of operations.
pub(super) fn write_operations(text: &mut Exposition, operations: &[OperationFigures]) {
    let name = "traces_spanmetrics_calls_total";
    text.family(name, "counter", "Calls served, by operation.");
    for operation in operations {
        let total = &operation.total;
        let codes = [
            ("STATUS_CODE_UNSET", total.calls - total.errors),
            ("STATUS_CODE_ERROR", total.errors),
        ];
        for (code, count) in codes.into_iter().filter(|(_, count)| *count > 0) {
            text.sample(
                name,
                &operation_labels(operation, &[("status_code", code)]),
                count,
            );
        }
    }
    text.family(
        "traces_spanmetrics_latency",
        "histogram",
        "Duration of calls served, seconds.",
    );
    for operation in operations {
        write_latency(text, operation);
    }
}

fn write_latency(text: &mut Exposition, operation: &OperationFigures) {
    let total = &operation.total;
    let bucket = "traces_spanmetrics_latency_bucket";
    let exemplar = |number: usize| operation.exemplars.get(number)?.as_ref();
    for (number, (below, doubling)) in total.below.iter().zip(LATENCY_DOUBLINGS).enumerate() {
        let bound = ((1u64 << doubling) as f64 / 1e9).to_string();
        let labels = operation_labels(operation, &[("le", &bound)]);
        text.bucket(bucket, &labels, *below, exemplar(number));
    }
    let labels = operation_labels(operation, &[("le", "+Inf")]);
    text.bucket(bucket, &labels, total.calls, exemplar(total.below.len()));
    let labels = operation_labels(operation, &[]);
    text.sample(
        "traces_spanmetrics_latency_sum",
        &labels,
        total.nanos as f64 / 1e9,
    );
    text.sample("traces_spanmetrics_latency_count", &labels, total.calls);
}

fn operation_labels<'a>(
    operation: &'a OperationFigures,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let kind = match operation.kind {
        SpanKind::Server => "SPAN_KIND_SERVER",
        SpanKind::Consumer => "SPAN_KIND_CONSUMER",
        _ => "SPAN_KIND_INTERNAL",
    };
    let mut labels = vec![
        ("service", operation.service.as_str()),
        ("span_name", operation.operation.as_str()),
        ("span_kind", kind),
    ];
    labels.extend_from_slice(more);
    labels
}
