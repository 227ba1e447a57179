//! Tests how changes affect the settings of breakers.

use std::sync::Arc;

use super::super::switches::{SwitchListener, Switches};
use super::*;
use crate::circuit_breaker::EffectiveState;
use crate::control::{Action, Subject};
use crate::telemetry::LogLevels;

fn switches() -> (Registry, Arc<Switches>) {
    let registry = Registry::new();
    let switches = Arc::new(Switches::new(registry.clone(), LogLevels::default()));
    registry.subscribe(Arc::new(SwitchListener::of(&switches)));
    (registry, switches)
}

fn build(registry: &Registry) -> CircuitBreaker {
    CircuitBreaker::builder("stock").registry(registry).build()
}

fn change(id: u64, values: &[(&str, &str)]) -> Change {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    let values = values.iter().map(owned).collect();
    Change {
        id,
        subject: Subject::Settings,
        name: "stock".to_owned(),
        action: Action::Settings,
        reason: "Ada: it opens too late".to_owned(),
        remaining_ms: None,
        settings: Some(SettingsChange {
            values,
            ..SettingsChange::default()
        }),
    }
}

fn outcomes(switches: &Switches) -> Vec<(u64, Outcome, String)> {
    let outcomes = switches.outcomes();
    switches.forget_outcomes(outcomes.len());
    let parts = outcomes.into_iter();
    parts
        .map(|ack| (ack.change, ack.outcome, ack.problem))
        .collect()
}

fn done(id: u64, outcome: Outcome) -> Vec<(u64, Outcome, String)> {
    vec![(id, outcome, String::new())]
}

/// Scenario: settings are changed twice and returned to the program's.
/// Guarantees: each change is on top of the program's own settings, not of the one before; the window keeps its calls.
#[test]
fn a_change_is_on_top_of_the_programs_settings() {
    let (registry, switches) = switches();
    let breaker = build(&registry);
    for _ in 0..5 {
        let _ = breaker.call_blocking(|| Err::<(), _>(()));
    }
    assert!(switches.apply(&change(1, &[("minimum_calls", "100")])));
    assert_eq!(breaker.settings().minimum_calls, 100);
    assert!(switches.apply(&change(2, &[("failure_rate_percent", "90")])));
    let settings = breaker.settings();
    assert_eq!(
        (settings.minimum_calls, settings.failure_rate_percent),
        (20, 90.0)
    );
    assert_eq!(breaker.snapshot().window.calls, 5);
    assert!(
        !switches.apply(&change(1, &[("minimum_calls", "1")])),
        "late"
    );
    assert!(switches.apply(&change(3, &[])));
    assert_eq!(*breaker.settings(), Settings::default());
    let applied = [1, 2, 3].map(|id| (id, Outcome::Applied, String::new()));
    assert_eq!(outcomes(&switches), applied);
}

#[test]
fn what_cannot_work_is_refused_with_the_librarys_sentence() {
    let (registry, switches) = switches();
    let breaker = build(&registry);
    switches.apply(&change(1, &[("minimum_calls", "9")]));
    switches.apply(&change(2, &[("minimum_calls", "9"), ("timeout", "0s")]));
    assert_eq!(
        breaker.settings().minimum_calls,
        9,
        "what was in force stays"
    );
    let answers = outcomes(&switches);
    assert_eq!(answers[1].1, Outcome::Refused);
    assert!(
        answers[1]
            .2
            .starts_with("circuit breaker setting timeout must be above 0")
    );
}

#[test]
fn breakers_of_other_libraries_keep_their_settings() {
    let (registry, switches) = switches();
    let builder = CircuitBreaker::builder("stock").registry(&registry);
    let stock = builder.build_foreign();
    switches.apply(&change(1, &[("minimum_calls", "9")]));
    assert_eq!(outcomes(&switches)[0].1, Outcome::Refused);
    assert_eq!(*stock.breaker().settings(), Settings::default());
}

/// Scenario: a change arrives before its breaker exists; the program changes its own settings afterwards, to some with
/// which the change cannot work at last.
/// Guarantees: the change is applied to the new breaker and stays in force while it can.
#[test]
fn a_change_waits_for_its_breaker_and_outlives_the_programs_changes() {
    let (registry, switches) = switches();
    switches.apply(&change(1, &[("slow_call_duration", "900ms")]));
    assert_eq!(outcomes(&switches), done(1, Outcome::Waiting));
    let breaker = build(&registry);
    let slow = || breaker.settings().slow_call_duration;
    assert_eq!(slow(), Some(Duration::from_millis(900)));
    assert_eq!(outcomes(&switches), done(1, Outcome::Applied));
    let own = |timeout| Settings {
        timeout: Some(Duration::from_millis(timeout)),
        minimum_calls: 7,
        ..Settings::default()
    };
    breaker.update_settings(own(1_500)).unwrap();
    assert_eq!(
        (slow(), breaker.settings().minimum_calls),
        (Some(Duration::from_millis(900)), 7)
    );
    assert_eq!(outcomes(&switches), []);
    breaker.update_settings(own(500)).unwrap();
    assert_eq!(slow(), None);
    assert_eq!(outcomes(&switches)[0].1, Outcome::Refused);
    breaker.update_settings(own(1_000)).unwrap();
    assert_eq!(slow(), Some(Duration::from_millis(900)));
    assert_eq!(outcomes(&switches), done(1, Outcome::Applied));
    switches.apply(&change(2, &[]));
    assert_eq!(*breaker.settings(), own(1_000));
}

/// Scenario: the program reads properties from a file while a change is in force, which then ends.
/// Guarantees: the breaker has the properties' settings and the program's; none of the change's is left.
#[test]
fn properties_do_not_keep_a_change_beyond_its_end() {
    let (registry, switches) = switches();
    let breaker = build(&registry);
    switches.apply(&change(1, &[("minimum_calls", "5")]));
    let set = |json| registry.set_properties(serde_json::from_str(json).unwrap());
    set(r#"{"breakers": {"stock": {"open_duration": "30s"}}}"#).unwrap();
    let in_force = || {
        let settings = breaker.settings();
        (settings.minimum_calls, settings.open_duration.as_secs())
    };
    assert_eq!(in_force(), (5, 30));
    switches.apply(&change(2, &[]));
    assert_eq!(in_force(), (20, 30));
}

/// Scenario: on two threads, properties and an operator change one breaker again and again.
/// Guarantees: neither change is lost, whatever their order.
#[test]
fn changes_at_the_same_time_are_both_in_force() {
    let (registry, switches) = switches();
    let breaker = build(&registry);
    for round in 1..=300_u64 {
        let calls = (round + 1).to_string();
        let properties = format!(r#"{{"breakers": {{"stock": {{"open_duration": "{round}s"}}}}}}"#);
        let properties = serde_json::from_str(&properties).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| registry.set_properties(properties));
            scope.spawn(|| switches.apply(&change(round, &[("minimum_calls", &calls)])));
        });
        let settings = breaker.settings();
        assert_eq!(settings.open_duration.as_secs(), round);
        assert_eq!(settings.minimum_calls.to_string(), calls);
    }
    switches.apply(&change(301, &[]));
    assert_eq!(breaker.settings().minimum_calls, 20);
}

#[tokio::test(start_paused = true)]
async fn an_expired_change_leaves_what_was_in_force_before() {
    let (registry, switches) = switches();
    let breaker = build(&registry);
    let expiry = Arc::clone(&switches);
    tokio::spawn(async move { expiry.expire_settings().await });
    tokio::task::yield_now().await;
    let mut for_a_minute = change(2, &[("minimum_calls", "5"), ("max_concurrent", "3")]);
    for_a_minute.remaining_ms = Some(60_000);
    let then = change(1, &[("minimum_calls", "9")])
        .settings
        .unwrap()
        .values;
    for_a_minute.settings.as_mut().unwrap().then = then;
    switches.apply(&for_a_minute);
    let in_force = || {
        (
            breaker.settings().minimum_calls,
            breaker.settings().max_concurrent,
        )
    };
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(in_force(), (5, 3));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(in_force(), (9, 10));
    for_a_minute.remaining_ms = Some(0);
    switches.apply(&Change {
        id: 3,
        ..for_a_minute
    });
    assert_eq!(in_force(), (9, 10), "it arrived too late");
    assert_eq!(breaker.state(), EffectiveState::Closed);
}

#[test]
fn a_collector_cannot_fill_the_memory() {
    let (_, switches) = switches();
    for id in 1..=HELD_MAX as u64 + 1 {
        let name = format!("breaker-{id}");
        switches.apply(&Change {
            name,
            ..change(id, &[("timeout", "2s")])
        });
    }
    assert_eq!(outcomes(&switches).pop().unwrap().1, Outcome::Refused);
    let long = "9".repeat(VALUES_BYTES_MAX);
    let name = "breaker-1".to_owned();
    switches.apply(&Change {
        name,
        ..change(5_000, &[("timeout", &long)])
    });
    assert_eq!(outcomes(&switches).pop().unwrap().1, Outcome::Refused);
}
