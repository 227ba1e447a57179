//! Waiting polls: counted by peer address while they wait, and limited in bytes while they are read.

use std::collections::HashMap;
use std::sync::Arc;

use super::peer::Peer;
use crate::counters::Counters;
use crate::pipeline::{Budget, Reservation};
use crate::sync::Mutex;

/// Polls per address: the instances of one host, or those behind one gateway. Each also takes a connection.
pub(super) const PER_PEER_MAX: usize = 1_000;

/// Total bytes of polls being read: 64 of the longest, or thousands of usual ones. Separate from the budget
/// of telemetry, which is full in just those incidents in which breakers are switched.
const READING_BYTES_MAX: usize = 8 << 20;

/// Waiting polls by peer address, and the budget for reading them.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    by_peer: Arc<Mutex<HashMap<Peer, usize>>>,
    reading: Budget,
}

/// A waiting poll, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Counted(Held, Peer);

impl Held {
    /// Counts a poll; `None` at the limit of its address.
    pub(super) fn count(&self, peer: Peer) -> Option<Counted> {
        let mut held = self.by_peer.lock();
        let polls = held.entry(peer).or_default();
        if *polls >= PER_PEER_MAX {
            return None;
        }
        *polls += 1;
        Some(Counted(self.clone(), peer))
    }

    /// Begins to account for the bytes of a poll.
    pub(super) fn begin(&self) -> Reservation {
        self.reading.begin(None)
    }
}

impl Default for Held {
    fn default() -> Self {
        Self {
            by_peer: Arc::default(),
            // Separate counters: the collector's own are about telemetry.
            reading: Budget::new(READING_BYTES_MAX, Arc::<Counters>::default()),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut held = self.0.by_peer.lock();
        if let Some(polls) = held.get_mut(&self.1) {
            *polls -= 1;
            if *polls == 0 {
                held.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let held = Held::default();
        let peer = |last| Peer::from(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
        let all: Vec<_> = (0..PER_PEER_MAX).map(|_| held.count(peer(1))).collect();
        assert!(all.iter().all(Option::is_some));
        assert!(held.count(peer(1)).is_none());
        assert!(held.count(peer(2)).is_some());
        drop(all);
        assert!(held.by_peer.lock().is_empty());
        assert!(held.count(peer(1)).is_some());
    }
}
