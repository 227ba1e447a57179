//! Admission control of queries: limits the memory of all answers, and the queries that read the store. A
//! query that finds no room waits in FIFO order and is rejected after a while; ingest is not affected.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Memory of all answers from the store: four times the cost of one.
const HEAVY_ANSWERS_BYTES_MAX: usize = 256 << 20;
/// Memory of all walls: the largest has 10,000 breakers of this collector and 4,000 of others.
const WALLS_BYTES_MAX: usize = 64 << 20;
/// Memory of all other answers: four at once until their size is known. Semaphores are FIFO, so expensive
/// queries wait in separate ones.
const LIGHT_ANSWERS_BYTES_MAX: usize = 64 << 20;
/// Memory of all changes of registrations: a hundred at once. Each waits for the disk, and no page waits for them.
const CHANGES_BYTES_MAX: usize = 100 * CHANGE_BYTES;
/// Cost of a change of a registration: its body, as it came and inflated.
const CHANGE_BYTES: usize = 160 << 10;
/// Memory of all answers about the actuator of an instance: 32 at once. Each waits up to 2 s for a service, and no other request does.
const ACTUATORS_BYTES_MAX: usize = 32 * ACTUATOR_BYTES;
/// Cost of such an answer: what the actuator says, and the page.
const ACTUATOR_BYTES: usize = 2 << 20;
/// Memory of all uploads: two at once. They arrive as slowly as their senders like, so queries do not wait for them.
const UPLOADS_BYTES_MAX: usize = 2 * HEAVY_BYTES;
/// Cost of a query that reads the store: a trace has 48 MiB, plus the overhead of reading and writing.
const HEAVY_BYTES: usize = 64 << 20;
/// Cost of any other query until its answer is known; a wall may cost more.
const LIGHT_BYTES: usize = 16 << 20;
/// Memory of one breaker on a wall.
const CIRCUIT_BYTES: usize = 4 << 10;
/// Lower bound of an answer's cost while it is sent: its buffers and those of compression.
const ANSWER_BYTES_MIN: usize = 512 << 10;
/// Concurrent queries that read the store: more do not make a disk and a few cores faster.
const HEAVY_AT_ONCE: usize = 3;
/// How long a query waits for admission: about as long as one that reads the store may take.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Memory is counted in units of this many bytes.
const UNIT_BYTES: usize = 1 << 10;

/// The cost of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// Answered from memory.
    Light,
    /// Answered from memory with a view of this many breakers.
    Wall(usize),
    /// Waits for the actuator of an instance.
    Actuator,
    /// Reads the store.
    Heavy,
    /// Changes a registration.
    Change,
    /// Receives a file of traces.
    Upload,
}

/// The query was rejected because there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many queries are being answered; none ended within {} s", WAIT_MAX.as_secs())]
pub struct Busy;

/// Admission control of queries; cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission {
    light: Arc<Semaphore>,
    walls: Arc<Semaphore>,
    actuators: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
    heavy_at_once: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    changes: Arc<Semaphore>,
}

impl Default for Admission {
    fn default() -> Self {
        let room = |bytes: usize| Arc::new(Semaphore::new(bytes / UNIT_BYTES));
        Self {
            light: room(LIGHT_ANSWERS_BYTES_MAX),
            walls: room(WALLS_BYTES_MAX),
            actuators: room(ACTUATORS_BYTES_MAX),
            heavy: room(HEAVY_ANSWERS_BYTES_MAX),
            heavy_at_once: Arc::new(Semaphore::new(HEAVY_AT_ONCE)),
            uploads: room(UPLOADS_BYTES_MAX),
            changes: room(CHANGES_BYTES_MAX),
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
        let (room, bytes) = match cost {
            Cost::Light => (&self.light, LIGHT_BYTES),
            Cost::Wall(circuits) => (&self.walls, wall_bytes(circuits)),
            Cost::Actuator => (&self.actuators, ACTUATOR_BYTES),
            Cost::Heavy => (&self.heavy, HEAVY_BYTES),
            Cost::Upload => (&self.uploads, HEAVY_BYTES),
            Cost::Change => (&self.changes, CHANGE_BYTES),
        };
        let turn = match cost {
            Cost::Heavy => Some(Arc::clone(&self.heavy_at_once).acquire_owned().await.ok()?),
            _ => None,
        };
        let bytes = Arc::clone(room).acquire_many_owned(units(bytes)).await;
        let bytes = bytes.ok()?;
        Some(Admitted { bytes, turn })
    }
}

/// The reservation of a query and then its answer; released on drop.
#[derive(Debug)]
pub struct Admitted {
    bytes: OwnedSemaphorePermit,
    turn: Option<OwnedSemaphorePermit>,
}

impl Admitted {
    /// Lets the next query read the store, and releases what the answer does not need; without a size the
    /// answer keeps everything.
    pub fn answered(&mut self, bytes: Option<usize>) {
        self.turn = None;
        let kept = bytes.map(|bytes| units(bytes.max(ANSWER_BYTES_MIN)) as usize);
        let free = kept.map_or(0, |kept| self.bytes.num_permits().saturating_sub(kept));
        drop(self.bytes.split(free));
    }
}

pub(crate) fn circuits_bytes(circuits: usize) -> usize {
    circuits * CIRCUIT_BYTES
}

/// Returns the cost of a query for this many breakers: the view, but at least the cost of other queries.
fn wall_bytes(circuits: usize) -> usize {
    circuits_bytes(circuits).clamp(LIGHT_BYTES, WALLS_BYTES_MAX)
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn queries_wait_in_order_and_are_refused_after_a_while() {
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
        assert_eq!(admission.admit(Cost::Heavy).await.unwrap_err(), Busy);
        unread.clear();
        for _ in 0..200 {
            let mut admitted = admission.admit(Cost::Heavy).await.unwrap();
            admitted.answered(Some(10_000));
            unread.push(admitted);
        }
    }

    /// *Scenario*: clients hold answers of 50 MiB, and another query that reads the store waits for memory.
    /// *Guarantees*: queries answered from memory do not wait for it.
    #[tokio::test(start_paused = true)]
    async fn light_queries_do_not_wait_for_the_room_of_heavy_ones() {
        let admission = Admission::default();
        let mut unread = Vec::new();
        for _ in 0..4 {
            let mut admitted = admission.admit(Cost::Heavy).await.unwrap();
            admitted.answered(Some(50 << 20));
            unread.push(admitted);
        }
        let waiting = admission.admit(Cost::Heavy);
        let mut waiting = std::pin::pin!(waiting);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        for cost in [Cost::Light, Cost::Wall(1_000)] {
            let light = std::pin::pin!(admission.admit(cost));
            assert!(futures_util::poll!(light).is_ready(), "{cost:?}");
        }
        assert_eq!(waiting.await.unwrap_err(), Busy);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_is_admitted_by_the_number_of_its_breakers() {
        let admission = Admission::default();
        let mut first = admission.admit(Cost::Wall(10_000)).await.unwrap();
        first.answered(Some(circuits_bytes(10_000)));
        let second = admission.admit(Cost::Wall(10_000)).await;
        assert_eq!(second.unwrap_err(), Busy);
        assert!(admission.admit(Cost::Light).await.is_ok());
        drop(first);
        // The largest takes all the room there is.
        let most = admission.admit(Cost::Wall(1_000_000)).await.unwrap();
        assert_eq!(admission.admit(Cost::Wall(1)).await.unwrap_err(), Busy);
        drop(most);
    }
}
