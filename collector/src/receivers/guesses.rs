//! Wrong tokens by peer: answers to a peer that guesses are increasingly delayed. Behind a trusted proxy each
//! of its clients is a peer (`forwarded`).
//!
//! Each wrong token adds a debt of some seconds that only time reduces. Beyond a free amount, answers to that
//! peer on unauthenticated connections are delayed, for right tokens as long as for wrong ones, so that the
//! delay reveals nothing. Authenticated connections are not delayed.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::peer::Peer;

/// How long a wrong token counts.
const COST: Duration = Duration::from_secs(6);

/// Ten wrong tokens a minute are answered at once: a service with an old token, a person with a typing
/// mistake.
const FREE: Duration = Duration::from_secs(60);

/// Longest delay; exporters give up on a batch after 10 s.
const HELD_MAX: Duration = Duration::from_secs(5);

/// Debt per second of delay: the eleventh wrong token is delayed by 100 ms, the sixtieth by 5 s.
const DEBT_PER_HELD: u32 = 60;

/// Upper bound of the debt, at which the delay is longest.
const DEBT_MAX: Duration = Duration::from_secs(360);

/// Peers remembered; beyond it, those with the least debt are evicted.
const PEERS_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(crate) struct Guesses(HashMap<Peer, Guesser>);

#[derive(Debug)]
struct Guesser {
    wrong: u64,
    settled_at: Instant,
}

impl Guesses {
    pub(crate) fn note(&mut self, peer: Peer, now: Instant) {
        if self.0.len() >= PEERS_MAX && !self.0.contains_key(&peer) {
            self.forget_one();
        }
        let guesser = self.0.entry(peer).or_insert(Guesser {
            wrong: 0,
            settled_at: now,
        });
        guesser.wrong += 1;
        guesser.settled_at = (guesser.settled_at.max(now) + COST).min(now + DEBT_MAX);
    }

    /// Returns how long answers to that peer are delayed.
    pub(crate) fn held(&self, peer: Peer, now: Instant) -> Duration {
        let debt = self.0.get(&peer).map_or(Duration::ZERO, |guesser| {
            guesser.settled_at.saturating_duration_since(now)
        });
        (debt.saturating_sub(FREE) / DEBT_PER_HELD).min(HELD_MAX)
    }

    /// Returns the peers with the most wrong tokens, descending.
    pub(crate) fn most(&self, peers_max: usize) -> Vec<(Peer, u64)> {
        let guessers = self.0.iter();
        let mut counts: Vec<_> = guessers
            .map(|(peer, guesser)| (*peer, guesser.wrong))
            .collect();
        counts.sort_by_key(|(peer, wrong)| (Reverse(*wrong), *peer));
        counts.truncate(peers_max);
        counts
    }

    fn forget_one(&mut self) {
        let least = self.0.iter().min_by_key(|(_, guesser)| guesser.settled_at);
        if let Some(peer) = least.map(|(peer, _)| *peer) {
            self.0.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn peer(number: u32) -> Peer {
        IpAddr::from(Ipv4Addr::from_bits(number)).into()
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_waits_longer_for_each_answer() {
        let mut guesses = Guesses::default();
        let now = Instant::now();
        let mut held = Vec::new();
        for _ in 0..100 {
            guesses.note(peer(1), now);
            held.push(guesses.held(peer(1), now).as_millis());
        }
        assert_eq!(held[9], 0);
        assert_eq!(held[10], 100);
        assert_eq!(held[59], 5_000);
        assert_eq!(held[99], 5_000);
        assert_eq!(guesses.held(peer(2), now), Duration::ZERO);
        assert_eq!(guesses.held(peer(1), now + DEBT_MAX - FREE), Duration::ZERO);
        assert_eq!(guesses.most(1), [(peer(1), 100)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_of_peers_is_bounded() {
        let mut guesses = Guesses::default();
        let now = Instant::now();
        for _ in 0..20 {
            guesses.note(peer(0), now);
        }
        for number in 1..2 * PEERS_MAX as u32 {
            guesses.note(peer(number), now);
        }
        assert_eq!(guesses.0.len(), PEERS_MAX);
        assert!(guesses.held(peer(0), now) > Duration::ZERO);
    }
}
