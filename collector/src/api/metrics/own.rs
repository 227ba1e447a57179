//! The part of `/metrics` about the collector itself: its counters, gauges and the embedded store.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::exposition::Exposition;
use crate::counters::{Counter, Counters};
use crate::store::embedded::StoreStats;

/// A counter as it is shown: name without prefix, help, value.
type Shown<'a> = (&'static str, &'static str, &'a Counter);

/// Writes every counter and gauge.
pub(super) fn write_counters(text: &mut Exposition, counters: &Counters) {
    let totals = request_totals(counters).into_iter();
    for shown in totals.chain(circuit_totals(counters)) {
        write_total(text, &shown);
    }
    for (name, help, counts) in reasons(counters) {
        write_reasons(text, name, help, &counts);
    }
    for (name, help, gauge) in gauges(counters) {
        let name = format!("fusebox_collector_{name}");
        text.single(&name, "gauge", help, gauge.get());
    }
    let lag = counters.commit_lag_nanos.load(Ordering::Relaxed) as f64 / 1e9;
    let help = "From accepting the last block's first request to its sync.";
    text.single("fusebox_collector_commit_lag_seconds", "gauge", help, lag);
}

fn request_totals(counters: &Counters) -> [Shown<'_>; 7] {
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

fn circuit_totals(counters: &Counters) -> [Shown<'_>; 4] {
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

/// Counts by reason: name without prefix, help, counts.
type ByReason = (&'static str, &'static str, BTreeMap<&'static str, u64>);

fn reasons(counters: &Counters) -> [ByReason; 4] {
    [
        (
            "requests_refused",
            "Requests answered with an error.",
            counters.requests_refused.all(),
        ),
        (
            "connections_refused",
            "Connections closed without serving a request.",
            counters.connections_refused.all(),
        ),
        (
            "spans_refused",
            "Spans refused, one by one or with their block.",
            counters.spans_refused.all(),
        ),
        (
            "incidents",
            "Things dropped or repaired on the way.",
            counters.incidents.all(),
        ),
    ]
}

fn gauges(counters: &Counters) -> [Shown<'_>; 3] {
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

fn write_total(text: &mut Exposition, (name, help, counter): &Shown<'_>) {
    let name = format!("fusebox_collector_{name}_total");
    text.single(&name, "counter", help, counter.get());
}

fn write_reasons(
    text: &mut Exposition,
    name: &str,
    help: &str,
    counts: &BTreeMap<&'static str, u64>,
) {
    let name = format!("fusebox_collector_{name}_total");
    text.family(&name, "counter", help);
    for (reason, count) in counts {
        text.sample(&name, &[("reason", reason)], count);
    }
}

/// Writes what the embedded store holds.
pub(super) fn write_store(text: &mut Exposition, store: &StoreStats) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees: a counter that is added to the struct and forgotten here fails this test.
    #[test]
    fn every_counter_is_shown() {
        let counters = Counters::default();
        let mut text = Exposition::default();
        write_counters(&mut text, &counters);
        let text = text.into_text();
        let debug = format!("{counters:#?}");
        let fields = debug.lines().filter_map(|line| line.strip_prefix("    "));
        let fields = fields.filter(|line| line.starts_with(|first: char| first.is_alphabetic()));
        for (name, _) in fields.filter_map(|line| line.split_once(':')) {
            let shown = name.replace("_nanos", "_seconds");
            assert!(
                text.contains(&format!("TYPE fusebox_collector_{shown}")),
                "{name}"
            );
        }
    }
}
