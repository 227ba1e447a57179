//! Tests of the registry: one breaker per name, a limit, and listeners.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::*;
use crate::circuit_breaker::{BuildError, MAX_NAME_BYTES};

#[derive(Default)]
struct Counts {
    registered: AtomicUsize,
    removed: AtomicUsize,
    changed: AtomicUsize,
}

impl Listener for Counts {
    fn registered(&self, breaker: &CircuitBreaker) {
        // With a lock held this would never return.
        breaker.snapshot();
        self.registered.fetch_add(1, Relaxed);
    }

    fn removed(&self, breaker: &CircuitBreaker) {
        breaker.snapshot();
        self.removed.fetch_add(1, Relaxed);
    }

    fn settings_changed(&self, breaker: &CircuitBreaker) {
        breaker.snapshot();
        self.changed.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_name_is_one_breaker_and_the_first_settings_win() {
    let registry = Registry::new();
    let builder = || CircuitBreaker::builder("price").registry(&registry);
    let first = builder().group("shop").settings(hystrix()).build();
    let other = builder().group("till").settings(Settings::default());
    assert_eq!(
        other.clone().try_build().unwrap_err().to_string(),
        "circuit breaker price exists with another group, window, minimum_calls, \
         failure_rate_percent, count_unfinished_slow_calls, open_duration, probe_lease, \
         timeout, max_concurrent, bulkhead_full_is_failure"
    );
    let second = other.build();
    assert_eq!(*second.settings(), hystrix());
    assert_eq!(second.group(), "shop");
    calls(&first, Outcome::Failure, 1);
    assert_eq!(second.state(), EffectiveState::Open);
    assert_eq!(registry.all().len(), 1);
    assert_eq!(registry.get("price").unwrap().name(), "price");
    assert!(registry.get("stock").is_none());
}

/// Guarantees: a builder without settings accepts any, and changed settings in force are not a conflict.
#[test]
fn only_other_settings_are_a_conflict() {
    let registry = Registry::new();
    let builder = || CircuitBreaker::builder("price").registry(&registry);
    let first = builder().settings(hystrix()).build();
    first.update_settings(Settings::default()).unwrap();
    assert!(builder().settings(hystrix()).try_build().is_ok());
    assert!(builder().group("default").try_build().is_ok());
    assert_eq!(*builder().build().settings(), Settings::default());
}

/// Guarantees: other settings for a known name are logged once, however often they occur.
#[test]
fn a_conflict_is_logged_once() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (registry, lines) = (Registry::new(), Lines::default());
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let _listening = tracing::subscriber::set_default(subscriber.with_ansi(false).finish());
    let builder = || CircuitBreaker::builder("price").registry(&registry);
    builder().settings(hystrix()).build();
    for _ in 0..3 {
        let other = Settings {
            timeout: None,
            ..hystrix()
        };
        builder().settings(other).build();
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains("circuit breaker price exists with another timeout"),
        "{text}"
    );
}

#[test]
fn wrong_settings_are_refused_by_name() {
    let wrong = Settings {
        half_open_probes: 0,
        ..Settings::default()
    };
    let builder = CircuitBreaker::builder("x").registry(&Registry::new());
    let error = builder.settings(wrong).try_build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "circuit breaker setting half_open_probes must be 1 to 1000, not 0"
    );
}

/// Builds the breaker of this name, like callers that look it up for every call.
fn named(registry: &Registry, name: &str) -> CircuitBreaker {
    let builder = CircuitBreaker::builder(name).registry(registry);
    builder.settings(hystrix()).build()
}

/// Scenario: a registry is full of names from outside, and one more is used for every call; its target is down.
/// Guarantees: it is protected from its first failures on, and the registry stays within its limit.
#[test]
fn a_name_beyond_the_limit_is_protected() {
    let registry = Registry::with_limit(100);
    for n in 0..100 {
        calls(
            &named(&registry, &format!("tenant-{n}")),
            Outcome::Success,
            1,
        );
    }
    let mut reached = 0;
    for _ in 0..1_000 {
        if let Ok(permit) = named(&registry, "one more").try_acquire() {
            permit.record(Outcome::Failure, ms(1));
            reached += 1;
        }
    }
    assert_eq!(reached, 1);
    assert!(registry.len() <= 100);
}

/// Scenario: new names keep arriving, each for a call. Guarantees: closed ones are removed before open or failing ones,
/// and neither a breaker with a handle nor a forced one is removed.
#[test]
fn what_is_not_used_goes_first() {
    let registry = Registry::with_limit(64);
    let held = named(&registry, "held");
    calls(&named(&registry, "open"), Outcome::Failure, 1);
    let failing = Settings {
        minimum_calls: 20,
        ..hystrix()
    };
    let builder = CircuitBreaker::builder("failing").registry(&registry);
    calls(&builder.settings(failing).build(), Outcome::Failure, 19);
    named(&registry, "forced").force(crate::circuit_breaker::Override {
        kind: crate::circuit_breaker::OverrideKind::ForcedOpen,
        reason: "Ada: maintenance".to_owned(),
        expires: None,
    });
    for n in 0..1_000 {
        calls(
            &named(&registry, &format!("tenant-{n}")),
            Outcome::Success,
            1,
        );
        assert!(registry.len() <= 64);
        assert_eq!(
            named(&registry, "open").state(),
            EffectiveState::Open,
            "{n}"
        );
    }
    assert_eq!(
        registry.get("failing").unwrap().snapshot().window.errors,
        19
    );
    let forced = registry.get("forced").unwrap();
    assert_eq!(forced.state(), EffectiveState::ForcedOpen);
    calls(&held, Outcome::Failure, 1);
    assert_eq!(registry.get("held").unwrap().state(), EffectiveState::Open);
}

/// Guarantees: while every breaker is in use the registry grows rather than leave a name without protection, and
/// shrinks when they are no longer used.
#[test]
fn breakers_in_use_are_never_removed() {
    let registry = Registry::with_limit(10);
    let held: Vec<_> = (0..50)
        .map(|n| named(&registry, &format!("host-{n}")))
        .collect();
    assert_eq!(registry.len(), 50);
    for (n, breaker) in held.iter().enumerate() {
        calls(breaker, Outcome::Failure, 1);
        let found = named(&registry, &format!("host-{n}"));
        assert_eq!(found.state(), EffectiveState::Open);
    }
    drop(held);
    named(&registry, "one more");
    assert!(registry.len() <= 10, "{}", registry.len());
}

/// Scenario: threads look up more names than the limit, each for one call at a time, and all calls fail.
/// Guarantees: an eviction loses no running call of a name.
#[test]
fn an_eviction_loses_no_call_that_runs() {
    let registry = Registry::with_limit(8);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let registry = &registry;
            scope.spawn(move || {
                for n in 0..2_000 {
                    let breaker = named(registry, &format!("t{}", (n * 7 + thread) % 30));
                    let permit = breaker.try_acquire_owned();
                    let (state, same) = (breaker.state(), registry.get(breaker.name()));
                    assert!(same.is_some(), "{state:?}: a breaker in use is listed");
                    drop(permit);
                }
            });
        }
    });
    assert!(registry.len() <= 8 + 4);
}

#[test]
fn breakers_are_removed_replaced_and_iterated() {
    let (registry, events) = (Registry::new(), Arc::new(Counts::default()));
    registry.subscribe(events.clone());
    let old = named(&registry, "price");
    calls(&old, Outcome::Failure, 1);
    let new = CircuitBreaker::builder("price").registry(&registry);
    let new = new.settings(Settings::default()).replace().unwrap();
    assert_eq!(
        (old.state(), new.state()),
        (EffectiveState::Open, EffectiveState::Closed)
    );
    assert_eq!(
        *registry.get("price").unwrap().settings(),
        Settings::default()
    );
    named(&registry, "stock");
    let names: Vec<_> = registry.into_iter().map(|b| b.name().to_owned()).collect();
    assert_eq!(names, ["price", "stock"]);
    let removed = registry.remove("price").unwrap();
    calls(&removed, Outcome::Success, 1);
    assert_eq!(removed.snapshot().calls.success, 1, "it still counts");
    assert!(registry.get("price").is_none() && registry.remove("price").is_none());
    assert_eq!(registry.len(), 1);
    let counts = (
        events.registered.load(Relaxed),
        events.removed.load(Relaxed),
    );
    assert_eq!(counts, (3, 2));
    let wrong = Settings {
        max_concurrent: 0,
        ..Settings::default()
    };
    let builder = CircuitBreaker::builder("stock").registry(&registry);
    assert!(builder.settings(wrong).replace().is_err());
}

#[test]
fn listeners_receive_breakers_and_may_use_them() {
    struct Once(AtomicUsize);
    impl Listener for Once {
        fn settings_changed(&self, breaker: &CircuitBreaker) {
            self.0.fetch_add(1, Relaxed);
            assert_eq!(breaker.settings().minimum_calls, 7);
        }
    }
    let (registry, counts, once) = (
        Registry::new(),
        Arc::new(Counts::default()),
        Arc::new(Once(AtomicUsize::new(0))),
    );
    registry.subscribe(counts.clone());
    let breaker = CircuitBreaker::builder("a").registry(&registry).build();
    CircuitBreaker::builder("a").registry(&registry).build();
    assert_eq!(counts.registered.load(Relaxed), 1);
    let other = Registry::new();
    other.subscribe(once.clone());
    let changed = CircuitBreaker::builder("b").registry(&other).build();
    let settings = Settings {
        minimum_calls: 7,
        ..Settings::default()
    };
    changed.update_settings(settings).unwrap();
    assert_eq!(once.0.load(Relaxed), 1);
    assert_eq!(counts.changed.load(Relaxed), 0, "another registry's");
    drop(breaker);
}

/// Guarantees: a registry does not keep listeners that need no more events, such as those of telemetry that has ended.
#[test]
fn listeners_that_are_gone_are_forgotten() {
    struct Gone(AtomicBool);
    impl Listener for Gone {
        fn is_gone(&self) -> bool {
            self.0.load(Relaxed)
        }
    }
    let registry = Registry::new();
    let (stays, goes) = (Arc::new(Gone(false.into())), Arc::new(Gone(false.into())));
    registry.subscribe(stays.clone());
    registry.subscribe(goes.clone());
    goes.0.store(true, Relaxed);
    registry.subscribe(Arc::new(Gone(false.into())));
    assert_eq!(
        (Arc::strong_count(&stays), Arc::strong_count(&goes)),
        (2, 1)
    );
}

#[test]
fn a_snapshot_is_json() {
    let breaker = breaker(hystrix());
    calls(&breaker, Outcome::Success, 3);
    let json = serde_json::to_value(breaker.snapshot()).unwrap();
    assert_eq!(json["name"], "inventory");
    assert_eq!(json["state"], "closed");
    assert_eq!(json["calls"]["success"], 3);
    assert_eq!(json["override"], serde_json::Value::Null);
    assert_eq!(json["latency"]["success"]["sum_nanos"], 30_000_000);
}

/// Scenario: names from outside are huge. Guarantees: each is one working breaker under a shortened name.
#[test]
fn a_name_that_is_too_long_is_shortened() {
    let registry = Registry::new();
    let long = |end: &str| format!("{}{end}", "ä".repeat(MAX_NAME_BYTES));
    let builder = CircuitBreaker::builder(&long("a")).registry(&registry);
    assert_eq!(builder.try_build().unwrap_err(), BuildError::NameTooLong);
    calls(&named(&registry, &long("a")), Outcome::Failure, 1);
    assert_eq!(named(&registry, &long("a")).state(), EffectiveState::Open);
    assert_eq!(named(&registry, &long("b")).state(), EffectiveState::Closed);
    for breaker in &registry {
        assert!(breaker.name().len() <= MAX_NAME_BYTES && breaker.name().starts_with("ää"));
    }
    let group = CircuitBreaker::builder("x")
        .group(&long("c"))
        .registry(&registry);
    assert!(group.build().group().len() <= MAX_NAME_BYTES);
    named(&registry, &"x".repeat(MAX_NAME_BYTES));
    assert_eq!(registry.len(), 4);
}
