//! Services on `/metrics`: figures of their calls and operations from spans, under the names that Grafana's
//! service map and RED tables query.

use super::exposition::Exposition;
use crate::live::{EdgeFigures, Exemplar, LATENCY_DOUBLINGS, OperationFigures, Total};
use crate::model::SpanKind;

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
            text.sample(name, &edge_labels(edge), figure(edge));
        }
    }
}

pub(super) fn write_edge_durations(text: &mut Exposition, edges: &[EdgeFigures]) {
    type Half = fn(&EdgeFigures) -> &Total;
    let families: [(&str, &str, Half); 2] = [
        (
            "traces_service_graph_request_server_seconds",
            "Duration of calls between two services, by the span of the server.",
            |edge| &edge.server_durations,
        ),
        (
            "traces_service_graph_request_client_seconds",
            "Duration of calls between two services, by the span of the client.",
            |edge| &edge.client_durations,
        ),
    ];
    for (name, help, half) in families {
        text.family(name, "histogram", help);
        let known = edges.iter().filter(|edge| half(edge).calls > 0);
        for edge in known {
            write_histogram(text, name, &edge_labels(edge), half(edge), &[]);
        }
    }
}

fn edge_labels(edge: &EdgeFigures) -> [(&str, &str); 3] {
    let connection = match edge.server_is_virtual {
        true => "virtual_node",
        false => "",
    };
    [
        ("client", edge.client.as_str()),
        ("server", edge.server.as_str()),
        ("connection_type", connection),
    ]
}

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
    let name = "traces_spanmetrics_latency";
    text.family(name, "histogram", "Duration of calls served, seconds.");
    for operation in operations {
        let labels = operation_labels(operation, &[]);
        let (total, exemplars) = (&operation.total, &operation.exemplars);
        write_histogram(text, name, &labels, total, exemplars);
    }
}

pub(super) fn write_histogram(
    text: &mut Exposition,
    name: &str,
    labels: &[(&str, &str)],
    total: &Total,
    exemplars: &[Option<Exemplar>],
) {
    let bucket = format!("{name}_bucket");
    let exemplar = |number: usize| exemplars.get(number)?.as_ref();
    let bounds = LATENCY_DOUBLINGS.map(|doubling| ((1u64 << doubling) as f64 / 1e9).to_string());
    let below = total.below.iter().copied().zip(bounds);
    let rest = (total.calls, "+Inf".to_owned());
    for (number, (below, bound)) in below.chain([rest]).enumerate() {
        let labels = [labels, &[("le", bound.as_str())]].concat();
        text.bucket(&bucket, &labels, below, exemplar(number));
    }
    let seconds = total.nanos as f64 / 1e9;
    text.sample(&format!("{name}_sum"), labels, seconds);
    text.sample(&format!("{name}_count"), labels, total.calls);
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
