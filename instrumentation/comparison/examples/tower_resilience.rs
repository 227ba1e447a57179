//! A breaker of tower-resilience, shown like one of fusebox: its events report the states, a wrapper around its calls
//! their outcomes.

use std::time::Duration;

use fusebox::circuit_breaker::{CircuitBreaker, EffectiveState, Outcome, Settings, State};
use tokio::runtime::Runtime;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_resilience_circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer, CircuitState};

fn state(of: CircuitState) -> State {
    match of {
        CircuitState::Closed => State::Closed,
        CircuitState::Open => State::Open,
        CircuitState::HalfOpen => State::HalfOpen,
    }
}

fn outcome<T, E>(result: &Result<T, CircuitBreakerError<E>>) -> Outcome {
    match result {
        Ok(_) => Outcome::Success,
        Err(CircuitBreakerError::OpenCircuit) => Outcome::Rejected,
        Err(CircuitBreakerError::Inner(_)) => Outcome::Failure,
    }
}

async fn answer(answer: Result<u32, &'static str>) -> Result<u32, &'static str> {
    answer
}

async fn shown() {
    let open = Duration::from_millis(50);
    let settings = Settings {
        minimum_calls: 3,
        open_duration: open,
        ..Settings::default()
    };
    let stock = CircuitBreaker::builder("stock").settings(settings);
    let stock = stock.build_foreign();
    let reported = stock.clone();
    let layer = CircuitBreakerLayer::builder()
        .sliding_window_size(3)
        .wait_duration_in_open(open)
        .on_state_transition(move |_, to| reported.entered(state(to), "tower-resilience decided"))
        .build();
    let mut service = layer
        .expect("the settings are valid")
        .layer(service_fn(answer));
    let mut call = async |answer| {
        let call = async { service.ready().await?.call(answer).await };
        stock.call(call, outcome).await
    };
    for _ in 0..5 {
        assert!(call(Err("no answer")).await.is_err());
    }
    assert_eq!(stock.breaker().state(), EffectiveState::Open);
    while call(Ok(7)).await.is_err() {
        tokio::time::sleep(open).await;
    }
    let shown = stock.breaker().snapshot();
    assert_eq!(
        (shown.state, shown.calls.failure),
        (EffectiveState::Closed, 3)
    );
    println!("{:?}", shown.calls);
}

fn main() {
    Runtime::new().expect("a runtime starts").block_on(shown());
}
