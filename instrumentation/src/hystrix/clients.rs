//! The readers of a stream. Their number is limited; a new reader can take the slot of one that no longer reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::Mutex;

/// A reader that has read nothing for this long is gone or stuck. Pings come at least once a minute.
const UNREAD_AFTER: Duration = Duration::from_secs(90);

/// The slots of all readers.
#[derive(Debug, Default)]
pub(super) struct Clients {
    places: Mutex<Vec<Arc<Place>>>,
}

/// The slot of one reader.
#[derive(Debug)]
pub(super) struct Place {
    read_at: Mutex<Instant>,
    is_lost: AtomicBool,
}

impl Clients {
    /// Takes one of `most` slots; if none is free, that of a reader that no longer reads.
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

    /// Frees a slot.
    pub(super) fn leave(&self, place: &Arc<Place>) {
        self.places
            .lock()
            .retain(|known| !Arc::ptr_eq(known, place));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.lock().is_empty()
    }
}

impl Place {
    /// Records that the reader has read.
    pub(super) fn read(&self) {
        *self.read_at.lock() = Instant::now();
    }

    /// Returns whether another reader has taken the slot.
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
