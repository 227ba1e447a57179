//! The outages of a circuit: turns its transitions into one line per outage, whatever the number of instances and
//! probes. Outages in close succession are one line too: the breaker flaps.

use std::collections::BTreeSet;

use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::{CircuitTransition, UnixNanos};
use opentelemetry::{SpanId, TraceId};

use crate::pages::view::text::MINUTE;

/// A breaker that is closed for less than this between two outages is flapping.
const FLAPPING_GAP_NANOS: u64 = MINUTE;
/// Number of outages in a row that are shown as one line.
const FLAPPING_MIN: usize = 3;

/// A period in which at least one instance refused calls other than probes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outage {
    /// When the first instance opened; if the outage began before the known data, its first known time.
    pub(super) start: UnixNanos,
    /// Whether it began before the known data.
    pub(super) began_before: bool,
    /// When the last instance closed.
    pub(super) end: Option<UnixNanos>,
    /// Why the first instance opened.
    pub(super) reason: String,
    /// The call that opened it.
    pub(super) call: Option<(TraceId, Option<SpanId>)>,
    /// Probes that failed.
    pub(super) failed_probes: u64,
    /// The instances that were out.
    pub(super) instances: BTreeSet<String>,
}

/// A line of the list.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Line {
    /// One outage.
    One(Outage),
    /// Outages that follow one another closely, newest first.
    Flapping(Vec<Outage>),
}

/// Returns the outages of these transitions, newest first; the transitions are newest first too.
pub(super) fn outages(transitions: &[CircuitTransition]) -> Vec<Outage> {
    let mut outages: Vec<Outage> = Vec::new();
    let mut known = BTreeSet::new();
    // The instances that are currently out.
    let mut out = BTreeSet::new();
    for transition in transitions.iter().rev() {
        let instance = transition.instance.as_str();
        let is_first = known.insert(instance);
        let was_out = out.contains(instance) || (is_first && transition.from.refuses());
        if !was_out && !transition.to.refuses() {
            continue;
        }
        if out.is_empty() {
            outages.push(begin(transition, was_out));
        }
        let Some(outage) = outages.last_mut() else {
            continue;
        };
        outage.instances.insert(instance.to_owned());
        let is_failed_probe =
            (transition.from, transition.to) == (EffectiveState::HalfOpen, EffectiveState::Open);
        outage.failed_probes += u64::from(is_failed_probe);
        match transition.to.refuses() {
            true => out.insert(instance),
            false => out.remove(instance),
        };
        outage.end = out.is_empty().then_some(transition.time);
    }
    outages.reverse();
    outages
}

fn begin(transition: &CircuitTransition, began_before: bool) -> Outage {
    let opened = transition.to == EffectiveState::Open && !began_before;
    Outage {
        start: transition.time,
        began_before,
        end: None,
        reason: match began_before {
            true => String::new(),
            false => transition.reason.clone(),
        },
        call: transition
            .trace_id
            .filter(|_| opened)
            .map(|id| (id, transition.span_id)),
        failed_probes: 0,
        instances: BTreeSet::new(),
    }
}

/// Returns the lines of a list of outages, newest first.
pub(super) fn lines(outages: Vec<Outage>) -> Vec<Line> {
    let mut runs: Vec<Vec<Outage>> = Vec::new();
    for outage in outages {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|later| is_close(&outage, later)) => {
                run.push(outage);
            }
            _ => runs.push(vec![outage]),
        }
    }
    let line = |run: Vec<Outage>| match run.len() {
        FLAPPING_MIN.. => vec![Line::Flapping(run)],
        _ => run.into_iter().map(Line::One).collect(),
    };
    runs.into_iter().flat_map(line).collect()
}

fn is_close(earlier: &Outage, later: &Outage) -> bool {
    let closed_for = |end: UnixNanos| later.start.get().saturating_sub(end.get());
    earlier
        .end
        .is_some_and(|end| closed_for(end) < FLAPPING_GAP_NANOS)
}

#[cfg(test)]
mod tests {
    use EffectiveState::{Closed, ForcedOpen, HalfOpen, Open};
    use fusebox_collector::model::{CircuitKey, Provenance};

    use super::*;
    use crate::pages::view::text::SECOND;

    fn turn(
        second: u64,
        instance: &str,
        from: EffectiveState,
        to: EffectiveState,
    ) -> CircuitTransition {
        CircuitTransition {
            key: CircuitKey {
                service: "shop".to_owned(),
                name: "stock".to_owned(),
            },
            instance: instance.to_owned(),
            time: UnixNanos::new(second * SECOND),
            from,
            to,
            reason: format!("reason {second}"),
            provenance: Provenance::Reported,
            open_until: None,
            trace_id: Some(TraceId::from(u128::from(second))),
            span_id: None,
        }
    }

    fn newest_first(mut steps: Vec<CircuitTransition>) -> Vec<CircuitTransition> {
        steps.reverse();
        steps
    }

    /// *Scenario*: two instances open, probe and close at different times, twice.
    #[test]
    fn what_overlaps_is_one_outage() {
        let found = outages(&newest_first(vec![
            turn(10, "a", Closed, Open),
            turn(12, "b", Closed, Open),
            turn(15, "a", Open, HalfOpen),
            turn(16, "a", HalfOpen, Open),
            turn(17, "b", Open, HalfOpen),
            turn(18, "b", HalfOpen, Closed),
            turn(21, "a", Open, HalfOpen),
            turn(22, "a", HalfOpen, Closed),
            turn(500, "a", Closed, Open),
        ]));
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].start.get(), found[0].end), (500 * SECOND, None));
        let first = &found[1];
        assert_eq!(first.start.get(), 10 * SECOND);
        assert_eq!(first.end, Some(UnixNanos::new(22 * SECOND)));
        assert_eq!(first.reason, "reason 10");
        assert_eq!(first.call, Some((TraceId::from(10), None)));
        assert_eq!((first.failed_probes, first.instances.len()), (1, 2));
        assert!(!first.began_before);
    }

    #[test]
    fn what_began_before_is_no_beginning() {
        let found = outages(&newest_first(vec![
            turn(5, "a", Open, HalfOpen),
            turn(6, "a", HalfOpen, Closed),
            turn(9, "a", Closed, ForcedOpen),
            turn(11, "a", ForcedOpen, Closed),
        ]));
        assert_eq!(found.len(), 2);
        assert!(found[1].began_before && found[1].reason.is_empty());
        assert_eq!(found[1].end, Some(UnixNanos::new(6 * SECOND)));
        assert!(!found[0].began_before);
        // A breaker that is disabled and enabled was never out.
        let off = EffectiveState::Disabled;
        let steps = [turn(1, "a", Closed, off), turn(2, "a", off, Closed)];
        assert_eq!(outages(&newest_first(steps.into())), []);
    }

    #[test]
    fn outages_in_quick_succession_are_one_line() {
        let mut steps = Vec::new();
        for second in [0, 30, 60, 1_000, 1_030] {
            steps.push(turn(100 + second, "a", Closed, Open));
            steps.push(turn(110 + second, "a", Open, Closed));
        }
        let lines = lines(outages(&newest_first(steps)));
        let [Line::One(_), Line::One(_), Line::Flapping(run)] = &lines[..] else {
            panic!("{lines:?}");
        };
        let starts: Vec<u64> = run.iter().map(|o| o.start.get() / SECOND).collect();
        assert_eq!(starts, [160, 130, 100]);
    }
}
