//! A breaker's state as it is always shown: a switch glyph, a word and a colour.

use fusebox::circuit_breaker::{EffectiveState, Outcome};
use fusebox_collector::model::CircuitMark;

use super::href;
use super::text;

/// Returns the class that gives the state its colour.
pub(crate) fn class(state: EffectiveState) -> &'static str {
    match state {
        EffectiveState::Closed => "closed",
        EffectiveState::Open => "open",
        EffectiveState::HalfOpen => "half",
        EffectiveState::ForcedOpen | EffectiveState::ForcedClosed => "forced",
        EffectiveState::Disabled | EffectiveState::MetricsOnly => "off",
    }
}

/// Returns the state's word.
pub(crate) fn word(state: EffectiveState) -> &'static str {
    match state {
        EffectiveState::Closed => "Closed",
        EffectiveState::Open => "Open",
        EffectiveState::HalfOpen => "Half-open",
        EffectiveState::ForcedOpen => "Forced open",
        EffectiveState::ForcedClosed => "Forced closed",
        EffectiveState::Disabled => "Disabled",
        EffectiveState::MetricsOnly => "Metrics only",
    }
}

/// Returns the id of the state's glyph among the symbols of the page (`base.html`).
pub(crate) fn symbol(state: EffectiveState) -> &'static str {
    match state {
        EffectiveState::Closed => "g-closed",
        EffectiveState::Open => "g-open",
        EffectiveState::HalfOpen => "g-half",
        EffectiveState::ForcedOpen => "g-forced-open",
        EffectiveState::ForcedClosed => "g-forced-closed",
        EffectiveState::Disabled => "g-disabled",
        EffectiveState::MetricsOnly => "g-metrics",
    }
}

/// Returns the word for how a call ended.
pub(crate) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "ok",
        Outcome::Failure => "failed",
        Outcome::Timeout => "timed out",
        Outcome::Rejected => "refused",
        Outcome::BulkheadFull => "no slot",
        Outcome::Ignored => "ignored",
        Outcome::Cancelled => "cancelled",
    }
}

/// A small mark on a span or a trace: a glyph, a word and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chip {
    /// Class for its colour.
    pub(crate) class: &'static str,
    /// Id of its glyph.
    pub(crate) symbol: &'static str,
    /// What it says.
    pub(crate) text: String,
    /// More words, for the title.
    pub(crate) title: String,
    /// Where it leads.
    pub(crate) href: String,
}

/// Returns what became of a call in few words: `refused, fallback ok`, `probe timed out`, `closed`.
pub(crate) fn call_words(state: &str, outcome: &str, fallback: &str, probe: bool) -> String {
    let ended = match Outcome::parse(outcome) {
        Some(Outcome::Success) if probe => "probe ok",
        Some(Outcome::Success) | None => {
            EffectiveState::parse(state).map_or("circuit", |state| match state {
                EffectiveState::Closed => "closed",
                EffectiveState::HalfOpen => "half-open",
                EffectiveState::Open => "open",
                EffectiveState::ForcedOpen => "forced open",
                EffectiveState::ForcedClosed => "forced closed",
                EffectiveState::Disabled => "disabled",
                EffectiveState::MetricsOnly => "metrics only",
            })
        }
        Some(Outcome::Failure) if probe => "probe failed",
        Some(Outcome::Failure) => "failed",
        Some(Outcome::Timeout) if probe => "probe timed out",
        Some(Outcome::Timeout) => "timed out",
        Some(Outcome::Rejected) => "refused",
        Some(Outcome::BulkheadFull) => "no slot",
        Some(Outcome::Ignored) => "ignored",
        Some(Outcome::Cancelled) => "cancelled",
    };
    let fell_back = match fallback {
        "success" => "fallback ok",
        "failure" => "fallback failed",
        "rejected" => "fallback refused",
        "missing" => "no fallback",
        _ => return ended.to_owned(),
    };
    match (state, outcome) {
        // The fallback's own span says nothing of the call that it stands in for.
        ("", "") => fell_back.to_owned(),
        _ => format!("{ended}, {fell_back}"),
    }
}

/// Returns the chip of a call through a breaker; its colour is the state's, or that of trouble.
pub(crate) fn call_chip(mark: &CircuitMark, probe: bool) -> Chip {
    let state = EffectiveState::parse(&mark.state).unwrap_or(EffectiveState::Closed);
    let bad = !matches!(mark.outcome.as_str(), "" | "success" | "ignored");
    let class = match state {
        EffectiveState::Closed if bad => "open",
        other => class(other),
    };
    let key = fusebox_collector::model::CircuitKey {
        service: mark.service.clone(),
        name: mark.name.clone(),
    };
    Chip {
        class,
        symbol: symbol(state),
        text: call_words(&mark.state, &mark.outcome, &mark.fallback, probe),
        title: text::title(&format!("{} → {}", mark.service, mark.name)).into_owned(),
        href: href::Href::circuit(&key).to_string(),
    }
}
