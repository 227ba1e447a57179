//! `/actuator/circuitbreakers` and `/actuator/circuitbreakerevents`, in the shape of resilience4j's endpoints.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Inner;
use super::answer::{Answered, body, json, missing, problem};
use crate::circuit_breaker::{
    CircuitSnapshot, EffectiveState, Listener, Override, OverrideKind, Transition,
};
use crate::control::{EXPIRY_MAX, REASON_CHARS_MAX};
use crate::sync::Mutex;
use crate::time::rfc3339;

/// Number of transitions that are kept (resilience4j, `eventConsumerBufferSize`).
const EVENTS_MAX: usize = 100;

/// The body of a change. resilience4j has only the first field; the others are optional.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Update {
    update_state: UpdateState,
    reason: Option<String>,
    expires_in_seconds: Option<u64>,
}

/// The first three exist in resilience4j.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum UpdateState {
    Close,
    ForceOpen,
    Disable,
    ForceClosed,
    MetricsOnly,
}

/// `GET /actuator/circuitbreakers`
pub(super) async fn all(State(inner): State<Arc<Inner>>) -> Response {
    let breakers = inner
        .registry
        .all()
        .into_iter()
        .map(|breaker| breaker.snapshot());
    let breakers = breakers.map(|it| (it.name.to_string(), Value::Object(figures(&it))));
    json(&json!({ "circuitBreakers": Map::from_iter(breakers) }))
}

/// `GET /actuator/circuitbreakers/{name}`
pub(super) async fn one(State(inner): State<Arc<Inner>>, Path(name): Path<String>) -> Answered {
    let breaker = inner.registry.get(&name);
    let breaker = breaker.ok_or_else(|| missing("circuit breaker", &name))?;
    Ok(json(&Value::Object(figures(&breaker.snapshot()))))
}

/// `POST /actuator/circuitbreakers/{name}`
pub(super) async fn update(
    State(inner): State<Arc<Inner>>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answered {
    let update: Update = body(&bytes)?;
    let breaker = inner.registry.get(&name);
    let breaker = breaker.ok_or_else(|| missing("circuit breaker", &name))?;
    let reason = update
        .reason
        .as_deref()
        .unwrap_or("changed through the actuator");
    let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
    let lifetime = update
        .expires_in_seconds
        .map_or(EXPIRY_MAX, Duration::from_secs);
    if lifetime.is_zero() || lifetime > EXPIRY_MAX {
        let text = format!(
            "expiresInSeconds must be from 1 to {}",
            EXPIRY_MAX.as_secs()
        );
        return Err(problem(StatusCode::BAD_REQUEST, text));
    }
    if breaker.is_foreign() {
        let text =
            format!("{name} is a circuit breaker of another library, which is not changed here");
        return Err(problem(StatusCode::CONFLICT, text));
    }
    let force = |kind, reason| {
        breaker.force(Override {
            kind,
            reason,
            expires: Some(SystemTime::now() + lifetime),
        });
    };
    match update.update_state {
        UpdateState::Close => breaker.reset(&reason),
        UpdateState::ForceOpen => force(OverrideKind::ForcedOpen, reason),
        UpdateState::Disable => force(OverrideKind::Disabled, reason),
        UpdateState::ForceClosed => force(OverrideKind::ForcedClosed, reason),
        UpdateState::MetricsOnly => force(OverrideKind::MetricsOnly, reason),
    }
    Ok(json(&json!({
        "circuitBreakerName": name,
        "currentState": state_name(breaker.state()),
        "message": format!("{name} state has been changed successfully"),
    })))
}

pub(super) fn figures(breaker: &CircuitSnapshot) -> Map<String, Value> {
    let window = &breaker.window;
    let minimum = u64::from(breaker.settings.minimum_calls.max(1));
    // Below the minimum number of calls there is no rate (as in resilience4j).
    let rate = |part: u64| match window.calls >= minimum {
        true => percent(part as f64 * 100.0 / window.calls as f64),
        false => percent(-1.0),
    };
    let fields = json!({
        "failureRate": rate(window.errors),
        "slowCallRate": rate(window.slow),
        "failureRateThreshold": percent(breaker.settings.failure_rate_percent),
        "slowCallRateThreshold": percent(breaker.settings.slow_call_rate_percent),
        "bufferedCalls": window.calls,
        "failedCalls": window.errors,
        "slowCalls": window.slow,
        "notPermittedCalls": breaker.calls.rejected,
        "state": state_name(breaker.state),
    });
    let mut fields = match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    if let Some(forced) = &breaker.forced {
        fields.insert("reason".to_owned(), forced.reason.clone().into());
        let expires = forced.expires.map(rfc3339);
        fields.insert("expires".to_owned(), expires.into());
    }
    fields
}

fn percent(value: f64) -> String {
    let value = (value * 10.0).round() / 10.0;
    format!("{value:?}%")
}

/// Returns resilience4j's name of a state. It has no name for a breaker that is forced closed, which passes and counts
/// all calls, so that one is shown as `METRICS_ONLY`.
fn state_name(state: EffectiveState) -> &'static str {
    match state {
        EffectiveState::Closed => "CLOSED",
        EffectiveState::Open => "OPEN",
        EffectiveState::HalfOpen => "HALF_OPEN",
        EffectiveState::ForcedOpen => "FORCED_OPEN",
        EffectiveState::Disabled => "DISABLED",
        EffectiveState::MetricsOnly | EffectiveState::ForcedClosed => "METRICS_ONLY",
    }
}

/// The last transitions.
#[derive(Debug, Clone, Default)]
pub(super) struct Events(Arc<Mutex<VecDeque<Transition>>>);

/// Records transitions as long as the actuator exists.
struct Keep(Weak<Mutex<VecDeque<Transition>>>);

impl Events {
    /// Returns the listener that records them.
    pub(super) fn listener(&self) -> Arc<dyn Listener> {
        Arc::new(Keep(Arc::downgrade(&self.0)))
    }

    fn json(&self, is_wanted: impl Fn(&Transition) -> bool) -> Response {
        let kept = self.0.lock();
        let wanted = kept.iter().filter(|transition| is_wanted(transition));
        let events: Vec<Value> = wanted.map(event).collect();
        json(&json!({ "circuitBreakerEvents": events }))
    }
}

impl Listener for Keep {
    fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }

    fn transition(&self, transition: &Transition) {
        if let Some(kept) = self.0.upgrade() {
            let mut kept = kept.lock();
            if kept.len() >= EVENTS_MAX {
                kept.pop_front();
            }
            kept.push_back(transition.clone());
        }
    }
}

/// The only kind of event that is kept; calls are recorded as spans instead.
const STATE_TRANSITION: &str = "STATE_TRANSITION";

fn event(transition: &Transition) -> Value {
    let (from, to) = (state_name(transition.from), state_name(transition.to));
    json!({
        "circuitBreakerName": transition.breaker.as_str(),
        "type": STATE_TRANSITION,
        "creationTime": rfc3339(transition.time),
        "errorMessage": null,
        "durationInMs": null,
        "stateTransition": format!("{from}_TO_{to}"),
        "reason": transition.reason,
        "traceId": transition.trace.as_ref().map(|trace| trace.trace_id().to_string()),
    })
}

/// `GET /actuator/circuitbreakerevents`
pub(super) async fn events(State(inner): State<Arc<Inner>>) -> Response {
    inner.events.json(|_| true)
}

/// `GET /actuator/circuitbreakerevents/{name}`
pub(super) async fn events_of(
    State(inner): State<Arc<Inner>>,
    Path(name): Path<String>,
) -> Response {
    inner
        .events
        .json(|transition| transition.breaker.as_str() == name)
}

/// `GET /actuator/circuitbreakerevents/{name}/{type}`
pub(super) async fn events_of_type(
    State(inner): State<Arc<Inner>>,
    Path((name, kind)): Path<(String, String)>,
) -> Response {
    let is_kept = kind.eq_ignore_ascii_case(STATE_TRANSITION);
    let is_wanted = |transition: &Transition| is_kept && transition.breaker.as_str() == name;
    inner.events.json(is_wanted)
}
