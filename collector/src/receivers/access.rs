//! Who is connected, and who was turned away, over all listeners: what `/metrics` shows about peers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::forwarded::{self, TrustedProxy};
use super::guesses::Guesses;
use super::peer::Peer;
use super::places::{PlaceLimits, Places, Session};
use crate::sync::Mutex;

/// Requests that were turned away, by listener and reason.
type Denials = BTreeMap<(&'static str, &'static str), u64>;

/// The open connections of all listeners, and wrong tokens; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    listeners: Arc<Mutex<Vec<Arc<Places>>>>,
    guesses: Arc<Mutex<Guesses>>,
    denials: Arc<Mutex<Denials>>,
    proxies: Arc<[TrustedProxy]>,
}

impl Access {
    /// Returns no connections yet; what those proxies say about their clients is believed.
    pub(crate) fn behind(proxies: &[TrustedProxy]) -> Self {
        Self {
            proxies: Arc::from(proxies),
            ..Self::default()
        }
    }

    /// Returns whether that address is a trusted proxy's.
    pub(super) fn is_proxy(&self, addr: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.has(addr))
    }

    /// Returns who sent a request: the client that a trusted proxy names, else who is connected.
    pub(super) fn client(&self, session: &Session, headers: &HeaderMap) -> Peer {
        let forwarded = match session.is_proxy() {
            true => forwarded::client(headers, &self.proxies),
            false => None,
        };
        forwarded.map_or(session.peer(), Peer::from)
    }

    /// Returns the places of one more listener.
    pub(crate) fn open(&self, listener: &'static str, connections_max: usize) -> Arc<Places> {
        let places = Places::new(listener, PlaceLimits::of(connections_max));
        self.listeners.lock().push(Arc::clone(&places));
        places
    }

    /// Counts a request that was turned away.
    pub(super) fn denied(&self, listener: &'static str, reason: &'static str) {
        *self.denials.lock().entry((listener, reason)).or_default() += 1;
    }

    /// Counts a wrong token.
    pub(super) fn guessed(&self, peer: Peer) {
        self.guesses.lock().note(peer, Instant::now());
    }

    /// Returns how long an answer to that peer is held back.
    pub(super) fn held(&self, peer: Peer) -> Duration {
        self.guesses.lock().held(peer, Instant::now())
    }

    /// Returns how many requests were turned away, by listener and reason.
    pub(crate) fn denials(&self) -> Denials {
        self.denials.lock().clone()
    }

    /// Returns the peers with most wrong tokens, at most `peers_max`, most first.
    pub(crate) fn guessers(&self, peers_max: usize) -> Vec<(Peer, u64)> {
        self.guesses.lock().most(peers_max)
    }

    /// Returns the peers with most connections that have not authenticated, at most `peers_max`, most first.
    pub(crate) fn unauthenticated(&self, peers_max: usize) -> Vec<(Peer, u64)> {
        let mut counts = BTreeMap::new();
        for places in self.listeners.lock().iter() {
            places.count_unauthenticated(&mut counts);
        }
        let mut counts: Vec<(Peer, u64)> = counts.into_iter().collect();
        counts.sort_by_key(|(peer, connections)| (std::cmp::Reverse(*connections), *peer));
        counts.truncate(peers_max);
        counts
    }
}
