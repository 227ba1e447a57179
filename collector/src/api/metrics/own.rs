//! The collector itself on `/metrics`: counters, gauges and the embedded store.

use std::sync::atomic::Ordering;

use super::exposition::Exposition;
use crate::counters::Counters;
use crate::handles::Handles;
use crate::receivers::Access;
use crate::store::embedded::StoreStats;
use crate::store::logs::LogStats;

/// Peers shown, most connections first.
const PEERS_MAX: usize = 20;

pub(super) fn write_counters(text: &mut Exposition, counters: &Counters) {
    for (name, help, value) in counters.totals() {
        let name = format!("fusebox_collector_{name}_total");
        text.single(&name, "counter", help, value);
    }
    for (name, help, counts) in counters.reasons() {
        let name = format!("fusebox_collector_{name}_total");
        text.family(&name, "counter", help);
        for (reason, count) in counts {
            text.sample(&name, &[("reason", reason)], count);
        }
    }
    for (name, help, value) in counters.gauges() {
        text.single(&format!("fusebox_collector_{name}"), "gauge", help, value);
    }
    let lag = counters.commit_lag_nanos.load(Ordering::Relaxed) as f64 / 1e9;
    let help = "From accepting the last block's first request to its sync.";
    text.single("fusebox_collector_commit_lag_seconds", "gauge", help, lag);
}

pub(super) fn write_connections(text: &mut Exposition, access: &Access, handles: Handles) {
    let peers = access.unauthenticated(PEERS_MAX);
    if !peers.is_empty() {
        let help = "Connections open that have not authenticated, by the address of the client.";
        let name = "fusebox_collector_connections_unauthenticated";
        text.family(name, "gauge", help);
        for (peer, connections) in peers {
            text.sample(name, &[("peer", &peer.to_string())], connections);
        }
    }
    write_denials(text, access);
    let of_process = [
        ("open", "File handles open.", handles.open()),
        ("max", "The limit of file handles.", handles.max()),
    ];
    for (name, help, value) in of_process {
        let name = format!("fusebox_collector_handles_{name}");
        // Neither is known without a limit, as on some systems.
        if let (Some(value), Some(_)) = (value, handles.max()) {
            text.single(&name, "gauge", help, value);
        }
    }
}

fn write_denials(text: &mut Exposition, access: &Access) {
    let denials = access.denials();
    if !denials.is_empty() {
        let help = "Requests turned away: the token missing, wrong or without the role, or a public host name, or a page.";
        let name = "fusebox_collector_requests_denied_total";
        text.family(name, "counter", help);
        for ((listener, reason), requests) in denials {
            let labels = [("listener", listener), ("reason", reason)];
            text.sample(name, &labels, requests);
        }
    }
    let guessers = access.guessers(PEERS_MAX);
    if !guessers.is_empty() {
        let help = "Wrong tokens, by the address of the client.";
        let name = "fusebox_collector_tokens_wrong_total";
        text.family(name, "counter", help);
        for (peer, wrong) in guessers {
            text.sample(name, &[("peer", &peer.to_string())], wrong);
        }
    }
}

/// Writes how many log records there are.
pub(super) fn write_logs(text: &mut Exposition, logs: &LogStats) {
    let gauges = [
        ("records", "Log records in the store.", logs.records),
        ("bytes", "Bytes of log records on disk.", logs.bytes),
    ];
    for (name, help, value) in gauges {
        let name = format!("fusebox_collector_store_log_{name}");
        text.single(&name, "gauge", help, value);
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
    if let Some(oldest) = store.oldest {
        let name = "fusebox_collector_store_oldest_timestamp_seconds";
        text.single(
            name,
            "gauge",
            "Start of the oldest span.",
            oldest.get() as f64 / 1e9,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees: this test fails if a counter of the struct is not listed here.
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
