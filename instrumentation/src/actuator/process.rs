//! `/actuator/httpexchanges`, `/actuator/threaddump` and `/actuator/shutdown`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Inner;
use super::answer::{Answered, json, problem};
use crate::telemetry::recent::Exchange;
use crate::time::rfc3339;

/// Time to send the answer to a shutdown before the service ends and closes its connections (Spring Boot: 500 ms).
const ANSWERED_WITHIN: Duration = Duration::from_millis(500);
/// Most threads that are listed.
const THREADS_MAX: usize = 1_000;

/// `GET /actuator/httpexchanges`
pub(super) async fn exchanges(State(inner): State<Arc<Inner>>) -> Response {
    let exchanges = inner.recent.exchanges.latest();
    let exchanges: Vec<Value> = exchanges.iter().map(exchange).collect();
    json(&json!({ "exchanges": exchanges }))
}

fn exchange(exchange: &Exchange) -> Value {
    // Spans contain the user agent and no other header.
    let agent = exchange.user_agent.iter();
    let headers = agent.map(|agent| ("user-agent".to_owned(), json!([agent])));
    json!({
        "timestamp": rfc3339(exchange.time),
        "traceId": exchange.trace,
        "request": {
            "method": exchange.method,
            "uri": exchange.uri,
            "remoteAddress": exchange.remote_address,
            "headers": serde_json::Map::from_iter(headers),
        },
        "response": { "status": exchange.status, "headers": {} },
        "timeTaken": format!("PT{:.6}S", exchange.took.as_secs_f64()),
    })
}

/// `GET /actuator/threaddump`: the threads of the process with their states (Linux). Stacks are not included: a process
/// cannot read them safely itself, and tokio's task dump is not stable.
pub(super) async fn threads() -> Response {
    let threads = tokio::task::spawn_blocking(read_threads).await;
    json(&json!({ "threads": threads.unwrap_or_default() }))
}

fn read_threads() -> Vec<Value> {
    let folders = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let threads = folders.flatten().filter_map(|folder| {
        let id: u64 = folder.file_name().to_str()?.parse().ok()?;
        // `4711 (a name) S …`: the name may contain anything, including parentheses.
        let stat = std::fs::read_to_string(folder.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        Some(thread(id, name, rest.chars().next()?))
    });
    threads.take(THREADS_MAX).collect()
}

fn thread(id: u64, name: &str, state: char) -> Value {
    let state = match state {
        'R' => "RUNNABLE",
        'D' => "BLOCKED",
        'Z' | 'X' => "TERMINATED",
        _ => "WAITING",
    };
    json!({
        "threadName": name,
        "threadId": id,
        "threadState": state,
        "blockedTime": -1,
        "blockedCount": 0,
        "waitedTime": -1,
        "waitedCount": 0,
        "lockOwnerId": -1,
        "daemon": false,
        "inNative": false,
        "suspended": false,
        "priority": 5,
        "stackTrace": [],
        "lockedMonitors": [],
        "lockedSynchronizers": [],
    })
}

/// `POST /actuator/shutdown`
pub(super) async fn shutdown(State(inner): State<Arc<Inner>>) -> Answered {
    let refused = || {
        problem(
            StatusCode::FORBIDDEN,
            "this service may not be ended from here",
        )
    };
    let shutdown = inner.shutdown.as_ref().ok_or_else(refused)?;
    tracing::warn!(target: "fusebox", "the service is ended through the actuator");
    inner.readiness.set(false);
    let shutdown = Arc::clone(shutdown);
    tokio::spawn(async move {
        sleep(ANSWERED_WITHIN).await;
        shutdown.notify_one();
    });
    Ok(json(&json!({ "message": "Shutting down, bye..." })))
}
