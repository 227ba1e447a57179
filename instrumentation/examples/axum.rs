//! An axum service that calls another one behind a breaker. A missing product is a 404 and says nothing about the
//! warehouse; a failure is a 502 and counts; a refused call is a 503 with `Retry-After` and a problem document.
//!
//! `cargo run -p fusebox --example axum --features axum`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fusebox::circuit_breaker::{CallError, CircuitBreaker, Outcome, Settings};
use fusebox::http::server::TraceLayer;
use http::{Request, StatusCode};
use tower::ServiceExt;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let settings = Settings {
        minimum_calls: 3,
        ..Settings::default()
    };
    let warehouse = CircuitBreaker::builder("warehouse")
        .settings(settings)
        .build();
    let app = Router::new()
        .route("/stock/{id}", get(stock))
        .layer(TraceLayer::new()) // A span for each request, with the caller's trace.
        .with_state(warehouse);

    // A service would call `axum::serve(listener, app)` here; the example sends itself a few requests.
    for path in ["/stock/1", "/stock/404", "/stock/500", "/stock/500"] {
        send(&app, path).await;
    }
    for _ in 0..2 {
        send(&app, "/stock/1").await;
    }
}

/// Answers with the stock; `?` converts a refusal into its 503.
async fn stock(
    State(warehouse): State<CircuitBreaker>,
    Path(id): Path<u32>,
) -> Result<String, CallError<StockError>> {
    let outcome = |result: &Result<u32, StockError>| match result {
        Ok(_) => Outcome::Success,
        Err(StockError::NotFound) => Outcome::Ignored,
        Err(StockError::Unavailable) => Outcome::Failure,
    };
    let pieces = warehouse.call_with(ask_warehouse(id), outcome).await?;
    Ok(format!("{pieces} pieces in stock"))
}

enum StockError {
    NotFound,
    Unavailable,
}

impl IntoResponse for StockError {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Unavailable => StatusCode::BAD_GATEWAY.into_response(),
        }
    }
}

/// Simulates a request to another service.
async fn ask_warehouse(id: u32) -> Result<u32, StockError> {
    match id {
        404 => Err(StockError::NotFound),
        500 => Err(StockError::Unavailable),
        _ => Ok(7),
    }
}

async fn send(app: &Router, path: &str) {
    let request = Request::get(path).body(Body::empty());
    let request = request.expect("a path makes a valid request");
    let Ok(response) = app.clone().oneshot(request).await;
    print!("GET {path}: {}", response.status());
    if let Some(wait) = response.headers().get("retry-after") {
        print!(", retry after {wait:?} s");
    }
    println!();
}
