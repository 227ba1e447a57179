//! Errors as this version writes them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::jaeger::answer;

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Failure(answer::Failure);

impl<E: Into<answer::Failure>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(failure) = self;
        let error = json!({"httpCode": failure.status.as_u16(), "message": failure.message});
        let mut response = (failure.status, Json(json!({"error": error}))).into_response();
        failure.hint(&mut response);
        response
    }
}

/// Answers for paths under `/jaeger/api/v3` that do not exist here.
pub(super) async fn no_such_route() -> Failure {
    answer::no_such_route().await.into()
}

/// Answers other methods: the API only reads.
pub(super) async fn only_get() -> Failure {
    answer::only_get().await.into()
}
