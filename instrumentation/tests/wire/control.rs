//! The control channel: the changes in a collector's answers are applied to the breakers of the process.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use fusebox::Telemetry;
use fusebox::circuit_breaker::{CircuitBreaker, EffectiveState, Registry};
use fusebox::control::{Acknowledgement, Action, Change, Changes, GRPC_PATH, Outcome, PATH, Poll};
use fusebox::telemetry::Protocol;
use http::{HeaderMap, StatusCode};

use crate::config;
use crate::sink::{DEADLINE, serve};

/// A collector with one change, sent to processes that do not have it; it first answers `failures` polls with 503.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    failures: usize,
    polls: Vec<Poll>,
    headers: HeaderMap,
}

async fn answer(
    State(collector): State<Collector>,
    headers: HeaderMap,
    Json(poll): Json<Poll>,
) -> Result<Json<Changes>, StatusCode> {
    let after = poll.after;
    {
        let mut seen = collector.0.lock().unwrap();
        seen.headers = headers;
        if seen.failures > 0 {
            seen.failures -= 1;
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        seen.polls.push(poll);
    }
    let change = Change {
        id: 7,
        subject: fusebox::control::Subject::Breaker,
        name: "stock".to_owned(),
        action: Action::ForceOpen,
        reason: "Ada: the disk is full".to_owned(),
        remaining_ms: Some(60_000),
        settings: None,
    };
    if after == Some(7) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(Json(Changes {
        after: 7,
        changes: (after != Some(7)).then_some(change).into_iter().collect(),
    }))
}

/// Waits for a condition.
fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while tokio::time::Instant::now() < deadline {
        if let Some(found) = condition() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no {what} within {DEADLINE:?}");
}

fn start(collector: &Collector, registry: &Registry) -> Telemetry {
    let router = Router::new()
        .route(PATH, post(answer))
        .with_state(collector.clone());
    let address = serve(tracing::Dispatch::none(), router);
    let config = config("shop", &format!("http://{address}"))
        .with_header("authorization", "Bearer sender")
        .with_registry(registry);
    Telemetry::start(&config).unwrap()
}

/// Scenario: a collector that is unreachable at first has a change for a breaker; another breaker is created after the
/// change arrived.
/// Guarantees: polls have the headers of exports and continue until the change arrives; it is applied and acknowledged.
#[test]
fn a_change_is_fetched_applied_and_acknowledged() {
    let (collector, registry) = (Collector::default(), Registry::new());
    collector.0.lock().unwrap().failures = 2;
    let telemetry = start(&collector, &registry);
    let waiting = Acknowledgement {
        change: 7,
        outcome: Outcome::Waiting,
        problem: String::new(),
    };
    let has = |wanted: Acknowledgement| {
        let seen = collector.0.lock().unwrap();
        let mut polls = seen.polls.iter();
        polls
            .find(|poll| poll.acknowledged.contains(&wanted))
            .cloned()
    };
    let poll = wait_for("acknowledgement", || has(waiting.clone()));
    assert_eq!((poll.after, poll.wait_ms), (Some(7), 0));
    assert_eq!((poll.service.as_str(), poll.instance.len()), ("shop", 36));
    let builder = CircuitBreaker::builder("stock").registry(&registry);
    let breaker = builder.build();
    assert_eq!(breaker.state(), EffectiveState::ForcedOpen);
    let reason = breaker.current_override().unwrap().reason;
    assert_eq!(reason, "Ada: the disk is full");
    let applied = Acknowledgement {
        outcome: Outcome::Applied,
        ..waiting
    };
    wait_for("second acknowledgement", || has(applied.clone()));
    let seen = collector.0.lock().unwrap();
    assert_eq!(seen.headers["authorization"], "Bearer sender");
    assert_eq!(seen.polls[0].after, None);
    drop(seen);
    drop(telemetry);
}

/// Answers a poll that is the message of a gRPC call.
async fn answer_call(collector: State<Collector>, headers: HeaderMap, call: Bytes) -> Response {
    let poll = serde_json::from_slice(&call[5..]).unwrap();
    let Ok(Json(changes)) = answer(collector, headers, Json(poll)).await else {
        return [("grpc-status", "14")].into_response();
    };
    let json = serde_json::to_vec(&changes).unwrap();
    let mut framed = vec![0];
    framed.extend(u32::try_from(json.len()).unwrap().to_be_bytes());
    framed.extend(json);
    ([("grpc-status", "0")], framed).into_response()
}

/// Scenario: a service exports only over gRPC.
/// Guarantees: it polls over gRPC, and applies the answer.
#[test]
fn changes_are_asked_for_over_grpc() {
    let (collector, registry) = (Collector::default(), Registry::new());
    collector.0.lock().unwrap().failures = 1;
    let router = Router::new()
        .route(GRPC_PATH, post(answer_call))
        .with_state(collector.clone());
    let address = serve(tracing::Dispatch::none(), router);
    let config = config("shop", &format!("http://{address}"))
        .with_protocol(Protocol::Grpc)
        .with_registry(&registry);
    let _telemetry = Telemetry::start(&config).unwrap();
    let breaker = CircuitBreaker::builder("stock").registry(&registry).build();
    wait_for("forced breaker", || {
        (breaker.state() == EffectiveState::ForcedOpen).then_some(())
    });
    let seen = collector.0.lock().unwrap();
    assert_eq!(seen.headers["content-type"], "application/grpc");
}

/// Scenario: the channel is off.
/// Guarantees: the library does not poll.
#[test]
fn without_control_nothing_is_asked() {
    let (collector, registry) = (Collector::default(), Registry::new());
    let router = Router::new()
        .route(PATH, post(answer))
        .with_state(collector.clone());
    let address = serve(tracing::Dispatch::none(), router);
    let off = config("shop", &format!("http://{address}"))
        .with_registry(&registry)
        .with_control(false);
    let _off = Telemetry::start(&off).unwrap();
    let _on = Telemetry::start(&config("other", &format!("http://{address}"))).unwrap();
    let polls = || collector.0.lock().unwrap().polls.clone();
    wait_for("poll of the other", || (polls().len() > 2).then_some(()));
    assert!(polls().iter().all(|poll| poll.service == "other"));
}
