//! The price of a product.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::work;

/// Returns its routes.
pub(super) fn router() -> Router {
    Router::new().route("/price/{id}", get(price))
}

async fn price(Path(id): Path<u32>) -> Json<Value> {
    work::compute("apply discounts", 6).await;
    Json(json!({ "product": id, "won": 9_900 + id * 1_500 }))
}
