//! What a token with some roles may do over sockets, and what guessing costs.

use tokio::time::{Duration, Instant};

use super::{Access, GRPC_TRACES, Receivers};
use crate::pipeline::testing::spans_request;

const TOKENS: &str = "send:sender-sender-01\nread:reader-reader-01\n";

fn headers(token: &str) -> [(&'static str, String); 2] {
    [
        ("content-type", "application/x-protobuf".to_owned()),
        ("authorization", format!("Bearer {token}")),
    ]
}

async fn post(receivers: &Receivers, token: &str) -> super::Answer {
    let headers = headers(token);
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let body = spans_request(1, 0);
    receivers.post("/v1/traces", &headers, body).await
}

#[tokio::test]
async fn only_a_token_for_senders_sends() {
    let receivers = Receivers::start_with(1 << 20, Some(TOKENS)).await;
    assert_eq!(post(&receivers, "sender-sender-01").await.status, 200);
    let refused = post(&receivers, "reader-reader-01").await;
    assert_eq!(refused.status, 403);
    assert!(!refused.headers.contains_key("connection"));

    let call = async |token: &str| {
        let token = format!("Bearer {token}");
        let body = super::grpc::framed(0, &spans_request(1, 0));
        let authorization = [("authorization", token.as_str())];
        let answer = receivers.call(GRPC_TRACES, &authorization, body).await;
        answer.grpc("grpc-status").unwrap().to_owned()
    };
    assert_eq!(call("sender-sender-01").await, "0");
    assert_eq!(call("reader-reader-01").await, "7");
    assert_eq!(call("wrong-wrong-wrong").await, "16");
    let denials = receivers.access.denials();
    assert_eq!(denials[&("OTLP HTTP", "role")], 1);
    assert_eq!(denials[&("OTLP gRPC", "role")], 1);
    assert_eq!(denials[&("OTLP gRPC", "wrong")], 1);
    let refused = receivers.bench.counters.requests_refused.all();
    assert_eq!((refused["forbidden"], refused["unauthenticated"]), (2, 1));
    receivers.assert_conserved();
}

/// *Scenario*: a client guesses tokens; a sender with a valid one connects meanwhile.
/// *Guarantees*: from the eleventh on answers take longer, guesses are counted by address, and the sender is
/// accepted.
#[tokio::test]
async fn guessing_becomes_slow_and_shuts_no_client_out() {
    let receivers = Receivers::start_with(1 << 20, Some(TOKENS)).await;
    tokio::time::pause();
    let started = Instant::now();
    for guess in 0..30 {
        let answer = post(&receivers, &format!("guess-guess-guess-{guess}")).await;
        assert_eq!(answer.status, 401);
    }
    // 100 ms for the eleventh, 200 ms for the next: 21 s in all, less what was settled meanwhile.
    assert!(
        started.elapsed() > Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
    tokio::time::resume();
    let [(peer, guesses)] = receivers.access.guessers(20)[..] else {
        panic!("one peer guesses");
    };
    assert_eq!((peer.to_string().as_str(), guesses), ("127.0.0.1", 30));
    assert_eq!(post(&receivers, "sender-sender-01").await.status, 200);
}

/// *Scenario*: one client behind a reverse proxy guesses, and another one has an old token.
/// *Guarantees*: behind a trusted proxy each client is a peer with its own delay; the headers of an untrusted
/// one are ignored.
#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_peers_of_their_own() {
    for (proxies, expected) in [
        (&["127.0.0.0/8".parse().unwrap()][..], "192.0.2.7"),
        (&[], "127.0.0.1"),
    ] {
        let access = Access::behind(proxies);
        let receivers = Receivers::start_behind(1 << 20, Some(TOKENS), access).await;
        let guess = async |client: &str| {
            let [json, (_, token)] = headers("guess-guess-guess");
            let headers = [
                (json.0, json.1.as_str()),
                ("authorization", token.as_str()),
                ("x-forwarded-for", client),
            ];
            let body = spans_request(1, 0);
            receivers.post("/v1/traces", &headers, body).await.status
        };
        tokio::time::pause();
        for _ in 0..15 {
            assert_eq!(guess("203.0.113.9, 192.0.2.7").await, 401);
        }
        let peers = receivers.access.guessers(20);
        let [(peer, 15)] = peers[..] else {
            panic!("one client: {peers:?}");
        };
        assert_eq!(peer.to_string(), expected);
        let other = std::net::IpAddr::from([192, 0, 2, 8]).into();
        assert!(!receivers.access.held(peer).is_zero());
        assert_eq!(guess("192.0.2.8").await, 401);
        assert!(receivers.access.held(other).is_zero());
        let is_alone = receivers.access.guessers(20).len() == 1;
        assert_eq!(is_alone, proxies.is_empty());
        tokio::time::resume();
    }
}
