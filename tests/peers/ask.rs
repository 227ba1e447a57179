//! Queries to a peer: traces by id, and a search, one after the other.

use std::time::Duration;

use fusebox_collector::sample::Shop;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::time::Instant;

use crate::peer::Peer;

/// Queries of each kind; the first tenth warms up.
const QUESTIONS: usize = 200;
const WARM_UP: usize = QUESTIONS / 10;

/// The median and the 99th percentile.
pub(crate) type Latency = (Duration, Duration);

/// Asks for traces that a load with that seed sent.
pub(crate) async fn by_id(peer: &Peer, seed: u64) -> Option<Latency> {
    let url = peer.by_id.as_deref()?;
    let ids = ids_of(seed, QUESTIONS);
    ask(ids.iter().map(|id| url.replace("{id}", id))).await
}

/// Asks the same search again and again.
pub(crate) async fn search(peer: &Peer) -> Option<Latency> {
    let url = peer.search.clone()?;
    ask(std::iter::repeat_n(url, QUESTIONS)).await
}

async fn ask(urls: impl Iterator<Item = String>) -> Option<Latency> {
    let client = reqwest::Client::new();
    let mut took = Vec::new();
    for url in urls {
        let began = Instant::now();
        let answer = client.get(&url).send().await.ok()?;
        // A query that is refused or finds nothing is no measurement.
        let answer = answer.error_for_status().ok()?;
        answer.bytes().await.ok()?;
        took.push(began.elapsed());
    }
    let mut took = took.split_off(WARM_UP.min(took.len()));
    took.sort_unstable();
    let at = |share: f64| took.get(((took.len() as f64 * share) as usize).min(took.len() - 1));
    (!took.is_empty()).then(|| Some((*at(0.5)?, *at(0.99)?)))?
}

/// Returns ids of traces that are in the first requests of that seed.
fn ids_of(seed: u64, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for request in Shop::new(seed).requests(100 * count, 500) {
        ids.extend(spans_of(&request).into_iter().map(|(trace, _)| trace));
        ids.sort_unstable();
        ids.dedup();
        if ids.len() >= 2 * count {
            break;
        }
    }
    let step = ids.len() / count;
    ids.into_iter().step_by(step.max(1)).take(count).collect()
}

/// Returns trace and span id of every span of a request, in hex.
pub(crate) fn spans_of(request: &[u8]) -> Vec<(String, String)> {
    let request = ExportTraceServiceRequest::decode(request).expect("it was made here");
    let resources = request.resource_spans.into_iter();
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    let spans = scopes.flat_map(|scope| scope.spans);
    spans
        .map(|span| (hex(&span.trace_id), hex(&span.span_id)))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
