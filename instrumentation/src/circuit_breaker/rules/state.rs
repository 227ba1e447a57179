//! The states of a breaker, its overrides, and the outcomes of calls and fallbacks.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// The state computed from the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// Probes pass; other calls are refused.
    HalfOpen,
}

/// A state that a person can force on a breaker. The computed state is still updated by calls that pass and are
/// counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverrideKind {
    /// Refuses every call.
    ForcedOpen,
    /// Passes every call and keeps counting.
    ForcedClosed,
    /// Passes every call and counts nothing.
    Disabled,
    /// Passes every call, keeps counting, and reports the transitions that it would have made.
    MetricsOnly,
}

impl OverrideKind {
    /// Returns the name used in metrics, events, spans and headers.
    pub fn as_str(self) -> &'static str {
        EffectiveState::from(self).as_str()
    }
}

/// A state forced by a person, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The forced state.
    pub kind: OverrideKind,
    /// Who forced it and why.
    pub reason: String,
    /// When it ends by itself; `None` if it stays until it is released.
    pub expires: Option<SystemTime>,
}

/// The state in force: the override if there is one, else the computed state. Ordered by severity, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectiveState {
    /// Calls pass.
    Closed,
    /// Passes every call and counts nothing.
    Disabled,
    /// Passes every call and counts.
    MetricsOnly,
    /// Passes every call because a person forced it to.
    ForcedClosed,
    /// Probes pass.
    HalfOpen,
    /// Refuses every call because a person forced it to.
    ForcedOpen,
    /// Calls are refused.
    Open,
}

impl EffectiveState {
    /// Every state, in the order of the state set on the wire.
    pub const ALL: [Self; 7] = [
        Self::Closed,
        Self::Open,
        Self::HalfOpen,
        Self::ForcedOpen,
        Self::ForcedClosed,
        Self::Disabled,
        Self::MetricsOnly,
    ];

    /// Returns the name used in metrics, events, spans and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
            Self::Disabled => "disabled",
            Self::MetricsOnly => "metrics_only",
        }
    }

    /// Parses the name returned by `as_str`.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Returns whether the state refuses calls other than probes. Hystrix calls all of these states open.
    pub fn refuses(self) -> bool {
        matches!(self, Self::Open | Self::HalfOpen | Self::ForcedOpen)
    }

    /// Returns whether a person forced the state.
    pub fn is_forced(self) -> bool {
        !matches!(self, Self::Closed | Self::Open | Self::HalfOpen)
    }
}

impl From<State> for EffectiveState {
    fn from(state: State) -> Self {
        match state {
            State::Closed => Self::Closed,
            State::Open => Self::Open,
            State::HalfOpen => Self::HalfOpen,
        }
    }
}

impl From<OverrideKind> for EffectiveState {
    fn from(kind: OverrideKind) -> Self {
        match kind {
            OverrideKind::ForcedOpen => Self::ForcedOpen,
            OverrideKind::ForcedClosed => Self::ForcedClosed,
            OverrideKind::Disabled => Self::Disabled,
            OverrideKind::MetricsOnly => Self::MetricsOnly,
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The call succeeded.
    Success,
    /// The call failed; part of health.
    Failure,
    /// The call timed out; part of health.
    Timeout,
    /// The breaker refused the call; not part of health (Hystrix SHORT_CIRCUITED).
    Rejected,
    /// No slot was free; part of health only with `Settings::bulkhead_full_is_failure` (Hystrix SEMAPHORE_REJECTED).
    BulkheadFull,
    /// The call failed because of its caller; not part of health (Hystrix BAD_REQUEST).
    Ignored,
    /// The caller dropped the call before its end; part of health only if it was slow by then and
    /// `Settings::count_unfinished_slow_calls` is set (Hystrix CANCELLED).
    Cancelled,
}

impl Outcome {
    /// Every outcome, in the order in which they are counted and drawn.
    pub const ALL: [Self; 7] = [
        Self::Success,
        Self::Failure,
        Self::Timeout,
        Self::Rejected,
        Self::BulkheadFull,
        Self::Ignored,
        Self::Cancelled,
    ];

    /// Returns the name used in metrics and spans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Timeout => "timeout",
            Self::Rejected => "rejected",
            Self::BulkheadFull => "bulkhead_full",
            Self::Ignored => "ignored",
            Self::Cancelled => "cancelled",
        }
    }

    /// Parses the name returned by `as_str`.
    pub fn parse(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|outcome| outcome.as_str() == word)
    }
}

/// How a fallback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FallbackOutcome {
    /// The fallback succeeded.
    Success,
    /// The fallback failed too.
    Failure,
    /// No slot of the fallbacks' own semaphore was free.
    Rejected,
    /// The command has no fallback.
    Missing,
}

impl FallbackOutcome {
    /// Every outcome, in the order in which they are counted.
    pub const ALL: [Self; 4] = [Self::Success, Self::Failure, Self::Rejected, Self::Missing];

    /// Returns the name used in metrics and spans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Rejected => "rejected",
            Self::Missing => "missing",
        }
    }

    /// Parses the name returned by `as_str`.
    pub fn parse(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|outcome| outcome.as_str() == word)
    }
}
