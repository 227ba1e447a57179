//! A fair semaphore whose size may change while permits are held. Waiting callers get permits in FIFO order.

use crate::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::Arc;

/// Permits, and the number of held permits that must be removed when they are returned.
#[derive(Debug)]
pub(crate) struct Semaphore {
    permits: tokio::sync::Semaphore,
    /// The number of held permits that a smaller size must still remove.
    surplus: AtomicU32,
}

/// A permit, which is returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    semaphore: Arc<Semaphore>,
}

impl Semaphore {
    pub(crate) fn new(size: u32) -> Arc<Self> {
        Arc::new(Self {
            permits: tokio::sync::Semaphore::new(size as usize),
            surplus: AtomicU32::new(0),
        })
    }

    /// Takes a permit if one is free and no caller waits for it.
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        self.permits.try_acquire().ok()?.forget();
        Some(self.permit())
    }

    /// Waits for a permit; leaves the queue if it is dropped.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Permit {
        // If a waiter is dropped while it is given a permit, that permit becomes free and may be one too many.
        let _settles = Settles(self);
        let permit = self.permits.acquire().await;
        permit.expect("it is never closed").forget();
        self.permit()
    }

    pub(crate) fn available(&self) -> u32 {
        u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX)
    }

    /// Changes the size. Held permits remain valid: a smaller size is reached as they are returned. Only one call at a
    /// time.
    pub(crate) fn resize(&self, from: u32, to: u32) {
        match to.checked_sub(from) {
            Some(more) => {
                // Held permits that were to be removed are kept.
                let kept = self
                    .surplus
                    .fetch_update(SeqCst, SeqCst, |surplus| Some(surplus.saturating_sub(more)));
                let kept = kept.unwrap_or_default().min(more);
                self.permits.add_permits((more - kept) as usize);
            }
            None => {
                self.surplus.fetch_add(from - to, SeqCst);
                self.settle();
            }
        }
    }

    fn permit(self: &Arc<Self>) -> Permit {
        let semaphore = Arc::clone(self);
        Permit { semaphore }
    }

    fn release(&self) {
        if self.take_surplus() {
            return;
        }
        self.permits.add_permits(1);
        // The size may have been reduced between the two.
        self.settle();
    }

    /// Removes free permits beyond the size.
    fn settle(&self) {
        while self.take_surplus() {
            let Ok(permit) = self.permits.try_acquire() else {
                // All are held: the next returned permit is removed.
                self.surplus.fetch_add(1, SeqCst);
                if self.available() == 0 {
                    return;
                }
                continue;
            };
            permit.forget();
        }
    }

    fn take_surplus(&self) -> bool {
        // Usually there is none, and this is one load.
        let take = |surplus: u32| surplus.checked_sub(1);
        self.surplus.fetch_update(SeqCst, SeqCst, take).is_ok()
    }
}

/// Calls `settle` when it is dropped.
struct Settles<'a>(&'a Semaphore);

impl Drop for Settles<'_> {
    fn drop(&mut self) {
        self.0.settle();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.semaphore.release();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn all(semaphore: &Arc<Semaphore>) -> Vec<Permit> {
        std::iter::from_fn(|| semaphore.try_acquire()).collect()
    }

    #[test]
    fn a_smaller_size_is_reached_as_permits_come_back() {
        let semaphore = Semaphore::new(4);
        let mut held = all(&semaphore);
        assert_eq!(held.len(), 4);
        semaphore.resize(4, 2);
        held.truncate(2);
        assert!(semaphore.try_acquire().is_none(), "two are held");
        held.truncate(1);
        let again = all(&semaphore);
        assert_eq!(again.len(), 1);
        semaphore.resize(2, 5);
        drop((held, again));
        assert_eq!(all(&semaphore).len(), 5);
    }

    /// Scenario: a waiter is given a permit, the size shrinks, and the waiter is dropped before it sees the permit.
    #[test]
    fn the_permit_of_a_dropped_waiter_may_be_one_too_many() {
        let semaphore = Semaphore::new(2);
        let mut held = all(&semaphore);
        let mut waiter = Box::pin(semaphore.acquire());
        assert!((&mut waiter).now_or_never().is_none());
        held.truncate(1);
        semaphore.resize(2, 1);
        drop(waiter);
        assert!(semaphore.try_acquire().is_none(), "one is held");
        drop(held);
        assert_eq!(all(&semaphore).len(), 1);
    }

    /// Scenario: the size grows and shrinks while eight threads take and return permits.
    /// Guarantees: no permit is lost or created.
    #[test]
    fn permits_are_exact_whatever_the_size_was() {
        let semaphore = Semaphore::new(3);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        drop(semaphore.try_acquire());
                    }
                });
            }
            for round in 0..500 {
                let (from, to) = if round % 2 == 0 { (3, 1) } else { (1, 3) };
                semaphore.resize(from, to);
            }
        });
        assert_eq!(all(&semaphore).len(), 3);
        semaphore.resize(3, 1);
        assert_eq!(all(&semaphore).len(), 1);
    }
}
