//! One computation for many clients. It starts with the first client and ends after the last; a client that
//! reads too slowly loses results, and its receiver says so.

use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::sync::Mutex;

/// Sends the results of one computation to all clients.
#[derive(Debug)]
pub struct Hub<T> {
    state: Mutex<State<T>>,
    clients_max: usize,
    lag_max: usize,
}

#[derive(Debug)]
enum State<T> {
    Idle,
    /// A computation sends its results here.
    Running(Sender<T>),
    /// No more clients are admitted.
    Closed,
}

impl<T: Clone> Hub<T> {
    /// Returns a hub for `clients_max` clients, each of which may lag `lag_max` results behind.
    pub fn new(clients_max: usize, lag_max: usize) -> Self {
        Self {
            state: Mutex::new(State::Idle),
            clients_max,
            lag_max,
        }
    }

    /// Returns a receiver, and calls `start` for the first client; `None` if the hub is full or closed.
    pub fn subscribe(&self, start: impl FnOnce()) -> Option<Receiver<T>> {
        let mut state = self.state.lock();
        match &*state {
            State::Idle => {
                let (sender, receiver) = broadcast::channel(self.lag_max);
                *state = State::Running(sender);
                start();
                Some(receiver)
            }
            State::Running(sender) => {
                let has_room = sender.receiver_count() < self.clients_max;
                has_room.then(|| sender.subscribe())
            }
            State::Closed => None,
        }
    }

    /// Sends results; returns `false` once there are no clients, after which the next client starts a new
    /// computation.
    pub fn send(&self, results: impl IntoIterator<Item = T>) -> bool {
        let mut state = self.state.lock();
        let State::Running(sender) = &*state else {
            return false;
        };
        if sender.receiver_count() == 0 {
            *state = State::Idle;
            return false;
        }
        for result in results {
            // Fails only if the last client has just left; the next call detects that.
            let _ = sender.send(result);
        }
        true
    }

    /// Ends every receiver and admits no more clients.
    pub fn close(&self) {
        *self.state.lock() = State::Closed;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::broadcast::error::RecvError;

    use super::*;

    #[tokio::test]
    async fn the_first_client_starts_and_the_last_one_ends_the_computation() {
        let hub = Hub::new(2, 4);
        let starts = Cell::new(0);
        let subscribe = || hub.subscribe(|| starts.set(starts.get() + 1));
        let (mut first, second) = (subscribe().unwrap(), subscribe().unwrap());
        assert!(subscribe().is_none(), "full");
        assert!(hub.send([1, 2]));
        assert_eq!((first.recv().await, first.recv().await), (Ok(1), Ok(2)));
        drop((first, second));
        assert!(!hub.send([3]));
        assert_eq!(starts.get(), 1);
        let again = subscribe();
        assert!(again.is_some() && starts.get() == 2);
    }

    #[tokio::test]
    async fn closing_ends_clients_and_admits_no_more() {
        let hub = Hub::<u8>::new(2, 4);
        let mut client = hub.subscribe(|| ()).unwrap();
        hub.close();
        assert_eq!(client.recv().await, Err(RecvError::Closed));
        assert!(hub.subscribe(|| ()).is_none());
        assert!(!hub.send([1]));
    }
}
