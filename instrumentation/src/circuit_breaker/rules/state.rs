//! The words of a breaker: its state, what may be forced on it, how a call can end.

use serde::{Deserialize, Serialize};

/// The state that a breaker computes from its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// Probes pass, other calls are refused.
    HalfOpen,
}

/// What a person may force on a breaker; the computed state lives on beneath it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverrideKind {
    /// Refuses every call.
    ForcedOpen,
    /// Passes every call and keeps counting.
    ForcedClosed,
    /// Passes every call and counts nothing.
    Disabled,
    /// Passes every call, counts, and announces transitions that it would have made.
    MetricsOnly,
}

impl OverrideKind {
    /// Returns the word that travels.
    pub fn as_str(self) -> &'static str {
        EffectiveState::from(self).as_str()
    }
}

/// The state that decides about calls: the override where there is one, else the computed state.
/// Ordered by how bad it is, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectiveState {
    /// Calls pass.
    Closed,
    /// Passes every call and counts nothing.
    Disabled,
    /// Passes every call and counts.
    MetricsOnly,
    /// Passes every call by order of a person.
    ForcedClosed,
    /// Probes pass.
    HalfOpen,
    /// Refuses every call by order of a person.
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

    /// Returns the word that travels in metrics, events, spans and headers.
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

    /// Reads the word that travels; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Returns whether a person forced it.
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

/// How a call ended, as the breaker judges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered well.
    Success,
    /// Answered badly; counts against health.
    Failure,
    /// Not answered in time; counts against health.
    Timeout,
    /// Refused because the breaker was open; not part of health (Hystrix SHORT_CIRCUITED).
    Rejected,
    /// Refused because no slot was free; counts against health (Hystrix SEMAPHORE_REJECTED).
    BulkheadFull,
    /// The caller's own fault; not part of health (Hystrix BAD_REQUEST).
    Ignored,
    /// Dropped by the caller before an answer; not part of health (Hystrix CANCELLED).
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

    /// Returns the word that travels in metrics and spans.
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

    /// Reads the word that travels; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == word)
    }
}

/// How a fallback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FallbackOutcome {
    /// It answered.
    Success,
    /// It failed too.
    Failure,
    /// No slot of its own semaphore was free.
    Rejected,
    /// There is none.
    Missing,
}

impl FallbackOutcome {
    /// Every outcome, in the order in which they are counted.
    pub const ALL: [Self; 4] = [Self::Success, Self::Failure, Self::Rejected, Self::Missing];

    /// Returns the word that travels in metrics and spans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Rejected => "rejected",
            Self::Missing => "missing",
        }
    }
}
