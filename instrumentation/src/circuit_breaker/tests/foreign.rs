//! Breakers of other libraries in the registry.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::advance;

use super::*;
use crate::circuit_breaker::{ForeignBreaker, Override, OverrideKind, State, request_log};

fn foreign(registry: &Registry) -> ForeignBreaker {
    let settings = Settings {
        minimum_calls: 1,
        failure_rate_percent: 1.0,
        open_duration: ms(100),
        automatic_half_open: true,
        half_open_max_duration: Some(ms(100)),
        ..Settings::default()
    };
    let builder = CircuitBreaker::builder("stock").registry(registry);
    builder.settings(settings).build_foreign()
}

/// Guarantees: calls are counted as the library reports them, and change no state; the state is the library's, and
/// each of its transitions is announced once.
#[tokio::test(start_paused = true)]
async fn the_other_library_decides() {
    let (registry, notes) = (Registry::new(), Arc::new(Notes::default()));
    registry.subscribe(notes.clone());
    let stock = foreign(&registry);
    for _ in 0..50 {
        stock.ended(Outcome::Failure, ms(10));
    }
    assert_eq!(stock.breaker().state(), EffectiveState::Closed);
    for state in [State::Open, State::Open, State::HalfOpen, State::Closed] {
        stock.entered(state, "by its own rules");
        advance(stock.breaker().settings().open_duration * 2).await;
        assert_eq!(stock.breaker().computed_state(), state);
        stock.ended(Outcome::Success, ms(10));
        stock.refused(None);
    }
    let reasons = notes.reasons();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    let counted = registry.get("stock").unwrap().snapshot();
    assert_eq!((counted.calls.failure, counted.calls.success), (50, 4));
    assert_eq!((counted.calls.rejected, counted.in_flight), (4, 0));
    assert_eq!((counted.window.errors, counted.window.calls), (0, 1));
    assert_eq!(notes.reasons(), [""; 0]);
}

/// Scenario: the name of another library's breaker is that of one of this crate, or the other way round.
/// Guarantees: the one that was registered first stays what it was.
#[test]
fn a_name_belongs_to_one_library() {
    let registry = Registry::new();
    let own = || CircuitBreaker::builder("price").registry(&registry);
    let price = own().build();
    let other = own().build_foreign();
    other.entered(State::Open, "by its own rules");
    assert!(!price.is_foreign());
    assert_eq!(price.state(), EffectiveState::Closed);
    assert_eq!(other.breaker().state(), EffectiveState::Open);
    let stock = foreign(&registry);
    let conflict = CircuitBreaker::builder("stock").registry(&registry);
    let conflict = conflict.try_build().unwrap_err().to_string();
    assert!(conflict.contains("library"), "{conflict}");
    assert!(stock.breaker().is_foreign());
}

/// Guarantees: no operator changes a breaker that would not follow.
#[tokio::test(start_paused = true)]
async fn it_is_neither_forced_nor_reset() {
    let stock = foreign(&Registry::new());
    stock.opened_for(Duration::from_secs(30), "by its own rules");
    let forced = Override {
        kind: OverrideKind::ForcedClosed,
        reason: "Ada: try".to_owned(),
        expires: Some(SystemTime::now() + Duration::from_secs(60)),
    };
    stock.breaker().force(forced);
    stock.breaker().reset("Ada: try");
    assert_eq!(stock.breaker().state(), EffectiveState::Open);
    assert_eq!(stock.breaker().current_override(), None);
}

/// Guarantees: a wrapped call is counted however it ends, and is in the list of its request.
#[tokio::test(start_paused = true)]
async fn wrapped_calls_are_counted_however_they_end() {
    let stock = foreign(&Registry::new());
    let by = |result: &Result<u32, &str>| match result {
        Ok(_) => Outcome::Success,
        Err("refused") => Outcome::Rejected,
        Err(_) => Outcome::Failure,
    };
    let calls = async {
        for result in [Ok(7), Err("broken"), Err("refused")] {
            assert_eq!(stock.call(async { result }, by).await, result);
        }
        let hangs = stock.call(std::future::pending(), by);
        assert!(tokio::time::timeout(ms(10), hangs).await.is_err());
        let bad = || -> Result<u32, &str> { panic!("in the call") };
        let panicked = std::panic::AssertUnwindSafe(|| stock.call_blocking(bad, by));
        assert!(std::panic::catch_unwind(panicked).is_err());
    };
    let ((), touched) = request_log::scope(calls).await;
    let calls = stock.breaker().snapshot().calls;
    assert_eq!((calls.success, calls.failure), (1, 2), "the panic is one");
    assert_eq!((calls.rejected, calls.cancelled), (1, 1));
    assert_eq!(touched[0].name.as_str(), "stock");
    assert_eq!(touched[0].outcome, Outcome::Rejected);
}
