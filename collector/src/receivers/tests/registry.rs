//! The registry of our library over sockets: who may register, and when a held request is answered.

use fusebox::registry::{Details, GRPC_PATH, Listing, PATH, Renewal};

use super::grpc::framed;
use super::{Answer, Receivers};
use crate::model::{InstanceStatus, UnixNanos};

const JSON: (&str, &str) = ("content-type", "application/json");

fn renewal(instance: &str, address: &str) -> Renewal {
    Renewal {
        service: "review".to_owned(),
        instance: instance.to_owned(),
        registration: Some(Details {
            address: address.to_owned(),
            ..Details::default()
        }),
        leaves: false,
        watched: vec!["REVIEW".to_owned()],
        after: None,
        wait_ms: 0,
    }
}

fn json(renewal: &Renewal) -> String {
    serde_json::to_string(renewal).unwrap()
}

fn listing(answer: &Answer) -> Listing {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// Scenario: one instance waits for others; a second one registers, is taken out of service, and leaves.
#[tokio::test]
async fn a_held_request_is_answered_with_the_new_instances() {
    let receivers = Receivers::start().await;
    let first = renewal("a", "http://[::1]:8081");
    let known = listing(&receivers.post(PATH, &[JSON], json(&first)).await);
    assert_eq!(known.instances[0].address, "http://[::1]:8081");
    let waiting = |after| Renewal {
        wait_ms: 25_000,
        after: Some(after),
        ..first.clone()
    };
    let second = renewal("b", "https://review.test");
    let (found, _) = tokio::join!(
        receivers.post(PATH, &[JSON], json(&waiting(known.version))),
        receivers.post(PATH, &[JSON], json(&second)),
    );
    let found = listing(&found);
    assert_eq!(found.instances.len(), 2);
    assert_eq!(found.instances[1].address, "https://review.test:443");
    let registry = receivers.circuits.registry();
    let out = Some(InstanceStatus::OutOfService);
    let forced = registry.force_status("review", "b", out, Default::default(), UnixNanos::now());
    let (found, forced) = tokio::join!(
        receivers.post(PATH, &[JSON], json(&waiting(found.version))),
        forced,
    );
    forced.unwrap();
    assert_eq!(listing(&found), known);
    let end = Renewal {
        leaves: true,
        ..second
    };
    for _ in 0..2 {
        listing(&receivers.post(PATH, &[JSON], json(&end)).await);
    }
    assert!(registry.find("review", "b").is_none());
}

/// Guarantees: an answer fits what services read, and says when instances are left out.
#[tokio::test]
async fn a_long_list_is_cut() {
    let receivers = Receivers::start().await;
    for n in 0..700 {
        let one = renewal(&format!("pod-{n:04}"), "http://10.0.0.7:8080");
        let registered = Renewal {
            watched: Vec::new(),
            ..one
        };
        let answer = receivers.post(PATH, &[JSON], json(&registered)).await;
        assert_eq!(answer.status, 200);
    }
    let watching = renewal("pod-0000", "http://10.0.0.7:8080");
    let answer = receivers.post(PATH, &[JSON], json(&watching)).await;
    assert!(answer.body.len() < 64 << 10, "{}", answer.body.len());
    let found = listing(&answer);
    assert!(found.is_cut && found.instances.len() > 300);
    let endless = Renewal {
        watched: vec!["x".repeat(256)],
        ..watching
    };
    let refused = receivers.post(PATH, &[JSON], json(&endless)).await;
    assert_eq!(refused.status, 422);
}

#[tokio::test]
async fn only_a_sender_registers_and_only_with_an_address() {
    let receivers = Receivers::start_with(
        1 << 20,
        Some("send:sender-sender-01\nread:reader-reader-01\n"),
    )
    .await;
    let sender = ("authorization", "Bearer sender-sender-01");
    let reader = ("authorization", "Bearer reader-reader-01");
    let good = json(&renewal("a", "http://10.0.0.7:8080"));
    assert_eq!(
        receivers.post(PATH, &[JSON], good.clone()).await.status,
        401
    );
    assert_eq!(
        receivers
            .post(PATH, &[JSON, reader], good.clone())
            .await
            .status,
        403
    );
    for address in [
        "",
        "10.0.0.7:8080",
        "ftp://10.0.0.7",
        "http://",
        "http://user:secret@10.0.0.7",
        "http://10.0.0.7/base",
        "http://10.0.0.7:0",
    ] {
        let bad = json(&renewal("a", address));
        let refused = receivers.post(PATH, &[JSON, sender], bad).await;
        assert_eq!(refused.status, 422, "{address}");
    }
    assert!(receivers.circuits.registry().all().is_empty());
    assert_eq!(
        receivers
            .post(PATH, &[JSON, sender], good.clone())
            .await
            .status,
        200
    );
    let message = framed(0, good.as_bytes());
    let by_grpc = receivers.call(GRPC_PATH, &[sender], message).await;
    assert_eq!(by_grpc.grpc("grpc-status"), Some("0"));
}
