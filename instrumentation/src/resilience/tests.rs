//! What all policies share: names, settings, registries and listeners.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::name::MAX_NAME_BYTES;

fn bulkhead(name: &str, registry: &Registry, max_concurrent: u32) -> Result<Bulkhead, BuildError> {
    let settings = BulkheadSettings {
        max_concurrent,
        ..BulkheadSettings::default()
    };
    Bulkhead::builder(name)
        .settings(settings)
        .registry(registry)
        .try_build()
}

/// Guarantees: a name is one policy per kind, wherever it is built, and its first settings win.
#[test]
fn a_name_is_one_policy_of_each_kind() {
    let registry = Registry::new();
    let first = bulkhead("stock", &registry, 1).unwrap();
    let _slot = first.try_acquire().unwrap();
    assert!(
        bulkhead("stock", &registry, 1)
            .unwrap()
            .try_acquire()
            .is_err()
    );
    let conflict = bulkhead("stock", &registry, 2).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "bulkhead stock exists with other settings"
    );
    let other = BulkheadSettings {
        max_concurrent: 2,
        ..BulkheadSettings::default()
    };
    let built = Bulkhead::builder("stock")
        .settings(other)
        .registry(&registry)
        .build();
    assert_eq!(built.settings().max_concurrent, 1);
    let unasked = Bulkhead::builder("stock")
        .registry(&registry)
        .try_build()
        .unwrap();
    assert_eq!(unasked.settings().max_concurrent, 1);
    assert!(registry.get::<RateLimiter>("stock").is_none());
    drop(RateLimiter::builder("stock").registry(&registry).build());
    assert_eq!(registry.len(), 2);
    assert_eq!(
        registry.get::<RateLimiter>("stock").unwrap().name(),
        "stock"
    );
    assert!(registry.remove::<Bulkhead>("stock").is_some());
    assert!(
        bulkhead("stock", &registry, 2)
            .unwrap()
            .try_acquire()
            .is_ok()
    );
}

#[test]
fn a_name_that_is_too_long_is_refused_or_shortened() {
    let registry = Registry::new();
    let long = "é".repeat(MAX_NAME_BYTES);
    assert_eq!(
        bulkhead(&long, &registry, 1).unwrap_err(),
        BuildError::NameTooLong
    );
    let built = Bulkhead::builder(&long).registry(&registry).build();
    assert!(built.name().len() <= MAX_NAME_BYTES);
    let again = Bulkhead::builder(&long).registry(&registry).build();
    assert_eq!(built.name(), again.name());
    assert_eq!(registry.len(), 1);
}

#[test]
#[should_panic(expected = "bulkhead setting max_concurrent must be 1 to 1000000, not 0 (of stock)")]
fn build_panics_on_settings_that_cannot_work() {
    let settings = BulkheadSettings {
        max_concurrent: 0,
        ..BulkheadSettings::default()
    };
    drop(
        Bulkhead::builder("stock")
            .settings(settings)
            .registry(&Registry::new())
            .build(),
    );
}

/// Guarantees: a full registry keeps policies with handles or state, as long as it can remove others.
#[test]
fn a_full_registry_removes_what_is_unused() {
    let registry = Registry::with_limit(4);
    let held = bulkhead("held", &registry, 1).unwrap();
    let limit = RateLimiterSettings {
        limit: 1,
        period: Duration::from_secs(3_600),
        ..RateLimiterSettings::default()
    };
    let spent = RateLimiter::builder("spent")
        .settings(limit)
        .registry(&registry)
        .build();
    spent.try_acquire().unwrap();
    drop(spent);
    for tenant in 0..100 {
        drop(bulkhead(&format!("tenant {tenant}"), &registry, 1).unwrap());
        assert!(registry.len() <= 4, "{}", registry.len());
    }
    assert!(registry.get::<Bulkhead>("held").is_some());
    assert!(
        registry
            .get::<RateLimiter>("spent")
            .unwrap()
            .try_acquire()
            .is_err()
    );
    drop(held);
}

#[derive(Default)]
struct Notes(Mutex<Vec<(Kind, EventKind)>>);

impl Listener for Notes {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push((event.policy, event.kind));
    }
}

/// Guarantees: listeners receive every event, also after another one has panicked, and each call ends once.
#[test]
fn listeners_get_every_event() {
    struct Panics;
    impl Listener for Panics {
        fn event(&self, _: &Event) {
            panic!("in a listener");
        }
    }
    let (registry, notes) = (Registry::new(), Arc::new(Notes::default()));
    registry.subscribe(Arc::new(Panics));
    registry.subscribe(notes.clone());
    let bulkhead = bulkhead("stock", &registry, 1).unwrap();
    let slot = bulkhead.try_acquire().unwrap();
    bulkhead.try_acquire().unwrap_err();
    drop(slot);
    let expected = [
        (Kind::Bulkhead, EventKind::Permitted),
        (Kind::Bulkhead, EventKind::Refused),
    ];
    assert_eq!(*notes.0.lock().unwrap(), expected);
    assert_eq!(registry.snapshots()[0].calls(), 2);
}

#[test]
fn events_are_counted_in_their_place() {
    for (at, event) in EventKind::ALL.into_iter().enumerate() {
        assert_eq!(event.index(), at, "{event:?}");
    }
}

/// Guarantees: durations in settings files may be text, and an unknown key is an error.
#[test]
fn settings_are_read_from_files() {
    let file = r#"{ "max_attempts": 5, "wait": "250ms", "budget": null }"#;
    let settings: RetrySettings = serde_json::from_str(file).unwrap();
    assert_eq!(
        (settings.max_attempts, settings.wait),
        (5, Duration::from_millis(250))
    );
    assert_eq!(settings.budget, None);
    assert!(serde_json::from_str::<RetrySettings>(r#"{ "max_attemps": 5 }"#).is_err());
}

/// Guarantees: the errors of two nested policies can be merged into one.
#[test]
fn errors_of_nested_policies_are_flattened() {
    type Nested = PolicyError<PolicyError<&'static str>>;
    let inner: Nested = PolicyError::Failed(PolicyError::Failed("gone"));
    assert_eq!(inner.flatten(), PolicyError::Failed("gone"));
    let error: Box<dyn std::error::Error + Send + Sync> = PolicyError::Failed("gone").into();
    assert_eq!(error.to_string(), "gone");
}

/// Guarantees: settings change while calls run and wait, invalid settings change nothing, and a builder with the first
/// settings still gets the policy.
#[tokio::test(start_paused = true)]
async fn settings_change_while_calls_wait() {
    let registry = Registry::new();
    let size = |max_concurrent| BulkheadSettings {
        max_concurrent,
        max_wait: Duration::from_secs(60),
        ..BulkheadSettings::default()
    };
    let builder = Bulkhead::builder("stock").registry(&registry);
    let build = || builder.clone().settings(size(1)).try_build().unwrap();
    let stock = build();
    let running = stock.acquire().await.unwrap();
    let waits = tokio::spawn({
        let stock = stock.clone();
        async move { stock.acquire().await }
    });
    tokio::task::yield_now().await;
    stock.update_settings(size(2)).unwrap();
    let second = waits.await.unwrap().unwrap();
    let refused = stock.update_settings(size(0)).unwrap_err();
    assert_eq!(refused.field, "max_concurrent");
    assert_eq!(build().settings().max_concurrent, 2);
    stock.update_settings(size(1)).unwrap();
    drop(running);
    assert!(stock.try_acquire().is_err(), "one runs still");
    drop(second);
    assert!(stock.try_acquire().is_ok());
}

/// Guarantees: spent permits and tokens stay spent under other settings.
#[tokio::test(start_paused = true)]
async fn what_is_spent_stays_spent() {
    let registry = Registry::new();
    let limiter = RateLimiter::builder("stock").registry(&registry);
    let a_minute = |limit, seconds| RateLimiterSettings {
        limit,
        period: Duration::from_secs(seconds),
        max_wait: Duration::from_secs(600),
        ..RateLimiterSettings::default()
    };
    let limiter = limiter.settings(a_minute(3, 60)).build();
    let left = |limiter: &RateLimiter| limiter.snapshot().available.unwrap();
    (0..3).for_each(|_| limiter.try_acquire().unwrap());
    for (limit, expected) in [(1, 0), (5, 2), (3, 0)] {
        limiter.update_settings(a_minute(limit, 60)).unwrap();
        assert_eq!(left(&limiter), expected, "{limit}");
    }
    let started = tokio::time::Instant::now();
    let waits = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.acquire().await }
    });
    tokio::task::yield_now().await;
    limiter.update_settings(a_minute(3, 2)).unwrap();
    waits.await.unwrap().unwrap();
    assert_eq!(
        started.elapsed(),
        Duration::from_secs(2),
        "by the new period"
    );

    let retry = Retry::builder("stock").registry(&registry).build();
    let budget = |max_saved| RetrySettings {
        budget: Some(BudgetSettings {
            per_second: 0,
            max_saved,
            ..BudgetSettings::default()
        }),
        ..RetrySettings::default()
    };
    retry.update_settings(budget(5)).unwrap();
    assert_eq!(retry.snapshot().available, Some(5));
    retry.update_settings(budget(50)).unwrap();
    assert_eq!(retry.snapshot().available, Some(5));
    let endless = RetrySettings {
        budget: None,
        ..RetrySettings::default()
    };
    retry.update_settings(endless).unwrap();
    assert_eq!(retry.snapshot().available, None);
}
