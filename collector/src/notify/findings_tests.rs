//! What is an incident, and what is none.

use super::*;
use crate::model::{CircuitKey, HOUR, Provenance, SECOND};
use crate::notify::state::State;

const NOW: UnixNanos = UnixNanos::new(1_760_000_000_000_000_000);

fn transition(from: EffectiveState, to: EffectiveState, time: UnixNanos) -> CircuitTransition {
    CircuitTransition {
        key: CircuitKey {
            service: "shop".to_owned(),
            name: "stock".to_owned(),
        },
        instance: "a".to_owned(),
        time,
        from,
        to,
        reason: "too many errors".to_owned(),
        provenance: Provenance::Reported,
        open_until: None,
        trace_id: None,
        span_id: None,
    }
}

/// Scenario: a service sends transitions that it kept while the collector was away.
/// Guarantees: an hour-old opening is not reported now; the next check reports it if the circuit is still
/// open.
#[test]
fn a_transition_that_comes_late_is_no_incident() {
    use EffectiveState::{Closed, HalfOpen, Open};
    let found = |from, to, time| of_transition(&transition(from, to, time), NOW).is_some();
    assert!(found(Closed, Open, NOW - SECOND));
    assert!(found(Closed, Open, NOW + HOUR));
    assert!(!found(Closed, Open, NOW - HOUR));
    assert!(!found(HalfOpen, Open, NOW));
    assert!(!found(Open, Closed, NOW));
}

fn instance(id: &str, liveness: Liveness) -> InstanceView {
    InstanceView {
        service: "shop".to_owned(),
        id: id.to_owned(),
        liveness,
        since: None,
        started: None,
        last_heard: NOW,
        has_channel: false,
        way: None,
        channel: Default::default(),
        breakers: 0,
        not_closed: 0,
        calls_per_second: 0.0,
        error_percent: None,
        registration: None,
    }
}

/// Guarantees: many instances that turn silent at once are one incident, and reporting ones are well; late
/// ones have no finding.
#[test]
fn many_silent_instances_are_one_incident() {
    let mut found = Instances {
        instances: vec![
            instance("down", Liveness::Down),
            instance("late", Liveness::Late),
            instance("ended", Liveness::Ended),
            instance("live", Liveness::Live),
        ],
        silent_at_once: None,
        preserved: 0,
    };
    let wrong = |found: &Instances| {
        let findings = of_instances(found, NOW).into_iter();
        let shown = findings.map(|one| {
            let name = one.subject.instance().unwrap_or("all").to_owned();
            (name, one.problem.is_some())
        });
        shown.collect::<Vec<_>>()
    };
    let pairs = |given: &[(&str, bool)]| {
        let pairs = given.iter();
        pairs
            .map(|(name, is)| ((*name).to_owned(), *is))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        wrong(&found),
        pairs(&[("down", true), ("live", false), ("all", false)])
    );
    found.silent_at_once = Some(5);
    assert_eq!(wrong(&found), pairs(&[("live", false), ("all", true)]));
}

/// Scenario: an instance was down, answers again, and is stopped on purpose before it is checked.
/// Guarantees: its incident ends as gone; that of an instance which is still down goes on.
#[test]
fn an_incident_of_an_instance_that_ended_is_over() {
    let mut state = State::default();
    let found = |a| Instances {
        instances: vec![instance("a", a), instance("b", Liveness::Down)],
        silent_at_once: None,
        preserved: 0,
    };
    state.observe(of_instances(&found(Liveness::Down), NOW), NOW);
    let ended = found(Liveness::Ended);
    state.observe(of_instances(&ended, NOW), NOW);
    state.end_unlisted(&remaining(ended.instances).collect(), NOW + SECOND);
    let over = state.incidents().iter();
    let over = over.map(|one| (one.subject.instance(), one.ended, one.is_gone));
    assert_eq!(
        over.collect::<Vec<_>>(),
        [
            (Some("a"), Some(NOW + SECOND), true),
            (Some("b"), None, false)
        ]
    );
}
