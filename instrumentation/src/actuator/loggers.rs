//! `/actuator/loggers`: lists the levels of loggers and changes them for a limited time.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tracing_subscriber::filter::LevelFilter;

use super::Inner;
use super::answer::{Answered, body, json, missing, problem};
use crate::telemetry::Logger;

/// The levels, as Spring Boot lists them.
const LEVELS: [&str; 6] = ["OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"];

/// The body of a change. Without a level the configured one is restored. The time does not exist in Spring Boot and is
/// optional.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Update {
    configured_level: Option<String>,
    expires_in_seconds: Option<u64>,
}

/// `GET /actuator/loggers`
pub(super) async fn all(State(inner): State<Arc<Inner>>) -> Response {
    let loggers = inner.levels.list();
    let loggers = loggers
        .into_iter()
        .map(|logger| (logger.name.clone(), figures(&logger)));
    let loggers = Map::from_iter(loggers);
    json(&json!({ "levels": LEVELS, "loggers": loggers, "groups": {} }))
}

/// `GET /actuator/loggers/{name}`
pub(super) async fn one(State(inner): State<Arc<Inner>>, Path(name): Path<String>) -> Answered {
    let logger = inner
        .levels
        .get(&name)
        .ok_or_else(|| missing("logger", &name))?;
    Ok(json(&figures(&logger)))
}

/// `POST /actuator/loggers/{name}`
pub(super) async fn update(
    State(inner): State<Arc<Inner>>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answered {
    let bad = |text: String| problem(StatusCode::BAD_REQUEST, text);
    let update: Update = match bytes.is_empty() {
        true => Update {
            configured_level: None,
            expires_in_seconds: None,
        },
        false => body(&bytes)?,
    };
    let Some(level) = update.configured_level else {
        let known = inner.levels.get(&name);
        known.ok_or_else(|| missing("logger", &name))?;
        inner.levels.reset(&name);
        tracing::info!(target: "fusebox", logger = name, "the level of a logger was restored");
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let is_known = LEVELS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(&level));
    let filter: Option<LevelFilter> = level.parse().ok().filter(|_| is_known);
    let filter = filter.ok_or_else(|| bad(format!("configuredLevel: one of {LEVELS:?}")))?;
    let expiry = update.expires_in_seconds.map(Duration::from_secs);
    let expiry = expiry.unwrap_or(inner.level_expiry);
    let changed = inner.levels.set(&name, filter, expiry);
    changed.map_err(|error| bad(error.to_string()))?;
    let seconds = expiry.as_secs();
    tracing::info!(target: "fusebox", logger = name, level, seconds, "the level of a logger was changed");
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn figures(logger: &Logger) -> Value {
    let mut fields = json!({ "effectiveLevel": name(logger.effective) });
    if let Some(level) = logger.configured {
        fields["configuredLevel"] = name(level).into();
    }
    if let Some(left) = logger.expires_in {
        fields["expiresInSeconds"] = left.as_secs().into();
    }
    fields
}

fn name(level: LevelFilter) -> String {
    level.to_string().to_ascii_uppercase()
}
