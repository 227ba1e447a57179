//! Numbers for threads: the smallest free one, given back when the thread ends. A thread keeps its seat for
//! life and no two living threads share one, so that a shard which belongs to a seat has one writer.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};

/// The seat of a thread that has given back its own: nobody's, so never a shard's.
const STANDING: usize = usize::MAX - 1;

/// The thread has not asked yet.
const UNASKED: usize = usize::MAX;

static SEATS: Mutex<Seats> = Mutex::new(Seats {
    free: BinaryHeap::new(),
    taken_ever: 0,
});

thread_local! {
    /// Without a destructor, so that reading it is one load.
    static SEAT: Cell<usize> = const { Cell::new(UNASKED) };
    static LEAVER: Leaver = const { Leaver };
}

/// The free seats.
struct Seats {
    free: BinaryHeap<Reverse<usize>>,
    taken_ever: usize,
}

/// Gives the seat back when the thread ends.
struct Leaver;

impl Drop for Leaver {
    fn drop(&mut self) {
        let seat = SEAT.replace(STANDING);
        let mut seats = SEATS.lock().unwrap_or_else(PoisonError::into_inner);
        seats.free.push(Reverse(seat));
    }
}

/// Returns this thread's number.
#[inline]
pub(super) fn seat() -> usize {
    match SEAT.get() {
        UNASKED => take(),
        seat => seat,
    }
}

#[cold]
fn take() -> usize {
    // Where the thread's destructors have already run nothing would give the seat back.
    if LEAVER.try_with(|_| ()).is_err() {
        return STANDING;
    }
    let mut seats = SEATS.lock().unwrap_or_else(PoisonError::into_inner);
    let seat = match seats.free.pop() {
        Some(Reverse(seat)) => seat,
        None => {
            seats.taken_ever += 1;
            seats.taken_ever - 1
        }
    };
    SEAT.set(seat);
    seat
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn living_threads_never_share_a_seat() {
        let together = Barrier::new(16);
        let seats: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        let seat = seat();
                        together.wait();
                        seat
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(seats.iter().collect::<BTreeSet<_>>().len(), 16);
    }
}
