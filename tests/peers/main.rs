//! One load against the release binary and against other trace back ends, measured alike, as one table and a plot.
//!
//! `peers SPANS PEER…`, where a peer is `fusebox`, `fusebox,gzip`, or a running one by what is known of it:
//! `name=NAME,otlp=http://HOST:4318,pid=N,data=FOLDER,by_id=http://…/{id},search=http://…,restart=COMMAND`. Only `otlp` and
//! `pid` are needed; what cannot be measured without the others is a dash. A peer is killed only where `restart` says how
//! it comes back.

#![expect(clippy::print_stdout, reason = "a table is what this program is for")]

mod ask;
mod kill;
mod peer;
mod table;

use std::time::Duration;

use fusebox_dashboard::load::{self, LoadOptions};

use peer::Peer;
use table::Row;

/// How long work that follows a load is counted as the load's: merging, indexing, flushing.
const BACKGROUND: Duration = Duration::from_secs(20);
/// Connections of the load, each with a request in flight.
const CONNECTIONS: usize = 4;

#[tokio::main]
async fn main() {
    let mut words = std::env::args().skip(1);
    let spans = words.next().and_then(|word| word.parse().ok());
    let spans: u64 = spans.expect("usage: peers SPANS PEER…");
    let mut rows = Vec::new();
    for (number, word) in words.enumerate() {
        let mut peer = Peer::begin(&word).await;
        rows.push(measure(&mut peer, spans, number as u64 + 1).await);
        peer.end().await;
    }
    table::print(&rows);
}

/// Measures one peer; the seed decides which traces it gets.
async fn measure(peer: &mut Peer, spans: u64, seed: u64) -> Row {
    let (cpu, bytes) = (peer.cpu_seconds(), peer.data_bytes());
    let options = LoadOptions {
        endpoint: peer.otlp.clone(),
        spans,
        connections: CONNECTIONS,
        gzip: peer.is_gzip,
        seed,
        ..LoadOptions::default()
    };
    let report = load::run(options).await.expect("the peer takes spans");
    let at_once = peer.cpu_seconds() - cpu;
    tokio::time::sleep(BACKGROUND).await;
    let settled = peer.cpu_seconds() - cpu;
    let stored = bytes.and_then(|before| Some(peer.data_bytes()?.saturating_sub(before)));
    let accepted = report.spans as f64;
    Row {
        name: peer.name.clone(),
        at_once: accepted / at_once,
        settled: accepted / settled,
        bytes_per_span: stored.map(|bytes| bytes as f64 / accepted),
        peak_mib: peer.peak_mib(),
        by_id: ask::by_id(peer, seed).await,
        search: ask::search(peer).await,
        missing: kill::spans_missing(peer, seed).await,
    }
}
