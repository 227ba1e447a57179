//! Requests to another service behind a breaker, each with a span and the trace's headers. The breaker counts by
//! status: 5xx, 408 and 429 are failures, 404 and similar statuses are ignored; a failed connection and an incomplete
//! body are failures.
//!
//! `cargo run -p fusebox --example reqwest --features reqwest`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use axum::Router;
use axum::routing::get;
use fusebox::circuit_breaker::{CallError, CircuitBreaker, Settings};
use fusebox::http::client::{ProtectedClient, TracedClient};
use http::StatusCode;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let settings = Settings {
        minimum_calls: 3,
        ..Settings::default()
    };
    let breaker = CircuitBreaker::builder("warehouse")
        .settings(settings)
        .build();
    let client = TracedClient::new().with_breaker(breaker.clone());
    let warehouse = start_warehouse().await?;
    for path in ["/stock", "/missing", "/broken", "/broken", "/stock"] {
        let url = format!("{warehouse}{path}");
        println!("GET {path}: {}", ask(&client, &url).await);
    }
    let calls = breaker.snapshot().calls;
    println!(
        "{} ignored, {} failed, {} refused",
        calls.ignored, calls.failure, calls.rejected
    );
    Ok(())
}

async fn ask(client: &ProtectedClient, url: &str) -> String {
    let response = match client.get(url).send().await {
        Ok(response) if response.status().is_success() => response,
        Ok(response) => return format!("answered {}", response.status()),
        Err(CallError::Failed(error)) => return format!("failed: {error}"),
        Err(CallError::Rejected(refusal)) => {
            return format!("refused, retry in {:?}", refusal.retry_after);
        }
    };
    let body = response.text().await; // Counted as a failure if it breaks off.
    body.unwrap_or_else(|error| format!("broke off: {error}"))
}

/// Starts the other service on a free port of this machine.
async fn start_warehouse() -> std::io::Result<String> {
    let router = Router::new()
        .route("/stock", get(async || "7 pieces"))
        .route("/broken", get(async || StatusCode::SERVICE_UNAVAILABLE));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, router).await });
    Ok(format!("http://{address}"))
}
