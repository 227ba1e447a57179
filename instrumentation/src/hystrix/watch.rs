//! Watches a registry while there are readers and for a minute longer, so that a reader that returns finds its figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::board::{Board, LOOK_EVERY};
use super::clients::Clients;
use crate::circuit_breaker::Registry;
use crate::sync::Mutex;

/// How long the registry is watched after the last reader.
const LINGER: Duration = Duration::from_secs(60);

/// The board of a registry and its readers.
#[derive(Debug)]
pub(super) struct Watch {
    registry: Registry,
    pub(super) clients: Clients,
    /// Present while the registry is watched.
    board: Mutex<Option<Board>>,
    frame: Mutex<Option<(Instant, Arc<str>)>>,
    is_closed: AtomicBool,
}

impl Watch {
    pub(super) fn new(registry: Registry) -> Self {
        Self {
            registry,
            clients: Clients::default(),
            board: Mutex::new(None),
            frame: Mutex::new(None),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Starts to watch on the current runtime, unless the registry is being watched already.
    pub(super) fn begin(self: &Arc<Self>) {
        let mut board = self.board.lock();
        if board.is_none() {
            let mut new = Board::new(self.registry.clone());
            new.look(SystemTime::now());
            *board = Some(new);
            tokio::spawn(Guard(Arc::clone(self)).run());
        }
    }

    /// Returns the current frame, which concurrent readers share.
    pub(super) fn frame(&self) -> Arc<str> {
        let now = Instant::now();
        let mut last = self.frame.lock();
        if let Some((made, frame)) = &*last
            && now.saturating_duration_since(*made) < LOOK_EVERY
        {
            return Arc::clone(frame);
        }
        let board = self.board.lock();
        let frame = board.as_ref().map(|board| board.frame(SystemTime::now()));
        let frame: Arc<str> = Arc::from(frame.unwrap_or_default());
        *last = Some((now, Arc::clone(&frame)));
        frame
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Relaxed)
    }
}

/// Resets the watch when its task ends, for example with its runtime; the next frame then starts a new one.
struct Guard(Arc<Watch>);

impl Guard {
    async fn run(self) {
        let watch = &self.0;
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_reader = Instant::now();
        while !watch.is_closed() {
            looks.tick().await;
            if !watch.clients.is_empty() {
                last_reader = Instant::now();
            }
            if last_reader.elapsed() > LINGER {
                return;
            }
            if let Some(board) = &mut *watch.board.lock() {
                board.look(SystemTime::now());
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        *self.0.board.lock() = None;
    }
}
