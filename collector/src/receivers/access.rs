//! Who is connected, over all listeners: what `/metrics` shows about peers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::peer::Peer;
use super::places::{PlaceLimits, Places};
use crate::sync::Mutex;

/// The open connections of all listeners; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    listeners: Arc<Mutex<Vec<Arc<Places>>>>,
}

impl Access {
    /// Returns the places of one more listener.
    pub(crate) fn open(&self, connections_max: usize) -> Arc<Places> {
        let places = Places::new(PlaceLimits::of(connections_max));
        self.listeners.lock().push(Arc::clone(&places));
        places
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
