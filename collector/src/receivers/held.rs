//! Requests that are held for a peer address, counted and bounded.

use std::collections::HashMap;
use std::sync::Arc;

use super::peer::Peer;
use crate::sync::Mutex;

/// Polls held for one address: the instances of one host, or those behind one gateway. Each holds a connection too.
pub(super) const PER_PEER_MAX: usize = 1_000;

/// Requests held by peer address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held(Arc<Mutex<HashMap<Peer, usize>>>);

/// A held request, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Counted(Held, Peer);

impl Held {
    /// Counts one more; `None` if the address has as many as it may.
    pub(super) fn count(&self, peer: Peer) -> Option<Counted> {
        let mut held = self.0.lock();
        let polls = held.entry(peer).or_default();
        if *polls >= PER_PEER_MAX {
            return None;
        }
        *polls += 1;
        Some(Counted(self.clone(), peer))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut held = self.0.0.lock();
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
        assert!(held.0.lock().is_empty());
        assert!(held.count(peer(1)).is_some());
    }
}
