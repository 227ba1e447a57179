//! The names of metrics, attributes and events, in one place so that this library, which writes them, and the
//! collector, which reads them, agree. Attributes are text unless stated otherwise.

/// Duration of calls through a breaker: exponential histogram, seconds, cumulative.
/// Attributes: `BREAKER_NAME`, `BREAKER_GROUP`, `BREAKER_OUTCOME`, `ERROR_TYPE` (only if the call failed or was refused).
pub const CALL_DURATION: &str = "fusebox.circuit_breaker.call.duration";
/// State set: one series per state, 1 for the state in force and 0 for the others.
/// Attributes: `BREAKER_NAME`, `BREAKER_GROUP`, `BREAKER_STATE`.
pub const STATE: &str = "fusebox.circuit_breaker.state";
/// Running calls: gauge. Attributes: `BREAKER_NAME`, `BREAKER_GROUP`.
pub const INFLIGHT: &str = "fusebox.circuit_breaker.inflight";
/// Fallbacks by outcome: monotonic sum.
/// Attributes: `BREAKER_NAME`, `BREAKER_GROUP`, `FALLBACK_OUTCOME`.
pub const FALLBACKS: &str = "fusebox.circuit_breaker.fallbacks";

/// Log event of a transition. Attributes: `BREAKER_NAME`, `BREAKER_GROUP`, `TRANSITION_FROM`, `TRANSITION_TO`,
/// `TRANSITION_REASON`, `OPEN_UNTIL` (only if it is open now). The record carries the trace and span id of the call that
/// caused it.
pub const EVENT_TRANSITION: &str = "fusebox.circuit_breaker.transition";
/// Log event of settings, sent when a breaker is registered, when its settings or its override change, and every minute.
/// Attributes: `BREAKER_NAME`, `BREAKER_GROUP`, `SETTINGS`, `SETTINGS_ORIGINS`, and while an override is in force `OVERRIDE_KIND`,
/// `OVERRIDE_REASON` and, if it expires, `OVERRIDE_EXPIRES`.
pub const EVENT_SETTINGS: &str = "fusebox.circuit_breaker.settings";

/// Calls that were answered from a request cache: monotonic sum. Attributes: `BREAKER_NAME`, `BREAKER_GROUP`.
pub const CACHED: &str = "fusebox.circuit_breaker.cached";

/// Calls running in a pool: gauge. Attributes: `POOL_NAME`.
pub const POOL_ACTIVE: &str = "fusebox.pool.active";
/// Calls waiting for a worker: gauge. Attributes: `POOL_NAME`.
pub const POOL_QUEUED: &str = "fusebox.pool.queued";
/// Maximum number of workers of a pool: gauge. Attributes: `POOL_NAME`.
pub const POOL_SIZE: &str = "fusebox.pool.size";
/// Largest number of workers that ran at the same time: gauge. Attributes: `POOL_NAME`.
pub const POOL_LARGEST: &str = "fusebox.pool.largest";
/// Maximum number of waiting calls: gauge. Attributes: `POOL_NAME`.
pub const POOL_QUEUE_LIMIT: &str = "fusebox.pool.queue_limit";
/// Calls that a worker started: monotonic sum. Attributes: `POOL_NAME`.
pub const POOL_EXECUTED: &str = "fusebox.pool.executed";
/// Calls that ended or were dropped by their caller: monotonic sum. Attributes: `POOL_NAME`.
pub const POOL_COMPLETED: &str = "fusebox.pool.completed";
/// Calls that a pool refused: monotonic sum. Attributes: `POOL_NAME`.
pub const POOL_REJECTED: &str = "fusebox.pool.rejected";
/// Calls of one breaker that a pool refused, 0 included: monotonic sum. Attributes: `POOL_NAME`, `BREAKER_NAME`.
pub const POOL_CALLER_REJECTED: &str = "fusebox.pool.caller.rejected";
/// Key of an isolation pool.
pub const POOL_NAME: &str = "pool.name";

/// Sizes of the batches of the collapsers in front of a breaker: exponential histogram, calls, cumulative.
/// Attributes: `BREAKER_NAME`, `BREAKER_GROUP`.
pub const COLLAPSER_BATCH_SIZE: &str = "fusebox.collapser.batch.size";
/// Calls that were sent in batches: monotonic sum. Attributes: `BREAKER_NAME`, `BREAKER_GROUP`.
pub const COLLAPSER_CALLS: &str = "fusebox.collapser.calls";
/// Most calls of a batch: gauge. Attributes: `BREAKER_NAME`, `BREAKER_GROUP`.
pub const COLLAPSER_BATCH_SIZE_MAX: &str = "fusebox.collapser.batch.size_max";
/// How long the first call of a batch waits for others: gauge, milliseconds. Attributes: `BREAKER_NAME`, `BREAKER_GROUP`.
pub const COLLAPSER_DELAY: &str = "fusebox.collapser.delay";

/// Log event that an instance sends last, before a regular end; an instance that stops without it is reported as
/// missing. No attributes: the resource names the instance.
pub const EVENT_ENDED: &str = "fusebox.instance.ended";

/// Events of policies (retry, rate limiter, bulkhead, time limiter, hedge, cache): monotonic sum.
/// Attributes: `POLICY_KIND`, `POLICY_NAME`, `POLICY_EVENT`.
pub const POLICY_EVENTS: &str = "fusebox.resilience.events";
/// Remaining permits of a rate limiter, free slots of a bulkhead, remaining retries or hedges of a budget: gauge.
/// Attributes: `POLICY_KIND`, `POLICY_NAME`.
pub const POLICY_AVAILABLE: &str = "fusebox.resilience.available";
/// Slots of a bulkhead, which an adaptive one changes: gauge. Attributes: `POLICY_KIND`, `POLICY_NAME`.
pub const POLICY_LIMIT: &str = "fusebox.resilience.limit";
/// Calls that wait at a rate limiter or a bulkhead: gauge. Attributes: `POLICY_KIND`, `POLICY_NAME`.
pub const POLICY_WAITING: &str = "fusebox.resilience.waiting";
/// Kind of a policy (`resilience::Kind::as_str`); also on spans.
pub const POLICY_KIND: &str = "resilience.policy.kind";
/// Name of a policy; also on spans.
pub const POLICY_NAME: &str = "resilience.policy.name";
/// Kind of event of a policy (`resilience::EventKind::as_str`); also on spans.
pub const POLICY_EVENT: &str = "resilience.policy.event";
/// Number of the attempt of a retried or hedged call, starting at 1 (int); on spans.
pub const POLICY_ATTEMPT: &str = "resilience.attempt";

/// Name of the breaker; also on spans.
pub const BREAKER_NAME: &str = "circuit_breaker.name";
/// Group of the breaker.
pub const BREAKER_GROUP: &str = "circuit_breaker.group";
/// State in force (`EffectiveState::as_str`); on spans, when the call was admitted or refused.
pub const BREAKER_STATE: &str = "circuit_breaker.state";
/// Outcome of the call (`Outcome::as_str`); also on spans.
pub const BREAKER_OUTCOME: &str = "circuit_breaker.outcome";
/// Outcome of the fallback (`FallbackOutcome::as_str`); also on spans.
pub const FALLBACK_OUTCOME: &str = "circuit_breaker.fallback";
/// Whether the call was a probe of a half-open breaker (bool); on spans, only `true`.
pub const BREAKER_PROBE: &str = "circuit_breaker.probe";
/// State before a transition.
pub const TRANSITION_FROM: &str = "circuit_breaker.from";
/// State after a transition.
pub const TRANSITION_TO: &str = "circuit_breaker.to";
/// Reason of the transition, as text for people.
pub const TRANSITION_REASON: &str = "circuit_breaker.reason";
/// End of the open time, Unix nanoseconds (int).
pub const OPEN_UNTIL: &str = "circuit_breaker.open_until";
/// All fields of `circuit_breaker::Settings` as JSON.
pub const SETTINGS: &str = "circuit_breaker.settings";
/// Origins of the settings whose values are not the library's, by name, as JSON: `code`, `properties` or `common_properties`.
pub const SETTINGS_ORIGINS: &str = "circuit_breaker.settings.origins";
/// Kind of the override in force (`OverrideKind::as_str`).
pub const OVERRIDE_KIND: &str = "circuit_breaker.override.kind";
/// Who forced it and why.
pub const OVERRIDE_REASON: &str = "circuit_breaker.override.reason";
/// When the override expires, Unix nanoseconds (int).
pub const OVERRIDE_EXPIRES: &str = "circuit_breaker.override.expires";
/// OpenTelemetry's `error.type`.
pub const ERROR_TYPE: &str = "error.type";
/// `error.type` of a refused call.
pub const ERROR_TYPE_CIRCUIT_OPEN: &str = "circuit_open";
/// `error.type` of a call for which no slot was free.
pub const ERROR_TYPE_BULKHEAD_FULL: &str = "bulkhead_full";
/// `error.type` of a call that a rate limiter refused.
pub const ERROR_TYPE_RATE_LIMITED: &str = "rate_limited";
/// `error.type` of a call that timed out.
pub const ERROR_TYPE_TIMEOUT: &str = "timeout";
/// `error.type` of a request or call that was dropped before its end: a timeout further out, or a caller that went away.
pub const ERROR_TYPE_CANCELLED: &str = "cancelled";
/// `error.type` of code that panicked.
pub const ERROR_TYPE_PANIC: &str = "panic";
