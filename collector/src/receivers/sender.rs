//! Who registers instances, by the address of the connection; the registry gives each sender a share.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::Extensions;
use http::request::Parts;

use super::places::Session;
use crate::live::registry::Sender;

/// Returns the sender of a request.
pub(super) fn sender(extensions: &Extensions) -> Sender {
    let session = extensions.get::<Arc<Session>>();
    Sender(session.map(|session| session.peer().ip()))
}

/// The sender of a request to the web listener.
#[derive(Debug)]
pub(crate) struct SentFrom(pub(crate) Sender);

impl<S: Sync> FromRequestParts<S> for SentFrom {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(sender(&parts.extensions)))
    }
}
