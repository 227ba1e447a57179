//! A breaker of recloser, shown like one of fusebox: its `tracing` events (feature `tracing`) report the states, a
//! wrapper around its calls their outcomes.

use std::fmt;
use std::time::Duration;

use fusebox::circuit_breaker::{
    CircuitBreaker, EffectiveState, ForeignBreaker, Outcome, Settings, State,
};
use recloser::{Error, RECLOSER_EVENT, Recloser};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// Passes on the states that the recloser of this name enters.
struct Shown(&'static str, ForeignBreaker);

impl<S: Subscriber> Layer<S> for Shown {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // An event with `ended_ts` is about the state that was left.
        let is_entry = event.fields().any(|field| field.name() == "started_ts");
        if event.metadata().target() == RECLOSER_EVENT && is_entry {
            let mut entered = Entered::default();
            event.record(&mut entered);
            if let (Some(state), true) = (entered.state(), entered.name == self.0) {
                self.1.entered(state, "recloser decided");
            }
        }
    }
}

#[derive(Default)]
struct Entered {
    name: String,
    state: String,
}

impl Entered {
    fn state(&self) -> Option<State> {
        match self.state.as_str() {
            "Closed" => Some(State::Closed),
            "Open" => Some(State::Open),
            "HalfOpen" => Some(State::HalfOpen),
            _ => None,
        }
    }
}

impl Visit for Entered {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "name" => value.clone_into(&mut self.name),
            "state" => value.clone_into(&mut self.state),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
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
    let settings = Settings {
        minimum_calls: 3,
        open_duration: open,
        ..Settings::default()
    };
    let stock = CircuitBreaker::builder("stock").settings(settings);
    let stock = stock.build_foreign();
    Registry::default()
        .with(Shown("stock", stock.clone()))
        .init();
    let breaker = Recloser::custom()
        .name("stock")
        .closed_len(3)
        .half_open_len(1);
    let breaker = breaker.open_wait(open).build();
    let call = |answer: Result<u32, &'static str>| {
        stock.call_blocking(|| breaker.call(|| answer), outcome)
    };
    while stock.breaker().state() == EffectiveState::Closed {
        assert!(call(Err("no answer")).is_err());
    }
    assert!(call(Ok(7)).is_err());
    while stock.breaker().state() != EffectiveState::Closed {
        std::thread::sleep(open);
        let _ = call(Ok(7));
    }
    let shown = stock.breaker().snapshot();
    assert!(shown.calls.failure > 0 && shown.calls.rejected > 0);
    println!("{:?}", shown.calls);
}
