//! A breaker's state as it is always shown: a switch glyph, a word and a colour.

use fusebox::circuit_breaker::{EffectiveState, FallbackOutcome, Outcome};
use fusebox_collector::model::{CircuitKey, CircuitMark, Grade};

use super::href::Href;
use super::text;

/// How a state is drawn and called.
struct Look {
    class: &'static str,
    symbol: &'static str,
    title: &'static str,
    word: &'static str,
}

/// The table with the appearance of every state.
fn look(state: EffectiveState) -> Look {
    let (class, symbol, title, word) = match state {
        EffectiveState::Closed => ("closed", "g-closed", t!("Closed"), t!("closed")),
        EffectiveState::Open => ("open", "g-open", t!("Open"), t!("open")),
        EffectiveState::HalfOpen => ("half", "g-half", t!("Half-open"), t!("half-open")),
        EffectiveState::ForcedOpen => (
            "forced",
            "g-forced-open",
            t!("Forced open"),
            t!("forced open"),
        ),
        EffectiveState::ForcedClosed => (
            "forced",
            "g-forced-closed",
            t!("Forced closed"),
            t!("forced closed"),
        ),
        EffectiveState::Disabled => ("off", "g-disabled", t!("Disabled"), t!("disabled")),
        EffectiveState::MetricsOnly => ("off", "g-metrics", t!("Metrics only"), t!("metrics only")),
    };
    Look {
        class,
        symbol,
        title,
        word,
    }
}

/// Returns the class that gives the state its colour.
pub(crate) fn class(state: EffectiveState) -> &'static str {
    look(state).class
}

/// Returns the id of the state's glyph among the symbols of the page (`frame/glyphs.html`).
pub(crate) fn symbol(state: EffectiveState) -> &'static str {
    look(state).symbol
}

/// Returns the state's word as a label of its own: `Half-open`.
pub(crate) fn title(state: EffectiveState) -> &'static str {
    look(state).title
}

/// Returns the state's word within a sentence: `half-open`.
pub(crate) fn word(state: EffectiveState) -> &'static str {
    look(state).word
}

/// Returns the word for how a call ended, and the class of its colour in charts.
fn outcome_look(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Success => (t!("ok"), "k-ok"),
        Outcome::Failure => (t!("failed"), "k-failed"),
        Outcome::Timeout => (t!("timed out"), "k-timeout"),
        Outcome::Rejected => (t!("rejected"), "k-refused"),
        Outcome::BulkheadFull => (t!("no slot"), "k-full"),
        Outcome::Ignored => (t!("ignored"), "k-ignored"),
        Outcome::Cancelled => (t!("cancelled"), "k-ignored"),
    }
}

/// Returns the word for how a call ended.
pub(crate) fn outcome_word(outcome: Outcome) -> &'static str {
    outcome_look(outcome).0
}

/// Returns the class of an outcome's colour in charts.
pub(crate) fn outcome_class(outcome: Outcome) -> &'static str {
    outcome_look(outcome).1
}

/// Returns the word for a request's result for its caller.
pub(crate) fn grade_word(grade: Grade) -> &'static str {
    match grade {
        Grade::Failed => t!("failed"),
        Grade::Degraded => t!("degraded"),
        Grade::Ok => t!("ok"),
    }
}

/// Returns the class of a grade's colour; only failures for the caller are red.
pub(crate) fn grade_class(grade: Grade) -> &'static str {
    match grade {
        Grade::Failed => "open",
        Grade::Degraded => "half",
        Grade::Ok => "closed",
    }
}

/// A small mark on a span or a trace: a glyph, a word and a link.
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

/// Returns in a few words how a call ended: `refused, fallback ok`, `probe timed out`, `closed`.
pub(crate) fn call_words(
    state: Option<EffectiveState>,
    outcome: Option<Outcome>,
    fallback: Option<FallbackOutcome>,
    probe: bool,
) -> String {
    let ended = match outcome {
        Some(outcome @ (Outcome::Success | Outcome::Failure | Outcome::Timeout)) if probe => {
            t!("probe {outcome}", outcome = outcome_word(outcome))
        }
        Some(Outcome::Success) | None => state.map_or(t!("circuit"), word).to_owned(),
        Some(outcome) => outcome_word(outcome).to_owned(),
    };
    let fell_back = match fallback {
        Some(FallbackOutcome::Success) => t!("fallback ok"),
        Some(FallbackOutcome::Failure) => t!("fallback failed"),
        Some(FallbackOutcome::Rejected) => t!("fallback rejected"),
        Some(FallbackOutcome::Missing) => t!("no fallback"),
        None => return ended,
    };
    match (state, outcome) {
        // The fallback's own span has no information about the call that it replaces.
        (None, None) => fell_back.to_owned(),
        _ => format!("{ended}, {fell_back}"),
    }
}

/// Returns the result of the call for its caller: its own answer, a fallback's, or none.
fn call_grade(mark: &CircuitMark) -> Grade {
    match mark.fallback {
        Some(FallbackOutcome::Success) => Grade::Degraded,
        _ if mark.is_harmed() => Grade::Failed,
        _ => Grade::Ok,
    }
}

/// Returns whether the call went through a closed breaker and succeeded.
pub(crate) fn is_normal(mark: &CircuitMark) -> bool {
    let state = mark.state.unwrap_or(EffectiveState::Closed);
    state == EffectiveState::Closed && !mark.is_harmed()
}

/// Returns the chip of a call through a breaker. Its colour is that of the outcome, or that of the state if the call
/// succeeded.
pub(crate) fn call_chip(mark: &CircuitMark, probe: bool) -> Chip {
    // A span without a state gets the glyph of a closed breaker.
    let state = mark.state.unwrap_or(EffectiveState::Closed);
    let class = match call_grade(mark) {
        Grade::Ok => class(state),
        grade => grade_class(grade),
    };
    let key = CircuitKey {
        service: mark.service.clone(),
        name: mark.name.clone(),
    };
    Chip {
        class,
        symbol: symbol(state),
        text: call_words(mark.state, mark.outcome, mark.fallback, probe),
        title: text::title(&format!("{} → {}", mark.service, mark.name)).into_owned(),
        href: Href::circuit(&key).to_string(),
    }
}
