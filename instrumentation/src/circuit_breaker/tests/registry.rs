//! The registry: one breaker per name, a limit, and its listeners.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;
use crate::circuit_breaker::{BuildError, MAX_BREAKERS, MAX_NAME_BYTES};

#[derive(Default)]
struct Counts {
    registered: AtomicUsize,
    changed: AtomicUsize,
}

impl Listener for Counts {
    fn registered(&self, breaker: &CircuitBreaker) {
        // With a lock held this would never return.
        breaker.snapshot();
        self.registered.fetch_add(1, Relaxed);
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

/// Guarantees: who gives no settings accepts any, and a change of the settings in force is no contradiction.
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

/// Guarantees: other settings for a known name are said in the log, once, however often they come.
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

#[test]
fn a_full_registry_still_hands_out_breakers_that_work() {
    let registry = Registry::new();
    let build = |name: &str| CircuitBreaker::builder(name).registry(&registry);
    for n in 0..MAX_BREAKERS {
        build(&format!("host-{n}")).build();
    }
    assert_eq!(
        build("one more").try_build().unwrap_err(),
        BuildError::RegistryFull
    );
    let unlisted = build("one more").settings(hystrix()).build();
    calls(&unlisted, Outcome::Failure, 1);
    assert_eq!(unlisted.state(), EffectiveState::Open);
    assert!(registry.get("one more").is_none());
    assert!(
        build("host-7").try_build().is_ok(),
        "known names stay known"
    );
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

/// Scenario: a name comes from outside and is huge. Guarantees: it protects, and neither list nor wire holds it.
#[test]
fn a_name_that_is_too_long_is_not_listed() {
    let registry = Registry::new();
    let builder = |length| CircuitBreaker::builder(&"x".repeat(length)).registry(&registry);
    assert_eq!(
        builder(MAX_NAME_BYTES + 1).try_build().unwrap_err(),
        BuildError::NameTooLong
    );
    assert!(builder(MAX_NAME_BYTES + 1).build().try_acquire().is_ok());
    assert!(registry.all().is_empty());
    builder(MAX_NAME_BYTES).build();
    assert_eq!(registry.all().len(), 1);
}
