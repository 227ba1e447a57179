//! A command: timeout, bulkhead, breaker and fallback around one call, and Hystrix's events for its results.
//!
//! `cargo run -p fusebox --example command`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use fusebox::circuit_breaker::{CircuitBreaker, Settings};
use thiserror::Error;

#[derive(Debug, Error)]
enum PriceError {
    #[error("product {0} does not exist")]
    NotFound(u32),
    #[error("price service is down")]
    Down,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let settings = Settings {
        timeout: Some(Duration::from_millis(50)),
        max_concurrent: 2,
        ..Settings::default()
    };
    let breaker = CircuitBreaker::builder("price").settings(settings).build();
    for product in 1..=4 {
        let command = breaker
            .command()
            .run(|| price(product))
            // A missing product says nothing about the price service, and a fallback cannot help.
            .bad_request_if(|error| matches!(error, PriceError::NotFound(_)))
            .fallback_to("list price", |cause| {
                println!("  falls back: {cause}");
                list_price()
            });
        let (result, execution) = command.execute_observed().await;
        let events: Vec<_> = execution.events().map(|event| event.as_str()).collect();
        match result {
            Ok(price) => println!("product {product} costs {price}: {}", events.join(", ")),
            Err(error) => println!("product {product}: {error}: {}", events.join(", ")),
        }
    }
}

/// Simulates a request to another service: it answers, fails, is too slow, or does not know the product.
async fn price(product: u32) -> Result<u32, PriceError> {
    match product {
        1 => Ok(20),
        2 => Err(PriceError::Down),
        3 => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(30)
        }
        _ => Err(PriceError::NotFound(product)),
    }
}

async fn list_price() -> Result<u32, PriceError> {
    Ok(25)
}
