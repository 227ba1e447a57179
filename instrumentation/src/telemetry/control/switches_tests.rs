//! Tests how changes affect the breakers of a registry.

use super::*;
use crate::circuit_breaker::EffectiveState;

fn switches() -> (Registry, Arc<Switches>) {
    let registry = Registry::new();
    let switches = Arc::new(Switches::new(registry.clone(), LogLevels::default()));
    registry.subscribe(Arc::new(SwitchListener::of(&switches)));
    (registry, switches)
}

fn change(id: u64, action: Action) -> Change {
    Change {
        id,
        subject: Subject::Breaker,
        name: "stock".to_owned(),
        action,
        reason: "Ada: the disk is full".to_owned(),
        remaining_ms: Some(60_000),
        settings: None,
    }
}

fn build(registry: &Registry) -> CircuitBreaker {
    CircuitBreaker::builder("stock").registry(registry).build()
}

fn outcomes(switches: &Switches) -> Vec<(u64, Outcome)> {
    let outcomes = switches.outcomes();
    switches.forget_outcomes(outcomes.len());
    let pair = |ack: &Acknowledgement| (ack.change, ack.outcome);
    outcomes.iter().map(pair).collect()
}

#[test]
fn each_action_has_its_effect_and_its_reason() {
    let (registry, switches) = switches();
    let breaker = build(&registry);
    let effects = [
        (Action::ForceOpen, EffectiveState::ForcedOpen),
        (Action::ForceClosed, EffectiveState::ForcedClosed),
        (Action::Disable, EffectiveState::Disabled),
        (Action::MetricsOnly, EffectiveState::MetricsOnly),
        (Action::Reset, EffectiveState::Closed),
    ];
    for (id, (action, state)) in (1..).zip(effects) {
        switches.apply(&change(id, action));
        assert_eq!(breaker.state(), state, "{action:?}");
        assert_eq!(outcomes(&switches), [(id, Outcome::Applied)]);
        let forced = breaker.current_override();
        let reason = forced.as_ref().map(|forced| forced.reason.as_str());
        let expected = (action != Action::Reset).then_some("Ada: the disk is full");
        assert_eq!(reason, expected);
        assert!(forced.is_none_or(|forced| forced.expires.is_some()));
    }
}

/// Guarantees: a change of another library's breaker is refused, whether the breaker existed before or not.
#[test]
fn breakers_of_other_libraries_refuse_changes() {
    let (registry, switches) = switches();
    switches.apply(&change(1, Action::ForceOpen));
    assert_eq!(outcomes(&switches), [(1, Outcome::Waiting)]);
    let builder = CircuitBreaker::builder("stock").registry(&registry);
    let stock = builder.build_foreign();
    assert_eq!(outcomes(&switches), [(1, Outcome::Refused)]);
    switches.apply(&change(2, Action::ForceOpen));
    assert_eq!(outcomes(&switches), [(2, Outcome::Refused)]);
    assert_eq!(stock.breaker().state(), EffectiveState::Closed);
}

/// Guarantees: changes of breakers work with libraries and collectors of versions without changes of loggers.
#[test]
fn changes_of_breakers_are_written_as_before() {
    let earlier = r#"{"id":1,"breaker":"stock","action":"reset","reason":"Ada: the disk is full","remaining_ms":60000}"#;
    let read: Change = serde_json::from_str(earlier).unwrap();
    assert_eq!(read, change(1, Action::Reset));
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(written["breaker"], "stock");
}

/// Scenario: an answer is received twice, and an earlier change arrives after a later one.
/// Guarantees: neither has an effect.
#[test]
fn a_change_is_applied_once_and_in_order() {
    let (registry, switches) = switches();
    let breaker = build(&registry);
    assert!(switches.apply(&change(5, Action::ForceOpen)));
    breaker.release();
    for id in [5, 4] {
        assert!(!switches.apply(&change(id, Action::ForceOpen)));
        assert_eq!(breaker.state(), EffectiveState::Closed);
    }
    assert_eq!(outcomes(&switches), [(5, Outcome::Applied)]);
    switches.apply(&change(6, Action::ForceOpen));
    assert_eq!(breaker.state(), EffectiveState::ForcedOpen);
}

/// Scenario: a change arrives before the first call that creates the breaker.
/// Guarantees: the breaker is forced from its first call on, and the collector is informed.
#[test]
fn a_breaker_that_is_made_later_is_forced_too() {
    let (registry, switches) = switches();
    switches.apply(&change(1, Action::ForceOpen));
    assert_eq!(outcomes(&switches), [(1, Outcome::Waiting)]);
    let breaker = build(&registry);
    assert!(breaker.try_acquire().is_err());
    assert_eq!(outcomes(&switches), [(1, Outcome::Applied)]);
    // As after an eviction.
    registry.remove("stock");
    assert!(build(&registry).try_acquire().is_err());
    switches.apply(&change(2, Action::Reset));
    registry.remove("stock");
    assert!(build(&registry).try_acquire().is_ok());
}

/// Scenario: while a new breaker is being forced, a later change arrives on the thread of the channel.
/// Guarantees: the later one is in force in the end.
#[test]
fn a_change_that_comes_meanwhile_wins() {
    for (later, state) in [
        (Action::ForceClosed, EffectiveState::ForcedClosed),
        (Action::Reset, EffectiveState::Closed),
    ] {
        let (registry, switches) = switches();
        switches.apply(&change(1, Action::ForceOpen));
        let stale = switches.latest("stock").unwrap();
        let breaker = build(&registry);
        switches.apply(&change(2, later));
        switches.bring_up_to_date(&breaker, stale);
        assert_eq!(breaker.state(), state);
        let last = outcomes(&switches).pop();
        assert_eq!(last, Some((2, Outcome::Applied)));
    }
}

/// Scenario: a breaker is created just after the channel looked for it.
/// Guarantees: the change is not reported as waiting after it was reported as in force.
#[test]
fn a_change_in_force_does_not_wait() {
    let (registry, switches) = switches();
    let held = switches.hold(&change(1, Action::ForceOpen)).unwrap();
    let missing = registry.get("stock");
    build(&registry);
    switches.carry_out(&held, "stock", missing.as_ref());
    assert_eq!(outcomes(&switches), [(1, Outcome::Applied)]);
}

/// Scenario: an instance that was disconnected receives a change that has expired.
/// Guarantees: it ends the change that it replaced.
#[test]
fn a_late_change_ends_the_one_before() {
    let (registry, switches) = switches();
    let breaker = build(&registry);
    switches.apply(&change(1, Action::ForceOpen));
    switches.apply(&Change {
        remaining_ms: Some(0),
        ..change(2, Action::MetricsOnly)
    });
    assert_eq!(breaker.state(), EffectiveState::Closed);
}

#[test]
fn what_has_expired_forces_nothing() {
    let (registry, switches) = switches();
    let expired = Change {
        remaining_ms: Some(0),
        ..change(1, Action::ForceOpen)
    };
    switches.apply(&expired);
    assert!(build(&registry).try_acquire().is_ok());
}

#[test]
fn a_collector_cannot_fill_the_memory() {
    let (_, switches) = switches();
    for id in 1..=HELD_MAX as u64 + 1 {
        let mut change = change(id, Action::ForceOpen);
        change.name = format!("breaker-{id}");
        change.reason = "é".repeat(100_000);
        change.remaining_ms = Some(u64::MAX);
        switches.apply(&change);
    }
    let last = switches.outcomes().pop().unwrap();
    assert_eq!(last.outcome, Outcome::Refused);
    let inner = switches.inner.lock();
    assert_eq!(inner.by_breaker.len(), HELD_MAX);
    let longest = SystemTime::now() + EXPIRY_MAX;
    for held in inner.by_breaker.values() {
        assert_eq!(held.reason.chars().count(), TEXT_CHARS_MAX);
        assert!(held.expires <= longest);
    }
}

/// Scenario: an answer contains a breaker name as long as the whole answer.
/// Guarantees: it is refused, and the name is not stored.
#[test]
fn endless_names_are_not_held() {
    let (_, switches) = switches();
    let endless = Change {
        subject: Subject::Breaker,
        name: "a".repeat(60_000),
        ..change(1, Action::ForceOpen)
    };
    assert!(!switches.apply(&endless));
    assert_eq!(outcomes(&switches), [(1, Outcome::Refused)]);
    assert!(switches.inner.lock().by_breaker.is_empty());
}

/// Scenario: the level of a logger is raised, the answer is repeated, and a later change restores the level; one change
/// arrives too late, and one has an invalid name.
/// Guarantees: each is done once and acknowledged.
#[test]
fn levels_are_set_once_and_put_back() {
    let (_, switches) = switches();
    let of = |id, name: &str, action| Change {
        subject: Subject::Logger,
        name: name.to_owned(),
        ..change(id, action)
    };
    let level = |name: &str| switches.levels.get(name).unwrap().effective;
    let raise = of(5, "shop", Action::Level(Level::Debug));
    assert!(switches.apply(&raise));
    assert_eq!(level("shop::page"), LevelFilter::DEBUG);
    assert!(!switches.apply(&raise), "it came again");
    assert!(switches.apply(&of(6, "shop", Action::Reset)));
    assert_eq!(level("shop::page"), LevelFilter::OFF);
    assert!(!switches.apply(&raise), "it came late");
    switches.apply(&of(7, "shop", Action::Level(Level::Info)));
    let late = Change {
        remaining_ms: Some(0),
        ..of(8, "shop", Action::Level(Level::Warn))
    };
    assert!(switches.apply(&late));
    assert_eq!(level("shop"), LevelFilter::OFF);
    switches.apply(&of(9, "a b", Action::Level(Level::Warn)));
    switches.apply(&of(10, "shop", Action::ForceOpen));
    let (applied, refused) = (Outcome::Applied, Outcome::Refused);
    let expected = [5, 6, 7, 8].map(|id| (id, applied)).into_iter();
    let expected: Vec<_> = expected.chain([(9, refused), (10, refused)]).collect();
    assert_eq!(outcomes(&switches), expected);
}
