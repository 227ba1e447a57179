//! How much is asked and answered at once: memory of all answers together, and questions that read the store. Who finds
//! no room waits in order of arrival, and is refused after a while; what comes in is not affected.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Memory of all answers together: four times what one may cost.
const ANSWERS_BYTES_MAX: usize = 256 << 20;
/// What a question that reads the store may cost: a trace has 48 MiB, and is read and written beside it.
const HEAVY_BYTES: usize = 64 << 20;
/// What any other question may cost until its answer is known.
const LIGHT_BYTES: usize = 16 << 20;
/// What an answer costs at least while it is sent: its buffers, and those of its compression.
const ANSWER_BYTES_MIN: usize = 512 << 10;
/// Questions that read the store at once: more do not make a disk and few cores faster.
const HEAVY_AT_ONCE: usize = 3;
/// How long a question waits for room: about as long as one that reads the store may take.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Room is counted in units of that many bytes.
const UNIT_BYTES: usize = 1 << 10;

/// What a question costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// It is answered from memory.
    Light,
    /// It reads the store.
    Heavy,
}

/// Why a question is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many questions are being answered; none ended within {} s", WAIT_MAX.as_secs())]
pub struct Busy;

/// The room for questions and answers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission {
    bytes: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(ANSWERS_BYTES_MAX / UNIT_BYTES)),
            heavy: Arc::new(Semaphore::new(HEAVY_AT_ONCE)),
        }
    }
}

impl Admission {
    /// Waits for room.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn admit(&self, cost: Cost) -> Result<Admitted, Busy> {
        let admitted = timeout(WAIT_MAX, self.wait(cost)).await;
        admitted.ok().flatten().ok_or(Busy)
    }

    async fn wait(&self, cost: Cost) -> Option<Admitted> {
        let (heavy, bytes) = match cost {
            Cost::Light => (None, LIGHT_BYTES),
            Cost::Heavy => {
                let turn = Arc::clone(&self.heavy).acquire_owned().await;
                (Some(turn.ok()?), HEAVY_BYTES)
            }
        };
        let bytes = Arc::clone(&self.bytes)
            .acquire_many_owned(units(bytes))
            .await;
        let bytes = bytes.ok()?;
        Some(Admitted { bytes, heavy })
    }
}

/// The room that a question, and then its answer, takes until this is dropped.
#[derive(Debug)]
pub struct Admitted {
    bytes: OwnedSemaphorePermit,
    heavy: Option<OwnedSemaphorePermit>,
}

impl Admitted {
    /// Lets the next question read the store, and gives back what the answer does not take; without a size it takes as
    /// much as the question.
    pub fn answered(&mut self, bytes: Option<usize>) {
        self.heavy = None;
        let kept = bytes.map(|bytes| units(bytes.max(ANSWER_BYTES_MIN)) as usize);
        let free = kept.map_or(0, |kept| self.bytes.num_permits().saturating_sub(kept));
        drop(self.bytes.split(free));
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn questions_wait_in_order_and_are_refused_after_a_while() {
        let admission = Admission::default();
        let mut running = Vec::new();
        for _ in 0..HEAVY_AT_ONCE {
            running.push(admission.admit(Cost::Heavy).await.unwrap());
        }
        assert_eq!(admission.admit(Cost::Heavy).await.unwrap_err(), Busy);
        assert!(admission.admit(Cost::Light).await.is_ok());
        let waiting = tokio::spawn({
            let admission = admission.clone();
            async move { admission.admit(Cost::Heavy).await.is_ok() }
        });
        tokio::task::yield_now().await;
        running[0].answered(Some(100));
        assert!(waiting.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_are_not_read_take_room_by_their_size() {
        let admission = Admission::default();
        let mut unread = Vec::new();
        for _ in 0..4 {
            let mut admitted = admission.admit(Cost::Heavy).await.unwrap();
            admitted.answered(None);
            unread.push(admitted);
        }
        assert_eq!(admission.admit(Cost::Light).await.unwrap_err(), Busy);
        unread.clear();
        for _ in 0..200 {
            let mut admitted = admission.admit(Cost::Heavy).await.unwrap();
            admitted.answered(Some(10_000));
            unread.push(admitted);
        }
    }
}
