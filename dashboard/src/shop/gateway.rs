//! Where customers come in: product pages and reviews, each behind a breaker of its own.
//!
//! There is no fallback here: while a breaker is open, customers get 503 with `Retry-After` at once instead of
//! waiting for a service that is down.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fusebox::circuit_breaker::{CallError, CircuitBreaker};
use fusebox::http::problem;

use super::peer::{Peer, Peers};
use crate::cli::Error;

struct Gateway {
    product_page: Peer,
    review: Peer,
    product_page_breaker: CircuitBreaker,
    review_breaker: CircuitBreaker,
}

/// Returns its routes.
pub(super) fn router(peers: &Peers) -> Result<Router, Error> {
    let gateway = Gateway {
        product_page: peers.get("product-page")?,
        review: peers.get("review")?,
        product_page_breaker: CircuitBreaker::builder("product-page")
            .group("gateway")
            .build(),
        review_breaker: CircuitBreaker::builder("review").group("gateway").build(),
    };
    Ok(Router::new()
        .route("/product/{id}", get(product))
        .route("/reviews/{id}", get(reviews))
        .with_state(Arc::new(gateway)))
}

async fn product(State(gateway): State<Arc<Gateway>>, Path(id): Path<u32>) -> Response {
    through(
        &gateway.product_page_breaker,
        &gateway.product_page,
        format!("/product/{id}"),
    )
    .await
}

async fn reviews(State(gateway): State<Arc<Gateway>>, Path(id): Path<u32>) -> Response {
    through(
        &gateway.review_breaker,
        &gateway.review,
        format!("/reviews/{id}"),
    )
    .await
}

/// Passes a request on through a breaker.
async fn through(breaker: &CircuitBreaker, peer: &Peer, path: String) -> Response {
    match breaker.call(peer.get_json(path)).await {
        Ok(answer) => Json(answer).into_response(),
        Err(CallError::Rejected(rejected)) => problem::rejected(&rejected),
        Err(error) => {
            (StatusCode::BAD_GATEWAY, format!("{}: {error}", peer.name())).into_response()
        }
    }
}
