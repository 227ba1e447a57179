//! What Zipkin Lens wants to know before it starts.

use axum::Json;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::json;

/// How long Lens may keep it, seconds: what Zipkin's server says.
const CACHE: &str = "max-age=600";

/// `GET /zipkin/config.json`
pub(super) async fn config() -> impl IntoResponse {
    let config = json!({
        "environment": "",
        "queryLimit": 10,
        "defaultLookback": 900_000,
        "searchEnabled": true,
        "logsUrl": null,
        "supportUrl": null,
        "archivePostUrl": null,
        "archiveUrl": null,
        "dependency": { "enabled": true, "lowErrorRate": 0.5, "highErrorRate": 0.75 },
    });
    ([(header::CACHE_CONTROL, CACHE)], Json(config))
}
