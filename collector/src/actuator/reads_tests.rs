//! Reads of whole actuators: shared, bounded, and answered in time.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::net::TcpListener;

use super::super::fixture::{self, jvm, registration, start, until};
use super::*;
use crate::model::{Registration, UnixNanos};

/// Scenario: many pages of one instance are loaded at once.
/// Guarantees: it is asked once for each endpoint.
#[tokio::test]
async fn pages_of_one_instance_share_a_read() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(Value::Null));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let (_circuits, actuators) = fixture::open(&dir, registration(&url)).await;
    let before = jvm.lock().requests;
    let views = join_all((0..50).map(|_| actuators.read("shop", "a"))).await;
    let has_breaker = |view: &Option<ActuatorView>| {
        let view = view.as_ref().unwrap();
        view.breakers[0].name == "stock" && view.is_complete() && view.problems.is_empty()
    };
    assert!(views.iter().all(has_breaker), "{:?}", views[0]);
    assert_eq!(jvm.lock().requests - before, 1 + ENDPOINTS.len());
}

/// Scenario: all endpoints but the health check answer late; then the page is loaded again.
/// Guarantees: it has the health and says what is missing; later it has the rest, and keeps it while that is asked for again.
#[tokio::test]
async fn what_is_known_is_shown_before_the_rest_answers() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(Value::Null));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let (_circuits, actuators) = fixture::open(&dir, registration(&url)).await;
    jvm.lock().delay = ANSWER_WITHIN + Duration::from_millis(500);
    let view = actuators.read("shop", "a").await.unwrap();
    assert!(view.health.is_some() && view.problem.is_empty(), "{view:?}");
    assert_eq!(view.unanswered, ENDPOINTS);
    let has_ended = || {
        let reads = actuators.reads.0.lock();
        reads.values().all(|read| read.age().is_some())
    };
    until("the read is over", has_ended).await;
    let again = actuators.read("shop", "a").await.unwrap();
    assert!(
        !again.breakers.is_empty() && again.is_complete(),
        "{again:?}"
    );
    let is_old = || {
        let reads = actuators.reads.0.lock();
        let mut ages = reads.values().filter_map(Read::age);
        ages.all(|age| age > SHOWN_FOR)
    };
    until("it is asked again", is_old).await;
    let next = actuators.read("shop", "a").await.unwrap();
    // Until then, it has what was known.
    assert!(!next.breakers.is_empty() && !next.is_complete(), "{next:?}");
}

/// Scenario: an instance that answered before does not answer any more; more of them than are read at the same time.
/// Guarantees: the view says so; further ones are refused; once the reads are over, others are read.
#[tokio::test]
async fn reads_of_hung_instances_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (url, _served) = start(jvm(Value::Null)).await;
    let (circuits, actuators) = fixture::open(&dir, registration(&url)).await;
    // Its connections are accepted by the system, and nothing answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hung = format!("http://{}/actuator", listener.local_addr().unwrap());
    for n in 0..READS_MAX + 2 {
        let one = Registration {
            instance: format!("hung-{n}"),
            ..registration(&hung)
        };
        let registered = circuits.registry().register(one, UnixNanos::now());
        registered.await.unwrap();
    }
    let names: Vec<_> = (0..READS_MAX + 2).map(|n| format!("hung-{n}")).collect();
    let views = join_all(names.iter().map(|name| actuators.read("shop", name))).await;
    let problems = views.iter().flatten().map(|view| view.problem.as_str());
    let problems: Vec<_> = problems.collect();
    let count = |words| problems.iter().filter(|it| **it == words).count();
    assert_eq!(
        count("it did not answer within 2 s"),
        READS_MAX,
        "{problems:?}"
    );
    assert_eq!(count("too many requests to actuators are running"), 2);
    until("the reads are over", || {
        let reads = actuators.reads.0.lock();
        reads.values().all(|read| read.age().is_some())
    })
    .await;
    let view = actuators.read("shop", "a").await.unwrap();
    assert!(view.health.is_some(), "{view:?}");
}
