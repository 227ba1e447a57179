//! Connected peers and rejected requests over all listeners, for `/metrics`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::forwarded;
use super::guesses::Guesses;
use super::peer::Peer;
use super::places::{PlaceLimits, Places, Session};
use crate::model::Network;
use crate::sync::Mutex;

type Denials = BTreeMap<(&'static str, &'static str), u64>;

/// The open connections of all listeners, and wrong tokens; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    listeners: Arc<Mutex<Vec<Arc<Places>>>>,
    guesses: Arc<Mutex<Guesses>>,
    denials: Arc<Mutex<Denials>>,
    proxies: Arc<[Network]>,
}

impl Access {
    /// `proxies` are trusted to name their clients.
    pub(crate) fn behind(proxies: &[Network]) -> Self {
        Self {
            proxies: Arc::from(proxies),
            ..Self::default()
        }
    }

    pub(super) fn is_proxy(&self, addr: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.has(addr))
    }

    /// Returns the sender of a request: the client named by a trusted proxy, else the connected peer.
    pub(super) fn client(&self, session: &Session, headers: &HeaderMap) -> Peer {
        let forwarded = match session.is_proxy() {
            true => forwarded::client(headers, &self.proxies),
            false => None,
        };
        forwarded.map_or(session.peer(), Peer::from)
    }

    pub(crate) fn open(&self, listener: &'static str, connections_max: usize) -> Arc<Places> {
        let places = Places::new(listener, PlaceLimits::of(connections_max));
        self.listeners.lock().push(Arc::clone(&places));
        places
    }

    pub(super) fn denied(&self, listener: &'static str, reason: &'static str) {
        *self.denials.lock().entry((listener, reason)).or_default() += 1;
    }

    pub(super) fn guessed(&self, peer: Peer) {
        self.guesses.lock().note(peer, Instant::now());
    }

    /// Returns how long answers to that peer are delayed.
    pub(super) fn held(&self, peer: Peer) -> Duration {
        self.guesses.lock().held(peer, Instant::now())
    }

    pub(crate) fn denials(&self) -> Denials {
        self.denials.lock().clone()
    }

    /// Returns the peers with the most wrong tokens, descending.
    pub(crate) fn guessers(&self, peers_max: usize) -> Vec<(Peer, u64)> {
        self.guesses.lock().most(peers_max)
    }

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
