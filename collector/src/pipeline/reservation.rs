//! Memory for requests: one budget for everything between the socket and the shard.
//!
//! A request reserves the memory that it is about to use, step by step while it is received and inflated, and
//! releases it once a shard has walked it. A request that finds no room waits in FIFO order until its wait
//! limit. Meanwhile its socket is not read, so that the sender slows down too. Large requests that each hold
//! a part and wait for the rest cannot block each other for longer than that.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::IngestError;
use crate::counters::Counters;

/// How long one request waits for memory in total.
///
/// Several SDKs drop a batch at the first rejection, so waiting saves data. Their own limit is 10 s for a
/// batch with all its retries (Node, Python), so half of it leaves room for one retry.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(5);

/// Cost of a request beside its bytes (head, task, reply channel): bounds how many empty ones can wait.
const REQUEST_OVERHEAD_BYTES: usize = 1 << 10;

#[derive(Debug, Clone)]
pub(crate) struct Budget {
    permits: Arc<Semaphore>,
    capacity: usize,
    counters: Arc<Counters>,
}

impl Budget {
    pub(crate) fn new(bytes: usize, counters: Arc<Counters>) -> Self {
        // Permits are acquired as u32.
        let capacity = bytes.min(u32::MAX as usize);
        Self {
            permits: Arc::new(Semaphore::new(capacity)),
            capacity,
            counters,
        }
    }

    /// Begins a request without memory; it waits at most [`WAIT_MAX`], and not past its deadline.
    pub(crate) fn begin(&self, deadline: Option<Instant>) -> Reservation {
        Reservation {
            budget: self.clone(),
            permit: None,
            wait_left: WAIT_MAX,
            deadline,
        }
    }

    /// Stops admitting requests; waiters fail with `Stopping`.
    pub(crate) fn close(&self) {
        self.permits.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }
}

/// The memory of one request; released on drop.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    permit: Option<OwnedSemaphorePermit>,
    wait_left: Duration,
    deadline: Option<Instant>,
}

impl Reservation {
    /// Changes the reservation to `bytes`; waits if there is no room.
    ///
    /// A request larger than the whole budget reserves all of it, so it is processed alone.
    ///
    /// # Errors
    /// `Full` at the wait limit, `Stopping` when the collector stops.
    pub(crate) async fn resize(&mut self, bytes: usize) -> Result<(), IngestError> {
        let wanted = bytes
            .saturating_add(REQUEST_OVERHEAD_BYTES)
            .min(self.budget.capacity);
        let held = self.held();
        if wanted <= held {
            self.release(held - wanted);
            return Ok(());
        }
        let more = self.acquire(wanted - held).await?;
        self.budget
            .counters
            .queue_bytes
            .add(more.num_permits() as u64);
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }

    fn held(&self) -> usize {
        self.permit
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn release(&mut self, bytes: usize) {
        let released = self.permit.as_mut().and_then(|permit| permit.split(bytes));
        if released.is_some() {
            self.budget.counters.queue_bytes.sub(bytes as u64);
        }
    }

    async fn acquire(&mut self, bytes: usize) -> Result<OwnedSemaphorePermit, IngestError> {
        let bytes = u32::try_from(bytes).expect("the capacity fits a u32");
        let permits = Arc::clone(&self.budget.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_many_owned(bytes) {
            return Ok(permit);
        }
        let began = Instant::now();
        let to_deadline = self.deadline.map_or(Duration::MAX, |at| at - began);
        let wait = self.wait_left.min(to_deadline);
        let acquired = timeout(wait, permits.acquire_many_owned(bytes)).await;
        self.wait_left = self.wait_left.saturating_sub(began.elapsed());
        match acquired {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(IngestError::Stopping),
            Err(_elapsed) => Err(IngestError::Full {
                retry_after: retry_hint(),
            }),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.counters.queue_bytes.sub(self.held() as u64);
    }
}

/// Returns 1 to 3 s, randomised so that senders rejected together do not return together.
fn retry_hint() -> Duration {
    Duration::from_secs(fastrand::u64(1..=3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(bytes: usize) -> (Budget, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (Budget::new(bytes, Arc::clone(&counters)), counters)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_budget_makes_senders_wait_and_then_refuses_with_a_hint() {
        let (budget, counters) = budget(10 << 10);
        let mut first = budget.begin(None);
        first.resize(8 << 10).await.unwrap();
        let began = Instant::now();
        let mut second = budget.begin(None);
        let error = second.resize(4 << 10).await.unwrap_err();
        assert_eq!(began.elapsed(), WAIT_MAX);
        let IngestError::Full { retry_after } = error else {
            panic!("{error}")
        };
        assert!((1..=3).contains(&retry_after.as_secs()));
        drop((first, second));
        assert_eq!(counters.queue_bytes.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_in_a_hurry_is_refused_before_it_gives_up() {
        let (budget, _) = budget(10 << 10);
        let mut first = budget.begin(None);
        first.resize(9 << 10).await.unwrap();
        let deadline = Instant::now() + Duration::from_millis(300);
        let mut hurried = budget.begin(Some(deadline));
        assert!(hurried.resize(1 << 10).await.is_err());
        assert_eq!(Instant::now(), deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_limit_is_for_the_whole_request() {
        let (budget, _) = budget(10 << 10);
        let mut first = budget.begin(None);
        first.resize(9 << 10).await.unwrap();
        let began = Instant::now();
        let mut second = budget.begin(None);
        assert!(second.resize(1 << 10).await.is_err());
        assert!(second.resize(1 << 10).await.is_err());
        assert_eq!(began.elapsed(), WAIT_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn room_that_frees_up_goes_to_the_waiting_request() {
        let (budget, counters) = budget(10 << 10);
        let mut first = budget.begin(None);
        first.resize(9 << 10).await.unwrap();
        let mut second = budget.begin(None);
        let waiting = tokio::spawn(async move {
            second.resize(5 << 10).await.unwrap();
            second
        });
        tokio::task::yield_now().await;
        first.resize(1 << 10).await.unwrap();
        let second = waiting.await.unwrap();
        assert_eq!(counters.queue_bytes.get(), (2 + 6) << 10);
        drop((first, second));
        assert_eq!(counters.queue_bytes.get(), 0);
    }

    #[tokio::test]
    async fn a_request_larger_than_the_budget_passes_alone() {
        let (budget, _) = budget(10 << 10);
        let mut large = budget.begin(None);
        large.resize(100 << 20).await.unwrap();
        drop(large);
        let mut next = budget.begin(None);
        next.resize(1).await.unwrap();
    }

    #[tokio::test]
    async fn a_closed_budget_says_that_the_collector_stops() {
        let (budget, _) = budget(1 << 10);
        budget.close();
        let mut late = budget.begin(None);
        assert!(matches!(late.resize(1).await, Err(IngestError::Stopping)));
    }
}
