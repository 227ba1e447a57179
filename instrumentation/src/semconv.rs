//! The names that travel: metrics, attributes, events and headers, in one place so that the library that
//! writes them and the collector that reads them cannot drift apart.

/// Duration of calls through a breaker: exponential histogram, seconds, cumulative.
/// Attributes: `BREAKER_NAME`, `BREAKER_GROUP`, `BREAKER_OUTCOME`, `ERROR_TYPE` (bad outcomes only).
pub const CALL_DURATION: &str = "fusebox.circuit_breaker.call.duration";
/// State set: one series per state, 1 for the state in force and 0 for the others.
/// Attributes: `BREAKER_NAME`, `BREAKER_GROUP`, `BREAKER_STATE`.
pub const STATE: &str = "fusebox.circuit_breaker.state";
/// Calls running now. Attributes: `BREAKER_NAME`, `BREAKER_GROUP`.
pub const INFLIGHT: &str = "fusebox.circuit_breaker.inflight";
/// Fallbacks by how they ended: monotonic sum.
/// Attributes: `BREAKER_NAME`, `BREAKER_GROUP`, `FALLBACK_OUTCOME`.
pub const FALLBACKS: &str = "fusebox.circuit_breaker.fallbacks";

/// Log event of a change of state. Attributes: `BREAKER_NAME`, `BREAKER_GROUP`, `TRANSITION_FROM`,
/// `TRANSITION_TO`, `TRANSITION_REASON`, `OPEN_UNTIL` (to open only); the record carries the trace and span id
/// of the call that caused it.
pub const EVENT_TRANSITION: &str = "fusebox.circuit_breaker.transition";
/// Log event of settings: sent when a breaker is registered, when they or its override change, and every minute.
/// Attributes: `BREAKER_NAME`, `BREAKER_GROUP`, `SETTINGS` (JSON of `circuit_breaker::Settings`) and, while an
/// override is in force, `OVERRIDE_KIND`, `OVERRIDE_REASON`, `OVERRIDE_EXPIRES`.
pub const EVENT_SETTINGS: &str = "fusebox.circuit_breaker.settings";

/// The breaker's name; also on spans.
pub const BREAKER_NAME: &str = "circuit_breaker.name";
/// The breaker's group.
pub const BREAKER_GROUP: &str = "circuit_breaker.group";
/// The state when the call came (`EffectiveState::as_str`); also on spans.
pub const BREAKER_STATE: &str = "circuit_breaker.state";
/// How the call ended (`Outcome::as_str`); also on spans.
pub const BREAKER_OUTCOME: &str = "circuit_breaker.outcome";
/// How the fallback ended (`FallbackOutcome::as_str`); also on spans.
pub const FALLBACK_OUTCOME: &str = "circuit_breaker.fallback";
/// Whether the call was a probe of a half-open breaker; on spans, `true` only.
pub const BREAKER_PROBE: &str = "circuit_breaker.probe";
/// State before a transition.
pub const TRANSITION_FROM: &str = "circuit_breaker.from";
/// State after a transition.
pub const TRANSITION_TO: &str = "circuit_breaker.to";
/// Why, in words.
pub const TRANSITION_REASON: &str = "circuit_breaker.reason";
/// Until when it stays open, Unix nanoseconds (int).
pub const OPEN_UNTIL: &str = "circuit_breaker.open_until";
/// Settings as JSON.
pub const SETTINGS: &str = "circuit_breaker.settings";
/// Kind of override in force.
pub const OVERRIDE_KIND: &str = "circuit_breaker.override.kind";
/// Who forced it and why.
pub const OVERRIDE_REASON: &str = "circuit_breaker.override.reason";
/// When the override ends by itself, Unix nanoseconds (int).
pub const OVERRIDE_EXPIRES: &str = "circuit_breaker.override.expires";
/// OpenTelemetry's `error.type`.
pub const ERROR_TYPE: &str = "error.type";
/// `error.type` of a refused call.
pub const ERROR_TYPE_CIRCUIT_OPEN: &str = "circuit_open";
/// `error.type` of a call for which no slot was free.
pub const ERROR_TYPE_BULKHEAD_FULL: &str = "bulkhead_full";
/// `error.type` of a call that took too long.
pub const ERROR_TYPE_TIMEOUT: &str = "timeout";
