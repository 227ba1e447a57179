//! A service that this one calls: its instances in turn, through one traced client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fusebox::http::client::TracedClient;
use serde_json::Value;

use crate::cli::Error;

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

impl Peers {
    /// Takes names and base URLs; a name comes once for each instance.
    pub(super) fn new(urls: &[(String, String)]) -> Self {
        Self {
            urls: urls.to_vec(),
            client: TracedClient::new(),
        }
    }

    /// Returns the service of that name.
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
            client: self.client.clone(),
        })
    }
}

impl Peer {
    /// Returns its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Asks its next instance; an answer of 4xx or 5xx is an error.
    pub(super) async fn get_json(&self, path: String) -> Result<Value, reqwest::Error> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let base = &self.urls[turn % self.urls.len()];
        self.client
            .get(format!("{base}{path}"))
            .send()
            .await?
            .error_for_status()?
            .json()
            .await
    }
}
