//! Answers of which something may be missing: their fields, and `missing`, which says what and why.

use axum::Json;
use serde::Serialize;

use crate::query::Partial;

/// An answer, and what is missing from it.
#[derive(Debug, Serialize)]
pub(super) struct Answer<T> {
    #[serde(flatten)]
    value: T,
    /// Only where something is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

pub(super) fn json<T>(answer: Partial<T>) -> Json<Answer<T>> {
    let missing = answer.missing_words();
    let value = answer.value;
    Json(Answer { value, missing })
}
