//! The open connections of one listener: their limit, and which one is evicted for a new one.
//!
//! A connection is authenticated once a request on it was allowed. Until then losing it is cheap: a real
//! client sends its request at once. So the oldest unauthenticated connection is evicted first, and only a
//! share of all places is available to them. They are counted by peer address for `/metrics`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::peer::Peer;
use crate::sync::Mutex;

/// An idle time after which an authenticated connection can be evicted if all places are taken by such.
/// Exporters send every 5 s (spans) to 60 s (metrics) and reconnect.
const IDLE_MIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlaceLimits {
    all: usize,
    unauthenticated: usize,
    unauthenticated_of_peer: usize,
}

impl PlaceLimits {
    /// Gives half of the places to unauthenticated connections, and half of those to one peer.
    pub(crate) fn of(all: usize) -> Self {
        Self {
            all: all.max(4),
            unauthenticated: (all / 2).max(2),
            unauthenticated_of_peer: (all / 4).max(1),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Places {
    listener: &'static str,
    limits: PlaceLimits,
    table: Mutex<Table>,
    opened: Instant,
}

/// Connections by number, oldest first.
#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Arc<Session>>,
    unauthenticated: HashMap<Peer, usize>,
}

/// The state of a connection that its requests share.
#[derive(Debug)]
pub(crate) struct Session {
    number: u64,
    peer: Peer,
    places: Arc<Places>,
    is_proxy: AtomicBool,
    authenticated: AtomicBool,
    refused: AtomicBool,
    in_flight: AtomicU64,
    requests: AtomicU64,
    /// Milliseconds from the start of the listener to the last request or answer.
    active_at_ms: AtomicU64,
    evicted: Notify,
    turned_away: Notify,
}

/// A taken place; released on drop.
#[derive(Debug)]
pub(crate) struct Place(Arc<Session>);

/// A request in flight on its connection; counted until dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Session>);

impl Places {
    pub(crate) fn new(listener: &'static str, limits: PlaceLimits) -> Arc<Self> {
        Arc::new(Self {
            listener,
            limits,
            table: Mutex::default(),
            opened: Instant::now(),
        })
    }

    /// Takes a place for a new connection, evicting another one if there is none left.
    ///
    /// Also returns why another connection was evicted; `None` if every place is in use.
    pub(crate) fn take(self: &Arc<Self>, peer: Peer) -> Option<(Place, Option<&'static str>)> {
        let mut table = self.table.lock();
        let evicted = match table.victim(peer, &self.limits, self.now_ms()) {
            Victim::NotNeeded => None,
            Victim::Session(number, reason) => {
                table.evict(number);
                Some(reason)
            }
            Victim::None => return None,
        };
        let number = table.next;
        table.next += 1;
        let session = Arc::new(Session {
            number,
            peer,
            places: Arc::clone(self),
            is_proxy: AtomicBool::new(false),
            authenticated: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            in_flight: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            active_at_ms: AtomicU64::new(self.now_ms()),
            evicted: Notify::new(),
            turned_away: Notify::new(),
        });
        table.open.insert(number, Arc::clone(&session));
        *table.unauthenticated.entry(peer).or_default() += 1;
        Some((Place(session), evicted))
    }

    pub(crate) fn count_unauthenticated(&self, counts: &mut BTreeMap<Peer, u64>) {
        for (peer, connections) in &self.table.lock().unauthenticated {
            *counts.entry(*peer).or_default() += *connections as u64;
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The connection to evict for a new one.
enum Victim {
    /// None needed: there is room.
    NotNeeded,
    Session(u64, &'static str),
    /// None can be evicted.
    None,
}

impl Table {
    fn victim(&self, peer: Peer, limits: &PlaceLimits, now_ms: u64) -> Victim {
        let of_peer = self.unauthenticated.get(&peer).copied().unwrap_or(0);
        let unauthenticated: usize = self.unauthenticated.values().sum();
        let from = if of_peer >= limits.unauthenticated_of_peer {
            Some(peer)
        } else if unauthenticated >= limits.unauthenticated || self.open.len() >= limits.all {
            let busiest = self.unauthenticated.iter();
            busiest
                .max_by_key(|(_, connections)| **connections)
                .map(|(peer, _)| *peer)
        } else {
            return Victim::NotNeeded;
        };
        let oldest = from.and_then(|peer| self.oldest_unauthenticated(peer));
        if let Some(number) = oldest {
            return Victim::Session(number, "unauthenticated_limit");
        }
        match self.longest_idle(now_ms) {
            Some(number) => Victim::Session(number, "idle_limit"),
            None => Victim::None,
        }
    }

    fn oldest_unauthenticated(&self, peer: Peer) -> Option<u64> {
        let mut sessions = self.open.values();
        let oldest = sessions.find(|session| session.peer == peer && !session.is_authenticated());
        oldest.map(|session| session.number)
    }

    fn longest_idle(&self, now_ms: u64) -> Option<u64> {
        let idle_min = u64::try_from(IDLE_MIN.as_millis()).unwrap_or(u64::MAX);
        let sessions = self.open.values().map(|session| {
            let active_at_ms = session.active_at_ms.load(Ordering::Relaxed);
            (active_at_ms, session)
        });
        sessions
            .filter(|(active_at_ms, session)| {
                session.in_flight.load(Ordering::Relaxed) == 0
                    && active_at_ms.saturating_add(idle_min) <= now_ms
            })
            .min_by_key(|(active_at_ms, _)| *active_at_ms)
            .map(|(_, session)| session.number)
    }

    fn evict(&mut self, number: u64) {
        if let Some(session) = self.remove(number) {
            session.evicted.notify_one();
        }
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Session>> {
        let session = self.open.remove(&number)?;
        if !session.is_authenticated() {
            self.forget_unauthenticated(session.peer);
        }
        Some(session)
    }

    fn forget_unauthenticated(&mut self, peer: Peer) {
        if let Some(connections) = self.unauthenticated.get_mut(&peer) {
            *connections -= 1;
            if *connections == 0 {
                self.unauthenticated.remove(&peer);
            }
        }
    }
}

impl Session {
    pub(crate) fn listener(&self) -> &'static str {
        self.places.listener
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    pub(crate) fn trust_forwarded(&self) {
        self.is_proxy.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_proxy(&self) -> bool {
        self.is_proxy.load(Ordering::Relaxed)
    }

    /// Notes that a request was allowed, so that the connection may stay.
    pub(crate) fn authenticate(&self) {
        if self.is_authenticated() {
            return;
        }
        let mut table = self.places.table.lock();
        // Under the lock, because the table counts by it.
        let first = !self.authenticated.swap(true, Ordering::Relaxed);
        if first && table.open.contains_key(&self.number) {
            table.forget_unauthenticated(self.peer);
        }
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Relaxed)
    }

    /// Notes that a request was rejected: the connection is closed after the answer.
    pub(crate) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
        self.turned_away.notify_one();
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Waits until a request is rejected.
    pub(crate) async fn refused(&self) {
        self.turned_away.notified().await;
    }

    pub(crate) fn has_requested(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Counts a request until its answer is sent.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Waits until the connection is evicted.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Place {
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.0
    }
}

impl InFlight {
    pub(crate) fn session(&self) -> &Session {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.table.lock().remove(self.0.number);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let session = &self.0;
        let now_ms = session.places.now_ms();
        session.active_at_ms.store(now_ms, Ordering::Relaxed);
        session.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn peer(last: u8) -> Peer {
        IpAddr::from([192, 0, 2, last]).into()
    }

    fn is_evicted(place: &Place) -> bool {
        let open = &place.0.places.table.lock().open;
        !open.contains_key(&place.0.number)
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_connection_of_a_peer_past_its_share_makes_room() {
        let places = Places::new("web", PlaceLimits::of(16));
        let mut held: Vec<Place> = (0..4).map(|_| places.take(peer(1)).unwrap().0).collect();
        let (other, evicted) = places.take(peer(2)).unwrap();
        assert_eq!(evicted, None);
        held[0].session().authenticate();
        assert_eq!(places.take(peer(1)).map(|(_, evicted)| evicted), Some(None));
        held.push(places.take(peer(1)).unwrap().0);
        let (_newest, evicted) = places.take(peer(1)).unwrap();
        assert_eq!(evicted, Some("unauthenticated_limit"));
        let lost: Vec<bool> = held.iter().map(is_evicted).collect();
        assert_eq!(lost, [false, true, false, false, false]);
        assert!(!is_evicted(&other));
        held[1].session().evicted().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_peer_with_most_connections_makes_room_for_others() {
        let places = Places::new("web", PlaceLimits::of(16));
        let crowd: Vec<Place> = [1, 1, 1, 1, 2, 2, 2, 3]
            .map(|last| places.take(peer(last)).unwrap().0)
            .into();
        let (_newcomer, evicted) = places.take(peer(4)).unwrap();
        assert_eq!(evicted, Some("unauthenticated_limit"));
        assert!(is_evicted(&crowd[0]));
        let mut counts = BTreeMap::new();
        places.count_unauthenticated(&mut counts);
        let expected = [(peer(1), 3), (peer(2), 3), (peer(3), 1), (peer(4), 1)];
        assert_eq!(counts, BTreeMap::from(expected));
    }

    #[tokio::test(start_paused = true)]
    async fn authenticated_connections_make_room_only_when_idle() {
        let places = Places::new("web", PlaceLimits::of(4));
        let held: Vec<Place> = (0..4)
            .map(|last| {
                let place = places.take(peer(last)).unwrap().0;
                place.session().authenticate();
                place
            })
            .collect();
        assert!(places.take(peer(9)).is_none(), "all are in use");
        let streaming = held[0].session().begin();
        tokio::time::advance(IDLE_MIN).await;
        drop(held[1].session().begin());
        let (newcomer, evicted) = places.take(peer(9)).unwrap();
        assert_eq!(evicted, Some("idle_limit"));
        let lost: Vec<bool> = held.iter().map(is_evicted).collect();
        assert_eq!(lost, [false, false, true, false]);
        // A newcomer that has not authenticated goes before any that has.
        let (_second, evicted) = places.take(peer(8)).unwrap();
        assert_eq!(evicted, Some("unauthenticated_limit"));
        assert!(is_evicted(&newcomer));
        drop(streaming);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_comes_back_with_its_connection() {
        let places = Places::new("web", PlaceLimits::of(4));
        for _ in 0..100 {
            let (place, evicted) = places.take(peer(1)).unwrap();
            assert_eq!(evicted, None);
            place.session().authenticate();
        }
        let mut counts = BTreeMap::new();
        places.count_unauthenticated(&mut counts);
        assert!(counts.is_empty());
        assert!(places.table.lock().open.is_empty());
    }
}
