//! A service that this one calls, with a breaker around the calls.

use std::time::Duration;

use fusebox::circuit_breaker::{CircuitBreaker, CommandError, Settings};
use serde_json::Value;

use super::peer::{Peer, PeerError, Peers};
use crate::error::Error;

pub(super) struct Protected {
    pub(super) peer: Peer,
    pub(super) breaker: CircuitBreaker,
}

impl Protected {
    /// Protects calls from `caller` to `name` with a timeout of `timeout`.
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

    /// Calls the service within the timeout, if the breaker admits it; there is no fallback.
    pub(super) async fn get(&self, path: String) -> Result<Value, CommandError<PeerError>> {
        self.breaker
            .command()
            .run(|| self.peer.get_json(path))
            .bad_request_if(PeerError::is_ours)
            .execute()
            .await
    }
}
