//! An LRU cache of decoded footer sections of sealed segments.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use crate::store::StoreError;
use crate::sync::Mutex;

/// A section: sequence number of the segment, kind, column.
pub(crate) type SectionId = (u64, u8, u32);

#[derive(Debug)]
pub(crate) struct SectionCache {
    budget: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<SectionId, Entry>,
    bytes: usize,
    clock: u64,
    /// The clock at the last sweep.
    swept: u64,
}

#[derive(Debug)]
struct Entry {
    value: Arc<dyn Any + Send + Sync>,
    bytes: usize,
    used: u64,
}

impl SectionCache {
    /// `budget` is the approximate memory limit, bytes.
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            budget,
            state: Mutex::default(),
        }
    }

    /// Returns a section, loading it on a miss; `load` returns it with its size in memory.
    pub(crate) fn get<T: Any + Send + Sync>(
        &self,
        id: SectionId,
        load: impl FnOnce() -> Result<(T, usize), StoreError>,
    ) -> Result<Arc<T>, StoreError> {
        if let Some(found) = self.find(id) {
            return Ok(found);
        }
        let (value, bytes) = load()?;
        let value = Arc::new(value);
        self.insert(id, value.clone(), bytes);
        Ok(value)
    }

    /// Evicts entries not used since the last call.
    pub(crate) fn sweep(&self) {
        let mut state = self.state.lock();
        let swept = state.swept;
        state.swept = state.clock;
        state.retain(|entry| entry.used > swept);
        state.entries.shrink_to_fit();
    }

    fn find<T: Any + Send + Sync>(&self, id: SectionId) -> Option<Arc<T>> {
        let mut state = self.state.lock();
        state.clock += 1;
        let clock = state.clock;
        let entry = state.entries.get_mut(&id)?;
        entry.used = clock;
        Arc::clone(&entry.value).downcast().ok()
    }

    /// Inserts a section, evicting others to stay within the budget.
    fn insert(&self, id: SectionId, value: Arc<dyn Any + Send + Sync>, bytes: usize) {
        let mut state = self.state.lock();
        state.clock += 1;
        let used = state.clock;
        state.bytes += bytes;
        let entry = Entry { value, bytes, used };
        if let Some(old) = state.entries.insert(id, entry) {
            state.bytes -= old.bytes;
        }
        while state.bytes > self.budget {
            state.evict();
        }
    }
}

impl State {
    /// Evicts the eighth that was used least recently: finding each alone would read the whole table each time.
    fn evict(&mut self) {
        let mut used: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        let eighth = used.len() / 8;
        let (_, latest, _) = used.select_nth_unstable(eighth);
        let latest = *latest;
        self.retain(|entry| entry.used > latest);
    }

    fn retain(&mut self, stays: impl Fn(&Entry) -> bool) {
        self.entries.retain(|_, entry| stays(entry));
        self.bytes = self.entries.values().map(|entry| entry.bytes).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_leaves_first() {
        let cache = SectionCache::new(100);
        let load = |value: u32| move || Ok((value, 40));
        cache.get((1, 0, 0), load(1)).unwrap();
        cache.get((2, 0, 0), load(2)).unwrap();
        cache.get((1, 0, 0), load(9)).unwrap();
        cache.get((3, 0, 0), load(3)).unwrap();
        assert_eq!(*cache.get((1, 0, 0), load(9)).unwrap(), 1);
        assert_eq!(*cache.get((2, 0, 0), load(9)).unwrap(), 9);
    }

    #[test]
    fn what_is_unused_between_two_sweeps_leaves() {
        let cache = SectionCache::new(100);
        let load = |value: u32| move || Ok((value, 40));
        cache.get((1, 0, 0), load(1)).unwrap();
        cache.get((2, 0, 0), load(2)).unwrap();
        cache.sweep();
        cache.get((1, 0, 0), load(9)).unwrap();
        cache.sweep();
        assert_eq!(cache.state.lock().bytes, 40);
        assert_eq!(*cache.get((1, 0, 0), load(9)).unwrap(), 1);
        assert_eq!(*cache.get((2, 0, 0), load(9)).unwrap(), 9);
    }
}
