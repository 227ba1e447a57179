//! Answers of which a part may be missing: the fields of the answer, and `missing`, which says what and why.

use axum::Json;
use serde::Serialize;

use crate::query::Partial;

#[derive(Debug, Serialize)]
pub(super) struct Answer<T> {
    #[serde(flatten)]
    value: T,
    /// Present only if something is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

pub(super) fn json<T>(answer: Partial<T>) -> Json<Answer<T>> {
    let missing = answer.missing_words();
    let value = answer.value;
    Json(Answer { value, missing })
}
