//! A service that this one calls: its instances in turn, through one traced client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fusebox::circuit_breaker::Outcome;
use fusebox::http::client::{self, Target, TracedClient};
use serde_json::Value;
use tracing::warn;

use crate::error::Error;

/// The services that this one may call.
#[derive(Debug, Clone)]
pub(super) struct Peers {
    urls: Vec<(String, String)>,
    client: TracedClient,
}

/// One service that this one calls.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    name: String,
    urls: Arc<[String]>,
    next: Arc<AtomicUsize>,
    client: TracedClient,
}

/// Why a call to a service failed.
#[derive(Debug, thiserror::Error)]
#[error("no answer from {peer}: {error}")]
pub(super) struct PeerError {
    peer: String,
    #[source]
    error: reqwest::Error,
}

impl Peers {
    /// Takes names and base URLs; a name occurs once for each instance.
    pub(super) fn new(urls: &[(String, String)]) -> Self {
        Self {
            urls: urls.to_vec(),
            client: TracedClient::new(),
        }
    }

    /// Returns the service of this name.
    pub(super) fn get(&self, name: &str) -> Result<Peer, Error> {
        let urls: Arc<[String]> = self
            .urls
            .iter()
            .filter(|(peer, _)| peer == name)
            .map(|(_, url)| url.clone())
            .collect();
        if urls.is_empty() {
            return Err(format!(
                "this service calls {name}: say where it is with --peer {name}=URL"
            )
            .into());
        }
        let next = Arc::new(AtomicUsize::new(0));
        Ok(Peer {
            name: name.to_owned(),
            urls,
            next,
            // An instance that is gone sends no span that would tell the map whose address this is.
            client: self
                .client
                .clone()
                .with_target(Target::default().named(name)),
        })
    }
}

impl Peer {
    /// Calls its next instance; a status of 4xx or 5xx is an error.
    pub(super) async fn get_json(&self, path: String) -> Result<Value, PeerError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let url = format!("{}{path}", self.urls[turn % self.urls.len()]);
        let answer = async {
            self.client
                .get(url)
                .send()
                .await?
                .error_for_status()?
                .json()
                .await
        };
        answer.await.map_err(|error| {
            let error = PeerError {
                peer: self.name.clone(),
                error,
            };
            let cause: &(dyn std::error::Error + 'static) = &error;
            warn!(peer = self.name, error = cause, "a service did not answer");
            error
        })
    }
}

impl PeerError {
    /// Returns whether this service made a mistake (such as a 404), which says nothing about the called one.
    pub(super) fn is_ours(&self) -> bool {
        client::outcome(&self.error) == Outcome::Ignored
    }
}

impl IntoResponse for PeerError {
    fn into_response(self) -> Response {
        let status = self.error.status().filter(|_| self.is_ours());
        (status.unwrap_or(StatusCode::BAD_GATEWAY), self.to_string()).into_response()
    }
}
