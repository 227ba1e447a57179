//! The arrival clock: gives every row of every block its own nanosecond of the collector's clock.
//!
//! A block stores when it was written, and its rows follow one nanosecond apart. Times increase strictly over
//! all shards and restarts, so a time identifies a row: a point written with it elsewhere (`store::influxdb`)
//! can be written again without a duplicate.

use std::collections::BTreeSet;

use crate::model::UnixNanos;
use crate::sync::Mutex;

/// Allocates arrival times; shared by the shards.
#[derive(Debug, Default)]
pub(crate) struct ArrivalClock {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: u64,
    /// First times of blocks that readers cannot see yet.
    reserved: BTreeSet<u64>,
}

/// The times of a block's rows. Dropped once readers see the block, or once it failed.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    clock: &'a ArrivalClock,
    pub(crate) first: u64,
}

impl ArrivalClock {
    /// Reserves a time for each row: from now on, or after the last row if the clock is behind.
    pub(crate) fn reserve(&self, rows: u64, now: u64) -> Reserved<'_> {
        let mut state = self.state.lock();
        let first = state.free.max(now);
        state.free = first.saturating_add(rows);
        state.reserved.insert(first);
        Reserved { clock: self, first }
    }

    /// Marks every time before `free` as taken.
    pub(crate) fn note(&self, free: u64) {
        let mut state = self.state.lock();
        state.free = state.free.max(free);
    }

    /// Returns a time by which every block is visible that was or will be written up to then.
    pub(crate) fn settled(&self, now: UnixNanos) -> UnixNanos {
        let state = self.state.lock();
        let first = state.reserved.first();
        let unsettled = first.map_or_else(|| state.free.max(now.get()), |first| *first);
        UnixNanos::new(unsettled.saturating_sub(1))
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.clock.state.lock().reserved.remove(&self.first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_never_share_a_time_whatever_the_clock_does() {
        let clock = ArrivalClock::default();
        assert_eq!(clock.reserve(10, 100).first, 100);
        assert_eq!(clock.reserve(5, 103).first, 110);
        assert_eq!(clock.reserve(1, 50).first, 115);
        assert_eq!(clock.reserve(1, 200).first, 200);
        clock.note(300);
        assert_eq!(clock.reserve(1, 250).first, 300);
    }
    #[test]
    fn a_time_is_settled_once_no_block_before_it_is_on_its_way() {
        let clock = ArrivalClock::default();
        let settled = |now| clock.settled(UnixNanos::new(now)).get();
        let first = clock.reserve(10, 100);
        let second = clock.reserve(10, 105);
        assert_eq!(settled(200), 99);
        drop(first);
        assert_eq!(settled(200), 109);
        drop(second);
        assert_eq!(settled(200), 199);
        assert_eq!(settled(50), 119);
        assert!(clock.reserve(1, 50).first > 119);
    }
}
