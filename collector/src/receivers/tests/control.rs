//! The control channel over sockets: who may poll, what is refused, and when a held poll is answered.

use std::time::Duration;

use fusebox::control::{Action, Changes, GRPC_PATH, PATH};

use super::grpc::framed;
use super::{Answer, Receivers};
use crate::codec::circuits::request::{FakeBreaker, observed};
use crate::live::circuits::{ChangeOrder, CircuitSink};
use crate::model::UnixNanos;

const JSON: (&str, &str) = ("content-type", "application/json");
const POLL: &str = r#"{"service":"product-page","instance":"a","after":0,"wait_ms":0}"#;
const TOKENS: &str = "send:sender-sender-01\nread:reader-reader-01\n";

/// Forces the breaker of two instances open.
async fn force(receivers: &Receivers) {
    let now = UnixNanos::now();
    let circuits = &receivers.circuits;
    let breaker = FakeBreaker::new("a", now.get());
    circuits
        .ingest_metrics(observed(&breaker.metrics(now.get())), now)
        .await
        .unwrap();
    let wall = circuits.wall(None).await.unwrap().value;
    let order = ChangeOrder {
        action: Action::ForceOpen,
        reason: "the disk is full".to_owned(),
        by: "Ada".to_owned(),
        lifetime: Some(Duration::from_secs(60)),
        instances: Vec::new(),
    };
    let control = circuits.control();
    control
        .request(&wall.circuits[0], order, now)
        .await
        .unwrap();
}

fn changes(answer: &Answer) -> Changes {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_held_poll_is_answered_with_the_change() {
    let receivers = Receivers::start().await;
    let waiting = POLL.replace("\"wait_ms\":0", "\"wait_ms\":25000");
    let held = receivers.post(PATH, &[JSON], waiting);
    let forced = async {
        // So that the poll is under way; the answer is the same if it is not.
        tokio::time::sleep(Duration::from_millis(50)).await;
        force(&receivers).await;
    };
    let (answer, ()) = tokio::join!(held, forced);
    let found = changes(&answer);
    assert_eq!(found.changes.len(), 1);
    assert_eq!(found.changes[0].reason, "Ada: the disk is full");
    let next = POLL.replace("\"after\":0", &format!("\"after\":{}", found.after));
    assert_eq!(
        changes(&receivers.post(PATH, &[JSON], next).await).changes,
        []
    );
}

#[tokio::test]
async fn only_a_token_for_senders_polls() {
    let receivers = Receivers::start_with(1 << 20, Some(TOKENS)).await;
    let poll = async |token: Option<&str>| {
        let token = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![JSON];
        headers.extend(token.as_deref().map(|token| ("authorization", token)));
        let answer = receivers.post(PATH, &headers, POLL).await;
        let status = answer.status.as_u16();
        let challenge = answer.headers.get("www-authenticate");
        assert_eq!(challenge.is_some(), status == 401);
        status
    };
    assert_eq!(poll(None).await, 401);
    assert_eq!(poll(Some("reader-reader-01")).await, 403);
    assert_eq!(poll(Some("sender-sender-01")).await, 200);
}

/// Scenario: services that export only over gRPC poll by a call.
/// Guarantees: the answer is the same document, and a rejection has the matching code.
#[tokio::test]
async fn a_poll_is_a_grpc_call_too() {
    let receivers = Receivers::start_with(1 << 20, Some(TOKENS)).await;
    force(&receivers).await;
    let call = async |token: &str, message: &[u8]| {
        let token = format!("Bearer {token}");
        let headers = [("authorization", token.as_str())];
        receivers
            .call(GRPC_PATH, &headers, framed(0, message))
            .await
    };
    let poll = POLL.as_bytes();
    let answer = call("sender-sender-01", poll).await;
    assert_eq!(answer.grpc("grpc-status"), Some("0"), "{answer:?}");
    let found: Changes = serde_json::from_slice(&answer.body[5..]).unwrap();
    assert_eq!(found.changes.len(), 1);
    let no_name = POLL.replace("product-page", "");
    for (token, message, code) in [
        ("reader-reader-01", poll, "7"),
        ("unknown-unknown-1", poll, "16"),
        ("sender-sender-01", &b"{"[..], "3"),
        ("sender-sender-01", no_name.as_bytes(), "3"),
    ] {
        let answer = call(token, message).await;
        assert_eq!(answer.grpc("grpc-status"), Some(code), "{answer:?}");
    }
}

#[tokio::test]
async fn a_wrong_poll_is_refused_in_words() {
    let receivers = Receivers::start().await;
    let long = format!("{{\"service\":\"{}\"", "a".repeat(200_000));
    let no_name = POLL.replace("product-page", "");
    let text = ("content-type", "text/plain");
    for (content_type, body, status, words) in [
        (text, POLL, 415, "application/json"),
        (JSON, "{", 400, "could not be read"),
        (JSON, "{}", 400, "missing field"),
        (JSON, &long, 413, "bytes"),
        (JSON, &no_name, 422, "service and instance"),
    ] {
        let answer = receivers.post(PATH, &[content_type], body.to_owned()).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(words), "{}", answer.text());
    }
}

/// Scenario: polls being read use up the memory; then one of them waits for changes.
/// Guarantees: the next poll waits for memory and is then asked to retry; a poll that waits for changes uses
/// none.
#[tokio::test]
async fn polls_are_read_in_bounded_room() {
    let receivers = Receivers::start().await;
    let mut others = receivers.held.begin();
    others.resize(usize::MAX).await.unwrap();
    tokio::time::pause();
    let answer = receivers.post(PATH, &[JSON], POLL).await;
    tokio::time::resume();
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(answer.headers["retry-after"], "10");
    drop(others);
    let waiting = POLL.replace("\"wait_ms\":0", "\"wait_ms\":25000");
    let held = receivers.post(PATH, &[JSON], waiting);
    let look = async {
        while receivers.circuits.control().channels().is_empty() {
            tokio::task::yield_now().await;
        }
        let mut others = receivers.held.begin();
        others.resize(usize::MAX).await.unwrap();
        force(&receivers).await;
    };
    let (answer, ()) = tokio::join!(held, look);
    assert_eq!(changes(&answer).changes.len(), 1);
}
