//! A service that this one calls, with the breaker around calls to it.

use std::time::Duration;

use fusebox::circuit_breaker::{CircuitBreaker, CommandError, Settings};
use serde_json::Value;

use super::peer::{Peer, PeerError, Peers};
use crate::error::Error;

/// A service and the breaker around calls to it.
pub(super) struct Protected {
    pub(super) peer: Peer,
    pub(super) breaker: CircuitBreaker,
}

impl Protected {
    /// Protects calls of `caller` to `name`, which wait for an answer for `timeout` at most.
    pub(super) fn new(
        peers: &Peers,
        caller: &str,
        name: &str,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let settings = Settings {
            timeout: Some(timeout),
            max_concurrent: 64,
            ..Settings::default()
        };
        let breaker = CircuitBreaker::builder(name)
            .group(caller)
            .settings(settings);
        Ok(Self {
            peer: peers.get(name)?,
            breaker: breaker.build(),
        })
    }

    /// Asks the service within the time limit, if the breaker lets it; there is no fallback.
    pub(super) async fn get(&self, path: String) -> Result<Value, CommandError<PeerError>> {
        self.breaker
            .command()
            .run(|| self.peer.get_json(path))
            .bad_request_if(PeerError::is_ours)
            .execute()
            .await
    }
}
