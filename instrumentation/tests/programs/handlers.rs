//! Calls and commands in handlers: axum's, and those in the form that tonic's macro generates.

use std::pin::Pin;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fusebox::circuit_breaker::{
    CallError, CircuitBreaker, CommandError, PoolSettings, PooledError, Registry,
};
use fusebox::resilience::{self, PolicyError, RateLimiter};
use http::{Request, StatusCode};
use tower::ServiceExt;

use crate::{BoxError, boxed, breaker, cow, io_error, report, stock, text};

async fn call_of_text(State(breaker): State<CircuitBreaker>) -> Result<String, StatusCode> {
    let pieces = breaker
        .call(text())
        .await
        .map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(pieces.to_string())
}

async fn call_of_status(
    State(breaker): State<CircuitBreaker>,
) -> Result<String, CallError<StatusCode>> {
    let pieces = async { stock().await.map_err(|_| StatusCode::BAD_GATEWAY) };
    Ok(breaker.call(pieces).await?.to_string())
}

async fn command_of_text(State(breaker): State<CircuitBreaker>) -> String {
    let command = breaker.command().run(text).fallback(|_| async { Ok(1) });
    command.execute().await.unwrap_or_default().to_string()
}

async fn command_of_cow(State(breaker): State<CircuitBreaker>) -> Json<u32> {
    let command = breaker.command().run(cow).fallback(|_| async { Ok(2) });
    Json(command.execute().await.unwrap_or_default())
}

async fn command_of_boxed(
    State(breaker): State<CircuitBreaker>,
    Path(id): Path<u32>,
) -> Result<String, (StatusCode, String)> {
    let command = breaker.command().run(|| async move {
        tokio::task::yield_now().await;
        boxed().await.map(|pieces| pieces + id)
    });
    let result: Result<u32, CommandError<BoxError>> = command.execute().await;
    let pieces = result.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))?;
    Ok(pieces.to_string())
}

async fn command_of_report(State(breaker): State<CircuitBreaker>) -> Response {
    match breaker.command().run(report).execute().await {
        Ok(pieces) => Json(pieces).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn borrowing_command(State(breaker): State<CircuitBreaker>) -> String {
    let command = breaker.command().run(io_error).fallback_borrowing(|cause| {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(cause.to_string().len() as u32)
        })
    });
    command.execute().await.unwrap_or_default().to_string()
}

async fn call_in_pool(
    State(breaker): State<CircuitBreaker>,
) -> Result<String, PooledError<StatusCode>> {
    let pool = Registry::new().pool("stock", PoolSettings::default());
    let pool = pool.map_err(|_| PooledError::Failed(StatusCode::INTERNAL_SERVER_ERROR))?;
    let pieces = async { stock().await.map_err(|_| StatusCode::BAD_GATEWAY) };
    Ok(pool.call(&breaker, pieces).await?.to_string())
}

async fn call_through_a_limiter() -> Result<String, PolicyError<StatusCode>> {
    let limiter = RateLimiter::builder("stock")
        .registry(&resilience::Registry::new())
        .build();
    let pieces = || async { Err::<u32, _>(StatusCode::BAD_GATEWAY) };
    Ok(limiter.call(pieces).await?.to_string())
}

#[tokio::test]
async fn handlers_of_axum_answer() {
    let app = Router::new()
        .route("/call/text", get(call_of_text))
        .route("/call/status", get(call_of_status))
        .route("/call/pool", get(call_in_pool))
        .route("/call/limiter", get(call_through_a_limiter))
        .route("/command/text", get(command_of_text))
        .route("/command/cow", get(command_of_cow))
        .route("/command/boxed/{id}", get(command_of_boxed))
        .route("/command/report", get(command_of_report))
        .route("/command/borrowing", get(borrowing_command))
        .with_state(breaker());
    for (path, status, body) in [
        ("/call/text", 502, ""),
        ("/call/status", 502, ""),
        ("/call/pool", 502, ""),
        ("/call/limiter", 502, ""),
        ("/command/text", 200, "1"),
        ("/command/cow", 200, "2"),
        ("/command/boxed/7", 502, "boxed (no fallback)"),
        ("/command/report", 502, "disk (no fallback)"),
        ("/command/borrowing", 200, "4"),
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let bytes = axum::body::to_bytes(response.into_body(), 1_024)
            .await
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), body, "{path}");
    }
}

/// A status as gRPC has it.
#[derive(Debug, PartialEq)]
struct Status(&'static str);

/// A service as tonic's macro declares it.
trait Warehouse: Send + Sync + 'static {
    fn stock<'life, 'future>(
        &'life self,
        product: u32,
    ) -> Pin<Box<dyn Future<Output = Result<u32, Status>> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future;
}

/// Passes requests on, behind a breaker.
struct Gateway(CircuitBreaker);

impl Warehouse for Gateway {
    fn stock<'life, 'future>(
        &'life self,
        product: u32,
    ) -> Pin<Box<dyn Future<Output = Result<u32, Status>> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        Box::pin(async move {
            let command = self.0.command().run(move || async move {
                tokio::task::yield_now().await;
                Err::<u32, _>(if product == 0 { "no product" } else { "down" })
            });
            let command = command.bad_request_if(|error| *error == "no product");
            match command.execute().await {
                Ok(pieces) => Ok(pieces),
                Err(CommandError::BadRequest(text)) => Err(Status(text)),
                Err(_) => self.0.call(text()).await.map_err(|_| Status("unavailable")),
            }
        })
    }
}

#[tokio::test]
async fn a_service_of_tonic_answers() {
    let service: std::sync::Arc<dyn Warehouse> = std::sync::Arc::new(Gateway(breaker()));
    let shared = service.clone();
    let task = tokio::spawn(async move { shared.stock(0).await });
    assert_eq!(task.await.unwrap(), Err(Status("no product")));
    assert_eq!(service.stock(7).await, Err(Status("unavailable")));
}
