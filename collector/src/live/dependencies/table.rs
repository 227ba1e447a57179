//! Parts of the pairing table: its limits, queues of keys in order of arrival, and the hasher of keys.

use std::collections::VecDeque;
use std::hash::Hasher;

/// Halves of calls in the table (64 Ki; about 40 bytes each). At 8,000 calls a second that is eight seconds,
/// more than the five for which SDKs hold spans back.
pub(in crate::live) const CALLS_MAX: usize = 65_536;
/// Other spans in the table: parents of calls, among them those with the breaker's name.
pub(in crate::live) const OTHERS_MAX: usize = 32_768;
/// How long a span waits for its other half, seconds: SDKs send every five, retry for some, and batches of
/// two services are out of step.
pub(in crate::live) const WAIT_SECONDS: u32 = 30;

/// Entries for which memory is kept: 100 KiB.
const ENTRIES_KEPT: usize = 1_024;

/// Keys in the order of arrival, each with its second.
#[derive(Debug)]
pub(super) struct Ring {
    keys: VecDeque<(u64, u32)>,
    max: usize,
}

impl Ring {
    pub(super) fn new(max: usize) -> Self {
        let keys = VecDeque::new();
        Self { keys, max }
    }

    /// Adds a key; evicts and returns the oldest one if there are too many.
    pub(super) fn push(&mut self, key: u64, second: u32) -> Option<(u64, u32)> {
        self.keys.push_back((key, second));
        let full = self.keys.len() > self.max;
        full.then(|| self.keys.pop_front()).flatten()
    }

    /// Removes and returns the oldest key if it has expired.
    pub(super) fn expired(&mut self, second: u32) -> Option<(u64, u32)> {
        let (_, since) = *self.keys.front()?;
        if since.saturating_add(WAIT_SECONDS) >= second {
            return None;
        }
        self.keys.pop_front()
    }

    /// Releases the memory of what has left, once it is most of it.
    pub(super) fn release_memory(&mut self) {
        if is_mostly_spare(self.keys.len(), self.keys.capacity()) {
            self.keys.shrink_to(self.keys.len() * 2);
        }
    }
}

/// Returns whether a collection of that many entries could do with a fraction of its memory.
pub(super) fn is_mostly_spare(length: usize, capacity: usize) -> bool {
    capacity > ENTRIES_KEPT && length < capacity / 8
}

/// Uses a key as its own hash: keys are already hashes with a secret.
#[derive(Debug, Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `u64` keys are hashed; this keeps the trait's contract for any other.
        bytes
            .iter()
            .for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
