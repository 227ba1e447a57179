//! A change of the state of a breaker.

use std::time::SystemTime;

use opentelemetry::trace::SpanContext;

use crate::circuit_breaker::rules::state::EffectiveState;
use crate::name::Name;

/// A change of the state in force.
///
/// Under [`OverrideKind::MetricsOnly`](crate::circuit_breaker::OverrideKind::MetricsOnly) `from` and `to` are both
/// `MetricsOnly`, and the reason names the transition that would have happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The name of the breaker.
    pub breaker: Name,
    /// Its group.
    pub group: Name,
    /// When it changed.
    pub time: SystemTime,
    /// The state before.
    pub from: EffectiveState,
    /// The state after.
    pub to: EffectiveState,
    /// Why it changed, as text: `52 % of 118 calls failed in 10 s (limit 50 %)`.
    pub reason: String,
    /// End of the open time, if the new state is open.
    pub open_until: Option<SystemTime>,
    /// The span of the call that caused the change.
    pub trace: Option<SpanContext>,
}
