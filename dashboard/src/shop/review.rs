//! The reviews of a product.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::work;

/// Returns its routes.
pub(super) fn router() -> Router {
    Router::new().route("/reviews/{id}", get(reviews))
}

async fn reviews(Path(id): Path<u32>) -> Json<Value> {
    work::query("SELECT reviews", "reviews", 25).await;
    Json(
        json!({ "product": id, "stars": 4.2, "reviews": ["arrived in a day", "smaller than I thought"] }),
    )
}
