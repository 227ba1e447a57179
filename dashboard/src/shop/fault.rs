//! A fault that can be injected into a service of the shop: slow or failing answers.
//!
//! This belongs to the demo and is not an example for real services.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fusebox_collector::sync::Mutex;
use serde::{Deserialize, Serialize};
use tracing::error;

/// A kind of fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Nothing.
    #[default]
    None,
    /// Most answers take far longer than callers wait.
    Slow,
    /// Most answers are errors.
    Failing,
    /// The process is killed.
    Killed,
}

impl FaultKind {
    /// Every kind, mildest first.
    pub const ALL: [Self; 4] = [Self::None, Self::Slow, Self::Failing, Self::Killed];

    /// Returns the value in forms and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Slow => "slow",
            Self::Failing => "failing",
            Self::Killed => "killed",
        }
    }
}

/// A fault and its strength.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Fault {
    /// Its kind.
    pub kind: FaultKind,
    /// The share of affected requests, percent.
    pub percent: u8,
    /// How long a slow answer takes, milliseconds.
    pub delay_ms: u64,
}

impl Fault {
    /// Returns a fault with the demo's strength.
    pub fn of(kind: FaultKind) -> Self {
        Self {
            kind,
            percent: 85,
            delay_ms: 2_500,
        }
    }
}

/// The fault in force, shared by all requests of a service.
#[derive(Debug, Clone, Default)]
pub struct FaultState(Arc<Mutex<Fault>>);

impl FaultState {
    fn get(&self) -> Fault {
        *self.0.lock()
    }

    fn set(&self, fault: Fault) {
        *self.0.lock() = fault;
    }
}

/// Receives a new fault.
pub async fn put_fault(State(state): State<FaultState>, Json(fault): Json<Fault>) -> StatusCode {
    state.set(fault);
    StatusCode::NO_CONTENT
}

/// Applies the fault in force to a request.
pub async fn suffer(State(state): State<FaultState>, request: Request, next: Next) -> Response {
    let fault = state.get();
    if fastrand::u8(0..100) >= fault.percent {
        return next.run(request).await;
    }
    match fault.kind {
        FaultKind::None | FaultKind::Killed => next.run(request).await,
        FaultKind::Slow => {
            tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
            next.run(request).await
        }
        FaultKind::Failing => {
            error!(pool = "stock", waiting = 64, "connection pool exhausted");
            let words = "connection pool exhausted";
            (StatusCode::INTERNAL_SERVER_ERROR, words).into_response()
        }
    }
}
