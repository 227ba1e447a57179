//! Products that customers bought who looked at this one.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::work;

/// Returns its routes.
pub(super) fn router() -> Router {
    Router::new().route("/recommend/{id}", get(recommend))
}

async fn recommend(Path(id): Path<u32>) -> Json<Value> {
    work::compute("rank candidates", 60).await;
    Json(json!({ "product": id, "others": [id % 40 + 1, id * 3 % 40 + 1, id * 7 % 40 + 1] }))
}
