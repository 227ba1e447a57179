//! The entry point for customers: product pages and reviews, each behind its own breaker.
//!
//! There is no fallback here: while a breaker is open, customers receive 503 with `Retry-After` immediately instead of
//! waiting for a failed service. `CommandError` converts into that response.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use fusebox::circuit_breaker::CommandError;
use serde_json::Value;

use super::peer::{PeerError, Peers};
use super::protected::Protected;
use crate::error::Error;

/// How long a customer waits; long enough for a product page whose services are slow and fall back.
const TIMEOUT: Duration = Duration::from_secs(2);

struct Gateway {
    product_page: Protected,
    review: Protected,
}

type Answer = Result<Json<Value>, CommandError<PeerError>>;

/// Returns its routes.
pub(super) fn router(peers: &Peers) -> Result<Router, Error> {
    let gateway = Gateway {
        product_page: Protected::new(peers, "gateway", "product-page", TIMEOUT)?,
        review: Protected::new(peers, "gateway", "review", TIMEOUT)?,
    };
    Ok(Router::new()
        .route("/product/{id}", get(product))
        .route("/reviews/{id}", get(reviews))
        .with_state(Arc::new(gateway)))
}

async fn product(State(gateway): State<Arc<Gateway>>, Path(id): Path<u32>) -> Answer {
    let page = gateway.product_page.get(format!("/product/{id}")).await?;
    Ok(Json(page))
}

async fn reviews(State(gateway): State<Arc<Gateway>>, Path(id): Path<u32>) -> Answer {
    let reviews = gateway.review.get(format!("/reviews/{id}")).await?;
    Ok(Json(reviews))
}
