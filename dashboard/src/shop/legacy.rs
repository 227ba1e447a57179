//! The monolith: slower than the new services, but it still has stock and prices.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::work;

/// Returns its routes.
pub(super) fn router() -> Router {
    Router::new()
        .route("/stock/{id}", get(stock))
        .route("/price/{id}", get(price))
}

async fn stock(Path(id): Path<u32>) -> Json<Value> {
    work::query("SELECT stock", "tb_product", 50).await;
    Json(json!({ "product": id, "in_stock": id * 7 % 90 }))
}

async fn price(Path(id): Path<u32>) -> Json<Value> {
    work::query("SELECT price", "tb_product", 45).await;
    Json(json!({ "product": id, "won": 9_900 + id * 1_500 }))
}
