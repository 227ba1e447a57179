//! `/metrics`: the collector's own counters, and what spans say of services under the names that Grafana's service
//! map and RED tables ask Prometheus for (Tempo's `traces_service_graph_*` and `traces_spanmetrics_*`).

use std::fmt::Write;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::metrics_influxdb;
use super::params::Params;
use super::{ApiState, Problem};
use crate::counters::{Counter, Counters, Reasons};
use crate::live::{EdgeFigures, LATENCY_DOUBLINGS, OperationFigures};
use crate::model::SpanKind;
use crate::store::embedded::StoreStats;

/// Prometheus text format 0.0.4.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Edges shown, busiest first: two lines each.
const EDGES_MAX: usize = 2_000;
/// Operations shown, busiest first: some twenty lines each.
const OPERATIONS_MAX: usize = 500;

/// `GET /metrics`
pub(super) async fn metrics(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Problem> {
    params.only(&[])?;
    let mut text = Exposition::default();
    write_counters(&mut text, &state.counters);
    write_store(&mut text, &state.query.store_stats());
    if let Some(influxdb) = &state.influxdb {
        metrics_influxdb::write(&mut text, &influxdb.report());
    }
    write_edges(&mut text, &state.query.edge_figures(EDGES_MAX));
    write_operations(&mut text, &state.query.operation_figures(OPERATIONS_MAX));
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text.0).into_response())
}

/// A counter as it is shown: name without prefix, help, value.
type Shown<'a, T> = (&'static str, &'static str, &'a T);

fn write_counters(text: &mut Exposition, counters: &Counters) {
    let totals = request_totals(counters).into_iter();
    for shown in totals.chain(circuit_totals(counters)) {
        write_total(text, &shown);
    }
    for shown in &reasons(counters) {
        write_reasons(text, shown);
    }
    for (name, help, gauge) in gauges(counters) {
        let name = format!("fusebox_collector_{name}");
        text.single(&name, "gauge", help, gauge.get());
    }
    let lag = counters.commit_lag_nanos.load(Ordering::Relaxed) as f64 / 1e9;
    let help = "From accepting the last block's first request to its sync.";
    text.single("fusebox_collector_commit_lag_seconds", "gauge", help, lag);
}

fn request_totals(counters: &Counters) -> [Shown<'_, Counter>; 7] {
    [
        (
            "requests_received",
            "Requests received.",
            &counters.requests_received,
        ),
        (
            "requests_accepted",
            "Requests answered with success, partial success included.",
            &counters.requests_accepted,
        ),
        (
            "bytes_received",
            "Body bytes received, as sent.",
            &counters.bytes_received,
        ),
        (
            "spans_received",
            "Spans found in readable requests.",
            &counters.spans_received,
        ),
        (
            "spans_written",
            "Spans durable on disk.",
            &counters.spans_written,
        ),
        (
            "bytes_written",
            "Bytes written to segments.",
            &counters.bytes_written,
        ),
        (
            "items_truncated",
            "Attributes, events and links cut by a limit.",
            &counters.items_truncated,
        ),
    ]
}

fn circuit_totals(counters: &Counters) -> [Shown<'_, Counter>; 4] {
    [
        (
            "metric_points_ignored",
            "Metric points that belong to no circuit.",
            &counters.metric_points_ignored,
        ),
        (
            "metric_points_circuit",
            "Metric points of circuits.",
            &counters.metric_points_circuit,
        ),
        (
            "log_records_ignored",
            "Log records that are no circuit event.",
            &counters.log_records_ignored,
        ),
        (
            "circuit_events",
            "Circuit events received.",
            &counters.circuit_events,
        ),
    ]
}

fn reasons(counters: &Counters) -> [Shown<'_, Reasons>; 4] {
    [
        (
            "requests_refused",
            "Requests answered with an error.",
            &counters.requests_refused,
        ),
        (
            "connections_refused",
            "Connections closed without serving a request.",
            &counters.connections_refused,
        ),
        (
            "spans_refused",
            "Spans refused, one by one or with their block.",
            &counters.spans_refused,
        ),
        (
            "incidents",
            "Things dropped or repaired on the way.",
            &counters.incidents,
        ),
    ]
}

fn gauges(counters: &Counters) -> [Shown<'_, Counter>; 3] {
    [
        (
            "connections_open",
            "Connections open on all listeners.",
            &counters.connections_open,
        ),
        (
            "spans_queued",
            "Spans accepted and not yet durable.",
            &counters.spans_queued,
        ),
        (
            "queue_bytes",
            "Request bytes held: received, inflated or waiting for a shard.",
            &counters.queue_bytes,
        ),
    ]
}

fn write_total(text: &mut Exposition, (name, help, counter): &Shown<'_, Counter>) {
    let name = format!("fusebox_collector_{name}_total");
    text.single(&name, "counter", help, counter.get());
}

fn write_reasons(text: &mut Exposition, (name, help, reasons): &Shown<'_, Reasons>) {
    let name = format!("fusebox_collector_{name}_total");
    text.family(&name, "counter", help);
    for (reason, count) in reasons.all() {
        text.sample(&name, &[("reason", reason)], count);
    }
}

fn write_store(text: &mut Exposition, store: &StoreStats) {
    let gauges = [
        ("segments", "Segments, open ones included.", store.segments),
        ("spans", "Spans in the store.", store.spans),
        ("bytes", "Bytes of the store on disk.", store.bytes),
    ];
    for (name, help, value) in gauges {
        text.single(
            &format!("fusebox_collector_store_{name}"),
            "gauge",
            help,
            value,
        );
    }
    if let Some(oldest) = store.oldest_unix_nanos {
        let name = "fusebox_collector_store_oldest_timestamp_seconds";
        text.single(
            name,
            "gauge",
            "Start of the oldest span.",
            oldest as f64 / 1e9,
        );
    }
}

fn write_edges(text: &mut Exposition, edges: &[EdgeFigures]) {
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

fn write_operations(text: &mut Exposition, operations: &[OperationFigures]) {
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
    for (below, doubling) in total.below.iter().zip(LATENCY_DOUBLINGS) {
        let bound = ((1u64 << doubling) as f64 / 1e9).to_string();
        text.sample(
            bucket,
            &operation_labels(operation, &[("le", &bound)]),
            below,
        );
    }
    text.sample(
        bucket,
        &operation_labels(operation, &[("le", "+Inf")]),
        total.calls,
    );
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

/// Text in Prometheus' format.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// Writes the head of a family; its samples must follow.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// Writes a family of one sample.
    pub(super) fn single(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        value: impl std::fmt::Display,
    ) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    pub(super) fn sample(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        value: impl std::fmt::Display,
    ) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            self.line(format_args!("{label}=\""));
            self.escaped(text);
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.line(format_args!(" {value}\n"));
    }

    fn escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees: a counter that is added to the struct and forgotten here fails this test.
    #[test]
    fn every_counter_is_shown() {
        let counters = Counters::default();
        let mut text = Exposition::default();
        write_counters(&mut text, &counters);
        let debug = format!("{counters:#?}");
        let fields = debug.lines().filter_map(|line| line.strip_prefix("    "));
        let fields = fields.filter(|line| line.starts_with(|first: char| first.is_alphabetic()));
        for (name, _) in fields.filter_map(|line| line.split_once(':')) {
            let shown = name.replace("_nanos", "_seconds");
            assert!(
                text.0.contains(&format!("TYPE fusebox_collector_{shown}")),
                "{name}"
            );
        }
    }

    #[test]
    fn labels_are_escaped() {
        let mut text = Exposition::default();
        text.sample("calls_total", &[("name", "a\\b\"c\nd"), ("other", "")], 7);
        assert_eq!(
            text.0,
            "calls_total{name=\"a\\\\b\\\"c\\nd\",other=\"\"} 7\n"
        );
    }
}
