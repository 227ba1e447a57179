//! Numbers for threads: each thread gets the smallest free number and returns it when it ends. No two running threads
//! share a number, so the shard of a number has a single writer.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::sync::{StaticMutex, thread_local};

/// Marks a thread that has returned its number; beyond every shard.
const NO_SLOT: usize = usize::MAX - 1;

/// Marks a thread that has no number yet.
const UNASSIGNED: usize = usize::MAX;

static SLOTS: StaticMutex<Slots> = StaticMutex::new(Slots {
    free: BinaryHeap::new(),
    assigned_ever: 0,
});

thread_local! {
    /// Has no destructor, so that a read is one load.
    static SLOT: Cell<usize> = const { Cell::new(UNASSIGNED) };
    static RETURN_SLOT: ReturnSlot = const { ReturnSlot(Cell::new(UNASSIGNED)) };
}

struct Slots {
    free: BinaryHeap<Reverse<usize>>,
    assigned_ever: usize,
}

/// Frees the number when the thread ends.
struct ReturnSlot(Cell<usize>);

impl ReturnSlot {
    /// Takes the smallest free number.
    fn take(&self) -> usize {
        let mut slots = SLOTS.lock();
        let slot = match slots.free.pop() {
            Some(Reverse(slot)) => slot,
            None => {
                slots.assigned_ever += 1;
                slots.assigned_ever - 1
            }
        };
        self.0.set(slot);
        slot
    }
}

impl Drop for ReturnSlot {
    fn drop(&mut self) {
        // It has no destructor, but in a loom model all thread-locals are dropped.
        let _ = SLOT.try_with(|slot| slot.set(NO_SLOT));
        SLOTS.lock().free.push(Reverse(self.0.get()));
    }
}

#[inline]
pub(crate) fn thread_slot() -> usize {
    match SLOT.with(Cell::get) {
        UNASSIGNED => assign(),
        slot => slot,
    }
}

#[cold]
fn assign() -> usize {
    // After the thread's destructors have run, nothing would return the number.
    let Ok(slot) = RETURN_SLOT.try_with(ReturnSlot::take) else {
        return NO_SLOT;
    };
    SLOT.with(|own| own.set(slot));
    slot
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn living_threads_never_share_a_slot() {
        let together = Barrier::new(16);
        let slots: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        let slot = thread_slot();
                        together.wait();
                        slot
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), 16);
    }
}
