//! A fair semaphore whose size may change while permits are held. Waiting callers get permits in FIFO order.
//!
//! While no caller waits, free permits are a number, because tokio's semaphore takes a lock for each permit that is returned.

use crate::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::Arc;

/// Permits, and the number of held permits that must be removed when they are returned.
#[derive(Debug)]
pub(crate) struct Semaphore {
    /// Free permits; some may also be in `queue`.
    free: AtomicU32,
    /// Callers that wait or are about to. While there are any, free permits go to `queue`, which has them in order.
    waiting: AtomicU32,
    queue: tokio::sync::Semaphore,
    /// The number of held permits that a smaller size must still remove.
    surplus: AtomicU32,
}

/// A permit, which is returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    semaphore: Arc<Semaphore>,
}

/// As [`Permit`], for a caller that keeps the semaphore alive.
#[derive(Debug)]
pub(crate) struct BorrowedPermit<'a> {
    semaphore: &'a Semaphore,
}

impl Semaphore {
    pub(crate) fn new(size: u32) -> Arc<Self> {
        Arc::new(Self {
            free: AtomicU32::new(size),
            waiting: AtomicU32::new(0),
            queue: tokio::sync::Semaphore::new(0),
            surplus: AtomicU32::new(0),
        })
    }

    /// Takes a permit if one is free and no caller waits for it.
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        self.take().then(|| self.permit())
    }

    /// As [`try_acquire`](Self::try_acquire), without a reference count.
    pub(crate) fn try_borrow(&self) -> Option<BorrowedPermit<'_>> {
        self.take().then(|| BorrowedPermit { semaphore: self })
    }

    /// Waits for a permit; leaves the queue if it is dropped.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Permit {
        // If a waiter is dropped while it is given a permit, that permit becomes free and may be one too many.
        let _waits = Waits::start(self);
        let permit = self.queue.acquire().await;
        permit.expect("it is never closed").forget();
        self.permit()
    }

    pub(crate) fn available(&self) -> u32 {
        let queue = u32::try_from(self.queue.available_permits()).unwrap_or(u32::MAX);
        queue.saturating_add(self.free.load(SeqCst))
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
                self.add(more - kept);
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

    #[inline]
    fn take(&self) -> bool {
        let is_alone = self.waiting.load(SeqCst) == 0;
        is_alone && take_one(&self.free) || self.take_from_queue()
    }

    fn take_from_queue(&self) -> bool {
        self.queue
            .try_acquire()
            .map(|permit| permit.forget())
            .is_ok()
    }

    #[inline]
    fn release(&self) {
        if take_one(&self.surplus) {
            return;
        }
        self.add(1);
        // The size may have been reduced between the two.
        self.settle();
    }

    #[inline]
    fn add(&self, permits: u32) {
        self.free.fetch_add(permits, SeqCst);
        // A caller that is about to wait looks for free permits after it has said so.
        if self.waiting.load(SeqCst) > 0 {
            self.fill_queue();
        }
    }

    /// Gives the free permits to those who wait.
    fn fill_queue(&self) {
        while take_one(&self.free) {
            self.queue.add_permits(1);
        }
    }

    /// Removes free permits beyond the size.
    #[inline]
    fn settle(&self) {
        while take_one(&self.surplus) {
            if take_one(&self.free) || self.take_from_queue() {
                continue;
            }
            // All are held: the next returned permit is removed.
            self.surplus.fetch_add(1, SeqCst);
            if self.available() == 0 {
                return;
            }
        }
    }
}

/// Takes one of a number, usually of none, which is one load.
#[inline]
fn take_one(number: &AtomicU32) -> bool {
    let one_less = |number: u32| number.checked_sub(1);
    number.fetch_update(SeqCst, SeqCst, one_less).is_ok()
}

/// A caller that waits until this is dropped.
struct Waits<'a>(&'a Semaphore);

impl<'a> Waits<'a> {
    fn start(semaphore: &'a Semaphore) -> Self {
        semaphore.waiting.fetch_add(1, SeqCst);
        semaphore.fill_queue();
        Self(semaphore)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
        self.0.settle();
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.release();
    }
}

impl Drop for BorrowedPermit<'_> {
    #[inline]
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
