//! The readers of a stream: bounded in number, and one that does not read gives its place to the next that comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::Mutex;

/// A reader that has taken nothing for so long is gone or stuck. Pings come at least once a minute.
const UNREAD_AFTER: Duration = Duration::from_secs(90);

/// The places of all readers.
#[derive(Debug, Default)]
pub(super) struct Clients {
    places: Mutex<Vec<Arc<Place>>>,
}

/// The place of one reader.
#[derive(Debug)]
pub(super) struct Place {
    read_at: Mutex<Instant>,
    is_lost: AtomicBool,
}

impl Clients {
    /// Takes a place, one of `most`; if there is none, that of a reader that does not read.
    pub(super) fn enter(&self, most: usize) -> Option<Arc<Place>> {
        let now = Instant::now();
        let mut places = self.places.lock();
        if places.len() >= most {
            let unread = places.iter().position(|place| place.is_unread(now))?;
            places.swap_remove(unread).lose();
        }
        let place = Arc::new(Place {
            read_at: Mutex::new(now),
            is_lost: AtomicBool::new(false),
        });
        places.push(Arc::clone(&place));
        Some(place)
    }

    /// Gives a place back.
    pub(super) fn leave(&self, place: &Arc<Place>) {
        self.places
            .lock()
            .retain(|known| !Arc::ptr_eq(known, place));
    }

    /// Whether anybody reads.
    pub(super) fn is_empty(&self) -> bool {
        self.places.lock().is_empty()
    }
}

impl Place {
    /// Notes that its reader has read.
    pub(super) fn read(&self) {
        *self.read_at.lock() = Instant::now();
    }

    /// Whether another reader has its place.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Relaxed)
    }

    fn lose(&self) {
        self.is_lost.store(true, Relaxed);
    }

    fn is_unread(&self, now: Instant) -> bool {
        now.saturating_duration_since(*self.read_at.lock()) > UNREAD_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_read_loses_its_place() {
        let clients = Clients::default();
        let (first, second) = (clients.enter(2).unwrap(), clients.enter(2).unwrap());
        assert!(clients.enter(2).is_none());
        tokio::time::advance(UNREAD_AFTER + Duration::from_millis(1)).await;
        first.read();
        let third = clients.enter(2).unwrap();
        assert!(second.is_lost() && !first.is_lost() && !third.is_lost());
        assert!(clients.enter(2).is_none());
        clients.leave(&second);
        assert!(clients.enter(2).is_none(), "its place was taken long ago");
        clients.leave(&first);
        assert!(clients.enter(2).is_some());
    }
}
