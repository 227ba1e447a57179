//! Where customers come in: product pages and reviews, each behind a breaker of its own.
//!
//! There is no fallback here: while a breaker is open, customers get 503 with `Retry-After` at once instead of
//! waiting for a service that is down. `CommandError` is that answer already.

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

/// How long a customer waits: enough for a product page whose services are slow and fall back.
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
