//! Held requests of services, each woken only by changes of the services that it names: a change of one service must not
//! cost the work of all others.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::sync::Mutex;

/// The held requests; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiters {
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    /// By service and the number of the request.
    by_service: BTreeMap<(String, u64), Arc<Notify>>,
    last_number: u64,
    is_closed: bool,
}

/// One held request, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiters: Waiters,
    number: u64,
    services: Vec<String>,
    woken: Arc<Notify>,
}

impl Waiters {
    /// Returns a waiter for changes of these services from now on.
    pub(crate) fn wait_for(&self, services: impl IntoIterator<Item = String>) -> Waiter {
        let services: Vec<String> = services.into_iter().collect();
        let woken = Arc::new(Notify::new());
        let mut held = self.held.lock();
        held.last_number += 1;
        let number = held.last_number;
        for service in &services {
            let place = (service.clone(), number);
            held.by_service.insert(place, Arc::clone(&woken));
        }
        drop(held);
        Waiter {
            waiters: self.clone(),
            number,
            services,
            woken,
        }
    }

    /// Wakes the requests that wait for a service.
    pub(crate) fn wake(&self, service: &str) {
        let held = self.held.lock();
        let from = held.by_service.range((service.to_owned(), 0)..);
        let of_service = from.take_while(|((of, _), _)| of == service);
        of_service.for_each(|(_, woken)| woken.notify_one());
    }

    /// Wakes every request, now and later, so that a server waiting for its connections can stop.
    pub(crate) fn close(&self) {
        let mut held = self.held.lock();
        held.is_closed = true;
        held.by_service
            .values()
            .for_each(|woken| woken.notify_one());
    }
}

impl Waiter {
    /// Returns whether no request is held any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.waiters.held.lock().is_closed
    }

    /// Waits for a change since the last call; returns false if there was none by then.
    pub(crate) async fn is_woken(&self, until: Instant) -> bool {
        timeout_at(until, self.woken.notified()).await.is_ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut held = self.waiters.held.lock();
        for service in std::mem::take(&mut self.services) {
            held.by_service.remove(&(service, self.number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees: a request is woken once by changes of its services, by none of others, and always by the end.
    #[tokio::test]
    async fn only_its_own_services_wake_a_request() {
        let waiters = Waiters::default();
        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let one = waiters.wait_for(names(&["shop", "stock"]));
        let other = waiters.wait_for(names(&["shop-2"]));
        let now = Instant::now();
        waiters.wake("shop");
        waiters.wake("stock");
        assert!(one.is_woken(now).await);
        assert!(!one.is_woken(now).await);
        assert!(!other.is_woken(now).await);
        waiters.close();
        assert!(one.is_closed() && one.is_woken(now).await && other.is_woken(now).await);
        drop((one, other));
        assert!(waiters.held.lock().by_service.is_empty());
        assert!(waiters.wait_for(names(&["shop"])).is_closed());
    }
}
