//! The stock of a product: a new service, extracted from the monolith.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::work;

/// Returns its routes.
pub(super) fn router() -> Router {
    Router::new().route("/stock/{id}", get(stock))
}

async fn stock(Path(id): Path<u32>) -> Json<Value> {
    work::query("SELECT stock", "stock", 12).await;
    Json(json!({ "product": id, "in_stock": id * 7 % 90 }))
}
