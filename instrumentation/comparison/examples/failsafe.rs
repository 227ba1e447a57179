//! A breaker of failsafe, shown like one of fusebox: its instrument reports the states, a wrapper around its calls their
//! outcomes.

use std::time::Duration;

use failsafe::{CircuitBreaker as _, Config, Error, Instrument, backoff, failure_policy};
use fusebox::circuit_breaker::{
    CircuitBreaker, EffectiveState, ForeignBreaker, Outcome, Settings, State,
};

struct Shown(ForeignBreaker);

impl Instrument for Shown {
    /// The wrapper counts it.
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        self.0.entered(State::Open, "failsafe opened it");
    }

    fn on_half_open(&self) {
        self.0.entered(State::HalfOpen, "its backoff has passed");
    }

    fn on_closed(&self) {
        self.0.entered(State::Closed, "failsafe closed it");
    }
}

fn outcome<T, E>(result: &Result<T, Error<E>>) -> Outcome {
    match result {
        Ok(_) => Outcome::Success,
        Err(Error::Rejected) => Outcome::Rejected,
        Err(Error::Inner(_)) => Outcome::Failure,
    }
}

fn main() {
    let open = Duration::from_millis(50);
    // Only shown: failsafe counts failures in a row.
    let settings = Settings {
        minimum_calls: 3,
        failure_rate_percent: 100.0,
        open_duration: open,
        ..Settings::default()
    };
    let stock = CircuitBreaker::builder("stock").settings(settings);
    let stock = stock.build_foreign();
    let policy = failure_policy::consecutive_failures(3, backoff::constant(open));
    let config = Config::new().failure_policy(policy);
    let breaker = config.instrument(Shown(stock.clone())).build();
    let call = |answer: Result<u32, &'static str>| {
        stock.call_blocking(|| breaker.call(|| answer), outcome)
    };
    for _ in 0..5 {
        assert!(call(Err("no answer")).is_err());
    }
    assert_eq!(stock.breaker().state(), EffectiveState::Open);
    while call(Ok(7)).is_err() {
        std::thread::sleep(open);
    }
    let shown = stock.breaker().snapshot();
    assert_eq!(
        (shown.state, shown.calls.failure),
        (EffectiveState::Closed, 3)
    );
    println!("{:?}", shown.calls);
}
