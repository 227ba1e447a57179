//! The state of an instance that the next run restores: its standing with the values of its cumulative
//! counts. Samples stored after the standing have calls beyond these values, which must not be counted again.

use std::cmp::Ordering;

use super::Instance;
use crate::live::circuits::facts::{Facts, Second};
use crate::live::circuits::tracker::{MAX_STORED, Tracker};
use crate::model::CircuitCalls;
use crate::store::series::{Standing, Totals};

impl Instance {
    pub(in crate::live::circuits) fn standing_to_store(&self) -> Standing {
        let (series, beyond) = self.tracker.totals();
        let (second, of_second) = self.filed_calls;
        let totals = Totals {
            second,
            of_second,
            beyond,
            series,
        };
        Standing {
            totals: (!totals.series.is_empty()).then_some(totals),
            ..self.standing.clone()
        }
    }

    /// Restores an instance of an earlier run.
    pub(in crate::live::circuits) fn restore(mut facts: Facts) -> Self {
        let totals = facts.standing.totals.take();
        let beyond = |totals: &Totals| counted_beyond(totals, &facts.seconds);
        let tracker = totals
            .as_ref()
            .map(|totals| Tracker::restore(&totals.series, beyond(totals)));
        Self {
            tracker: tracker.unwrap_or_default(),
            goes_on: totals.is_some_and(|totals| totals.series.len() < MAX_STORED),
            filed_calls: facts
                .seconds
                .last()
                .map(|s| (s.second, s.calls))
                .unwrap_or_default(),
            report: facts.report,
            restored: true,
            state_known: true,
            seconds: facts.seconds.into(),
            changes: facts.changes.into(),
            state_before: facts.state_before,
            ..Self::with_standing(facts.standing)
        }
    }
}

/// Returns the calls in samples that were stored after the totals.
fn counted_beyond(totals: &Totals, seconds: &[Second]) -> CircuitCalls {
    let mut beyond = totals.beyond;
    for second in seconds {
        match second.second.cmp(&totals.second) {
            Ordering::Less => {}
            Ordering::Equal => beyond.add(&second.calls.minus(&totals.of_second)),
            Ordering::Greater => beyond.add(&second.calls),
        }
    }
    beyond
}
