//! `kill -9` under load: which spans that a peer had acknowledged are missing once it is back.

use std::collections::BTreeMap;
use std::time::Duration;

use fusebox_collector::model::{HOUR, UnixNanos};
use fusebox_collector::sample::Shop;
use reqwest::{Client, header};
use tokio::time::Instant;

use crate::ask::spans_of;
use crate::peer::Peer;

/// How long spans are sent before the kill.
const SENT_FOR: Duration = Duration::from_secs(2);
/// Traces that are looked for.
const TRACES: usize = 500;

/// What was looked for, and what was not there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Missing {
    pub(crate) acknowledged: u64,
    pub(crate) missing: u64,
}

/// Kills the peer under load and starts it again; `None` where that cannot be done.
pub(crate) async fn spans_missing(peer: &mut Peer, seed: u64) -> Option<Missing> {
    peer.by_id.as_ref()?;
    if !peer.can_come_back() {
        return None;
    }
    let sender = tokio::spawn(send_until_gone(peer.otlp.clone(), seed + 1_000));
    tokio::time::sleep(SENT_FOR).await;
    peer.kill().await;
    let acknowledged = sender.await.expect("the sender ends with the peer");
    peer.come_back().await;
    Some(look_for(peer, &acknowledged).await)
}

/// Sends until the connection breaks; returns the spans of requests that were answered 200, by trace.
async fn send_until_gone(otlp: String, seed: u64) -> BTreeMap<String, Vec<String>> {
    let (client, url) = (Client::new(), format!("{otlp}/v1/traces"));
    let now = UnixNanos::now();
    let shop = Shop::new(seed).between(now - HOUR, now);
    let mut acknowledged: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in shop.requests(100_000_000, 500) {
        let post = client
            .post(&url)
            .header(header::CONTENT_TYPE, "application/x-protobuf");
        match post.body(request.clone()).send().await {
            Ok(answer) if answer.status() == 200 => {
                for (trace, span) in spans_of(&request) {
                    acknowledged.entry(trace).or_default().push(span);
                }
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    acknowledged
}

async fn look_for(peer: &Peer, sent: &BTreeMap<String, Vec<String>>) -> Missing {
    let url = peer.by_id.as_deref().unwrap_or_default();
    let client = Client::new();
    let (mut acknowledged, mut missing) = (0, 0);
    for (trace, spans) in sent.iter().step_by((sent.len() / TRACES).max(1)) {
        let answer = body(&client, &url.replace("{id}", trace)).await;
        acknowledged += spans.len() as u64;
        missing += spans.iter().filter(|span| !answer.contains(*span)).count() as u64;
    }
    Missing {
        acknowledged,
        missing,
    }
}

/// Returns the answer, once the peer answers at all; empty where there is no such trace.
async fn body(client: &Client, url: &str) -> String {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        match client.get(url).send().await {
            Ok(answer) => return answer.text().await.unwrap_or_default(),
            Err(error) if Instant::now() > give_up => panic!("{url}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
