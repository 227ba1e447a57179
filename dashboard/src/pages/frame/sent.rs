//! A form that was sent from a page of this server: its values, and the user that the request names. A form from another
//! site is refused before its values are read.

use axum::extract::{Form, FromRequest, Request};
use axum::response::{IntoResponse, Response};
use fusebox_collector::{is_same_origin, user_name};

use super::error::PageError;
use super::params::Params;

/// The values and the sender of a form.
#[derive(Debug)]
pub(crate) struct SentForm {
    pub(crate) params: Params,
    /// The user, if the request identifies one.
    pub(crate) user: Option<String>,
}

impl<S: Send + Sync> FromRequest<S> for SentForm {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        if !is_same_origin(request.headers()) {
            return Err(PageError::Forbidden.into_response());
        }
        let user = user_name(request.headers());
        let form = Form::<Vec<(String, String)>>::from_request(request, state).await;
        let Form(pairs) = form.map_err(IntoResponse::into_response)?;
        Ok(Self {
            params: Params::from(pairs),
            user,
        })
    }
}
