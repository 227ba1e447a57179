//! What changed settings would have done in one instance, in words.

use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::live::circuits::{Course, InstancePreview, Turn};

use crate::pages::view::{message, moment, state, text};

/// Openings that are listed.
const TURNS_MAX: usize = 20;

/// One instance.
#[derive(Debug)]
pub(super) struct PreviewRow {
    pub(super) instance: String,
    /// The state at the start: class and word.
    pub(super) start: (&'static str, &'static str),
    pub(super) calls: String,
    pub(super) happened: String,
    pub(super) present: String,
    pub(super) changed: String,
    /// When it would have changed its state, and why.
    pub(super) turns: Vec<TurnRow>,
}

/// One change of state.
#[derive(Debug)]
pub(super) struct TurnRow {
    /// When, as HTML.
    pub(super) time: String,
    pub(super) class: &'static str,
    pub(super) word: &'static str,
    pub(super) why: String,
}

impl PreviewRow {
    pub(super) fn new(preview: &InstancePreview, now: u64) -> Self {
        // A breaker that opened closes again by way of half-open, which needs no line of its own.
        let is_shown = |turn: &&Turn| turn.to != EffectiveState::HalfOpen;
        let changed = preview.changed.iter();
        let turns = changed.flat_map(|it| &it.transitions).filter(is_shown);
        Self {
            instance: text::name(&preview.instance).into_owned(),
            start: (
                state::class(preview.state_at_start),
                state::title(preview.state_at_start),
            ),
            calls: text::count(preview.calls),
            happened: words(&preview.happened),
            present: maybe(preview.present.as_ref()),
            changed: maybe(preview.changed.as_ref()),
            turns: turns
                .take(TURNS_MAX)
                .map(|it| TurnRow::new(it, now))
                .collect(),
        }
    }
}

impl TurnRow {
    fn new(turn: &Turn, now: u64) -> Self {
        Self {
            time: moment::short(turn.time.get(), now),
            class: state::class(turn.to),
            word: state::title(turn.to),
            why: message::shown(&turn.reason, 300).into_owned(),
        }
    }
}

fn maybe(course: Option<&Course>) -> String {
    course.map_or_else(|| t!("not known").to_owned(), words)
}

fn words(course: &Course) -> String {
    if course.openings == 0 && course.refused == 0 {
        return t!("does not open").to_owned();
    }
    let openings = tn!(course.openings, "opens {n} time", "opens {n} times");
    let refused = tn!(course.refused, "{n} call rejected", "{n} calls rejected");
    format!("{openings}, {refused}")
}
