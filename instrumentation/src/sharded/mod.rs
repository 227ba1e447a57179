//! Counts that are split by thread. Threads that count often each write their own shard without atomic additions; all
//! others share one under a lock. Readers add up the shards.

pub(crate) mod counter;
pub(crate) mod thread_slot;

use std::sync::OnceLock;
use std::thread::available_parallelism;

use crate::sync::Mutex;
use thread_slot::thread_slot;

/// Most shards with a single writer; each takes 16 bytes until its first write.
const MAX_OWNED: usize = 128;

/// Shards with a single writer that there is always room for.
const FIRST_OWNED: usize = 8;

/// Every this many writes to the shared shard, the writing thread gets its own shard. Threads that count often get one
/// soon, and many threads that count rarely share one.
const WRITES_PER_PROMOTION: u32 = 256;

/// Shards of the kind `S`, which one thread at a time writes.
#[derive(Debug)]
pub(crate) struct Sharded<S> {
    /// The shards of the first threads are stored inline, which saves a pointer per write.
    first: [OnceLock<Box<S>>; FIRST_OWNED],
    more: OnceLock<Box<[OnceLock<Box<S>>]>>,
    /// Most shards with a single writer.
    owned_len: usize,
    shared: Box<S>,
    /// Locked by the thread that writes the shared shard; holds the number of writes since the last promotion.
    shared_writer: Mutex<u32>,
}

impl<S: Default> Sharded<S> {
    /// Creates one shard, with room for twice as many as there are cores.
    pub(crate) fn new() -> Self {
        // Asking for the cores reads files.
        static CORES: OnceLock<usize> = OnceLock::new();
        let cores = *CORES.get_or_init(|| available_parallelism().map_or(4, usize::from));
        Self::with_owned((cores * 2).clamp(FIRST_OWNED, MAX_OWNED))
    }

    pub(crate) fn with_owned(owned_len: usize) -> Self {
        Self {
            first: std::array::from_fn(|_| OnceLock::new()),
            more: OnceLock::new(),
            owned_len,
            shared: Box::default(),
            shared_writer: Mutex::new(0),
        }
    }

    /// Calls `write` with a shard that no other thread is writing.
    #[inline]
    pub(crate) fn write(&self, write: impl FnOnce(&S)) {
        let slot = thread_slot();
        let own = match self.first.get(slot) {
            Some(own) => own.get(),
            None => self.more(slot).and_then(OnceLock::get),
        };
        match own {
            Some(shard) => write(shard),
            None => self.write_shared(write),
        }
    }

    fn more(&self, slot: usize) -> Option<&OnceLock<Box<S>>> {
        self.more.get()?.get(slot.checked_sub(FIRST_OWNED)?)
    }

    #[inline(never)]
    fn write_shared(&self, write: impl FnOnce(&S)) {
        let mut writes = self.shared_writer.lock();
        write(&self.shared);
        *writes += 1;
        if *writes >= WRITES_PER_PROMOTION {
            *writes = 0;
            self.promote();
        }
    }

    /// Gives this thread its own shard, if there is room.
    #[cold]
    fn promote(&self) {
        let slot = thread_slot();
        if slot >= self.owned_len {
            return;
        }
        let own = self.first.get(slot).or_else(|| {
            let new = || {
                (FIRST_OWNED..self.owned_len)
                    .map(|_| OnceLock::new())
                    .collect()
            };
            self.more.get_or_init(new);
            self.more(slot)
        });
        if let Some(own) = own {
            own.get_or_init(Box::default);
        }
    }

    /// Calls `read` with every shard.
    #[inline]
    pub(crate) fn for_each(&self, mut read: impl FnMut(&S)) {
        read(&self.shared);
        // Loops over slices instead of a chain of iterators: a breaker does this for every bad call.
        self.first
            .iter()
            .filter_map(OnceLock::get)
            .for_each(|shard| read(shard));
        if let Some(more) = self.more.get() {
            more.iter()
                .filter_map(OnceLock::get)
                .for_each(|shard| read(shard));
        }
    }

    pub(crate) fn sum(&self, count: impl Fn(&S) -> u64) -> u64 {
        let mut sum = 0;
        self.for_each(|shard| sum += count(shard));
        sum
    }
}
