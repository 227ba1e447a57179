//! A breaker around a call that starts to fail: it opens, refuses, admits a probe and closes again.
//!
//! `cargo run -p fusebox --example breaker`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::sync::Arc;
use std::time::Duration;

use fusebox::circuit_breaker::{
    CallError, CircuitBreaker, Listener, Registry, Settings, Transition,
};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    Registry::global().subscribe(Arc::new(PrintTransitions));
    let settings = Settings {
        minimum_calls: 3,
        open_duration: Duration::from_millis(200),
        ..Settings::default()
    };
    let inventory = CircuitBreaker::builder("inventory")
        .settings(settings)
        .build();

    for inventory_is_up in [true, false, false, true] {
        ask(&inventory, inventory_is_up).await;
    }
    println!("waiting for the breaker to allow a probe");
    tokio::time::sleep(Duration::from_millis(250)).await;
    ask(&inventory, true).await;

    let calls = inventory.snapshot().calls;
    println!(
        "{} succeeded, {} failed, {} were refused",
        calls.success, calls.failure, calls.rejected
    );
}

async fn ask(inventory: &CircuitBreaker, is_up: bool) {
    match inventory.call(stock(is_up)).await {
        Ok(pieces) => println!("{pieces} pieces in stock"),
        Err(CallError::Failed(error)) => println!("failed: {error}"),
        Err(CallError::Rejected(refusal)) => {
            println!("refused, retry in {:?}", refusal.retry_after);
        }
    }
}

/// Simulates a request to another service.
async fn stock(is_up: bool) -> Result<u32, &'static str> {
    is_up.then_some(7).ok_or("connection refused")
}

/// Prints every change of state.
struct PrintTransitions;

impl Listener for PrintTransitions {
    fn transition(&self, transition: &Transition) {
        let (from, to) = (transition.from.as_str(), transition.to.as_str());
        println!("  {from} -> {to}: {}", transition.reason);
    }
}
