//! Replays of made samples.

use super::*;
use crate::model::{CircuitKey, Provenance};

const START: UnixNanos = UnixNanos::new(1_800_000_000_000_000_000);

fn sample(second: u32, success: u64, failure: u64, rejected: u64) -> CircuitSample {
    CircuitSample {
        key: CircuitKey {
            service: "shop".to_owned(),
            name: "stock".to_owned(),
        },
        instance: "a".to_owned(),
        time: START + SECOND * second,
        state: EffectiveState::Closed,
        calls: CircuitCalls {
            success,
            failure,
            rejected,
            ..CircuitCalls::default()
        },
        in_flight: 0,
        latency_buckets: Vec::new(),
    }
}

fn run(changed: Settings, samples: Vec<CircuitSample>) -> Preview {
    run_after(Vec::new(), changed, samples)
}

/// `past` is latest first.
fn run_after(
    past: Vec<CircuitTransition>,
    changed: Settings,
    samples: Vec<CircuitSample>,
) -> Preview {
    let range = TimeRange::until(START + LENGTH, LENGTH);
    let present = Settings::default();
    let mut seconds = Seconds::new(range, [&present, &changed]);
    samples.into_iter().for_each(|sample| seconds.add(sample));
    let run = Run {
        present,
        changed,
        past: by_instance(past),
        range: seconds.latest(),
    };
    run.preview(seconds.by_instance()).unwrap()
}

/// Scenario: half a minute in which every third call failed.
/// Guarantees: 50 % do not open it, 30 % would have, with the time, the reason and the refused calls.
#[test]
fn a_lower_limit_would_have_opened_it() {
    let lower = Settings {
        failure_rate_percent: 30.0,
        ..Settings::default()
    };
    let samples = (0..30).map(|second| sample(second, 20, 10, 0)).collect();
    let preview = run(lower, samples);
    let one = &preview.instances[0];
    assert_eq!((one.calls, &one.present), (900, &Some(Course::default())));
    let changed = one.changed.as_ref().unwrap();
    let first = &changed.transitions[0];
    assert_eq!(first.to, EffectiveState::Open);
    assert!((START..START + SECOND).contains(&first.time));
    assert!(first.reason.contains("(limit 30 %)"), "{}", first.reason);
    assert!(changed.refused > 300, "{changed:?}");
}

/// Scenario: the circuit opened 2 s before the ten minutes begin, with an open time of 5 s; and the settings to try wait
/// for 30 s.
/// Guarantees: both begin open, each for what is left of its own open time; forced states are no states of the rules.
#[test]
fn a_replay_begins_in_the_state_of_its_start() {
    let patient = Settings {
        open_duration: SECOND * 30,
        ..Settings::default()
    };
    let transition = |to, time| CircuitTransition {
        key: sample(0, 0, 0, 0).key,
        instance: "a".to_owned(),
        time,
        from: EffectiveState::Closed,
        to,
        reason: String::new(),
        provenance: Provenance::Reported,
        open_until: None,
        trace_id: None,
        span_id: None,
    };
    let opened = |time| vec![transition(EffectiveState::Open, time)];
    let samples: Vec<_> = (0..60).map(|second| sample(second, 10, 0, 0)).collect();
    let refused = |past| {
        let preview = run_after(past, patient.clone(), samples.clone());
        let one = preview.instances.into_iter().next().unwrap();
        let of = |course: Option<Course>| course.unwrap().refused;
        (one.state_at_start, of(one.present), of(one.changed))
    };
    let open = (EffectiveState::Open, 30, 280);
    assert_eq!(refused(opened(START - SECOND * 2)), open);
    let forced = vec![transition(EffectiveState::ForcedOpen, START - SECOND)];
    assert_eq!(refused(forced), (EffectiveState::ForcedOpen, 0, 0));
    let later = opened(START + SECOND * 50);
    assert_eq!(refused(later), (EffectiveState::Closed, 0, 0));
    assert_eq!(refused(Vec::new()), (EffectiveState::Closed, 0, 0));
}

#[test]
fn only_as_many_calls_as_can_be_replayed_are() {
    let samples = (0..10)
        .map(|second| sample(second, 1_000_000, 0, 0))
        .collect();
    let preview = run(Settings::default(), samples);
    assert_eq!(preview.start, START + SECOND * 7);
    assert_eq!(preview.instances[0].calls, CALLS_MAX);
}

#[test]
fn what_the_breaker_refused_has_no_result() {
    let patient = Settings {
        failure_rate_percent: 100.0,
        ..Settings::default()
    };
    let mut samples = vec![sample(0, 10, 20, 0)];
    samples.extend((1..6).map(|second| sample(second, 0, 0, 10)));
    let preview = run(patient, samples);
    let one = &preview.instances[0];
    let changed = one.changed.as_ref().unwrap();
    assert_eq!((one.happened.refused, changed.unknown), (50, 50));
    assert_eq!(changed.openings, 0);
}

/// Scenario: counts whose sum does not fit into 64 bits, which by wrapping would look like few calls.
/// Guarantees: they are more than can be replayed.
#[test]
fn counts_do_not_wrap() {
    let half = || sample(3, 1 << 63, 0, 0);
    let samples = vec![sample(2, 7, 0, 0), half(), half(), sample(4, 5, 0, 0)];
    let preview = run(Settings::default(), samples);
    assert_eq!(preview.start, START + SECOND * 4);
    assert_eq!(preview.instances[0].calls, 5);
}

/// Scenario: thousands of samples of each second, of thousands of instances.
/// Guarantees: a second of an instance is kept once, and of too many the latest.
#[test]
fn samples_take_a_bounded_room() {
    let range = TimeRange::until(START + LENGTH, LENGTH);
    let settings = Settings::default();
    let mut seconds = Seconds::new(range, [&settings, &settings]);
    for second in 0..31 {
        for instance in 0..4_000 {
            for _ in 0..2 {
                seconds.add(CircuitSample {
                    instance: instance.to_string(),
                    ..sample(second, 1, 0, 0)
                });
            }
        }
    }
    assert_eq!(seconds.counted.len(), SECONDS_MAX);
    assert_eq!(seconds.latest().start, START + SECOND);
    let all = seconds.by_instance();
    assert_eq!((all.len(), all["7"].len()), (4_000, 30));
    assert_eq!((all["7"][0].0, all["7"][0].1.calls.success), (0, 2));
}

#[test]
fn a_preview_ends_when_no_caller_waits() {
    let asked = cancel::Asked::default();
    let _entered = asked.cancel().enter();
    drop(asked);
    let settings = Settings::default();
    let run = Run {
        present: settings.clone(),
        changed: settings,
        past: HashMap::new(),
        range: TimeRange::until(START + LENGTH, LENGTH),
    };
    let seconds = BTreeMap::from([("a".to_owned(), vec![(0, Second::default())])]);
    assert!(matches!(run.preview(seconds), Err(StoreError::Cancelled)));
}
