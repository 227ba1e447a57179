//! The entries of a cache by key, their expiry, and the order of eviction. Time is an argument.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use tokio::sync::watch;

/// Receives the end of another caller's call; closed without one if that caller gives up.
pub(super) type Answer<V> = watch::Receiver<Option<End<V>>>;

/// How the call for a key ended.
#[derive(Debug, Clone)]
pub(super) enum End<V> {
    Answered(Arc<V>),
    Failed,
}

/// Cached values and calls in progress. The number of keys is limited; the least recently used one is evicted first.
pub(super) struct Entries<K, V> {
    by_key: HashMap<K, Entry<V>>,
    /// Keys in the order of their last use.
    by_use: BTreeMap<u64, K>,
    uses: u64,
}

struct Entry<V> {
    used: u64,
    state: State<V>,
}

enum State<V> {
    /// The caller with this number is making the call.
    Asked {
        by: u64,
        answer: Answer<V>,
    },
    Answered {
        value: Arc<V>,
        at: u64,
    },
}

/// The state of a key.
pub(super) enum Known<V> {
    Answered(Arc<V>),
    Asked(Answer<V>),
    /// No value: the holder of this makes the call now.
    Nothing(Asking<V>),
}

/// The right to make the call for a key.
#[derive(Debug)]
pub(super) struct Asking<V> {
    pub(super) by: u64,
    /// Notifies the waiting callers.
    pub(super) end: watch::Sender<Option<End<V>>>,
}

/// Removed entries, to be dropped without a lock held, because keys and values are the application's.
#[must_use = "dropped once the lock is released"]
pub(super) struct Forgotten<K, V>(#[expect(dead_code, reason = "only dropped")] Vec<(K, Entry<V>)>);

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
        }
    }
}

impl<K: Hash + Eq + Clone, V> Entries<K, V> {
    /// Returns the state of `key`, using values cached since `oldest`. If there is none, marks it as being called and
    /// evicts others if there are `most` keys.
    pub(super) fn find(
        &mut self,
        key: &K,
        oldest: u64,
        most: usize,
    ) -> (Known<V>, Forgotten<K, V>) {
        self.uses += 1;
        let use_now = self.uses;
        if let Some(entry) = self.by_key.get_mut(key) {
            let known = match &entry.state {
                State::Answered { value, at } if *at >= oldest => {
                    Some(Known::Answered(Arc::clone(value)))
                }
                State::Asked { answer, .. } => Some(Known::Asked(answer.clone())),
                State::Answered { .. } => None,
            };
            if let Some(key) = self.by_use.remove(&entry.used) {
                self.by_use.insert(use_now, key);
            }
            entry.used = use_now;
            if let Some(known) = known {
                return (known, Forgotten(Vec::new()));
            }
        }
        let forgotten = self.make_room(key, most);
        let (end, answer) = watch::channel(None);
        let by = use_now;
        let state = State::Asked { by, answer };
        let used = use_now;
        let replaced = self.by_key.insert(key.clone(), Entry { used, state });
        self.by_use.insert(used, key.clone());
        let replaced = replaced.map(|entry| (key.clone(), entry));
        let forgotten = Forgotten(forgotten.into_iter().chain(replaced).collect());
        (Known::Nothing(Asking { by, end }), forgotten)
    }

    /// Stores the value of a caller, unless its key was removed or called again meanwhile.
    pub(super) fn answer(&mut self, key: &K, by: u64, value: Arc<V>, at: u64) -> Option<Answer<V>> {
        let entry = self.by_key.get_mut(key)?;
        match &entry.state {
            State::Asked { by: asked, .. } if *asked == by => {}
            _ => return None,
        }
        match std::mem::replace(&mut entry.state, State::Answered { value, at }) {
            State::Asked { answer, .. } => Some(answer),
            State::Answered { .. } => None,
        }
    }

    /// Removes the pending call of a caller that got no value.
    pub(super) fn give_up(&mut self, key: &K, by: u64) -> Forgotten<K, V> {
        let is_own =
            |entry: &Entry<V>| matches!(entry.state, State::Asked { by: asked, .. } if asked == by);
        match self.by_key.get(key).is_some_and(is_own) {
            true => self.remove(key),
            false => Forgotten(Vec::new()),
        }
    }

    /// Removes a key.
    pub(super) fn remove(&mut self, key: &K) -> Forgotten<K, V> {
        let Some((key, entry)) = self.by_key.remove_entry(key) else {
            return Forgotten(Vec::new());
        };
        self.by_use.remove(&entry.used);
        Forgotten(vec![(key, entry)])
    }

    /// Removes all keys.
    pub(super) fn clear(&mut self) -> Forgotten<K, V> {
        self.by_use.clear();
        Forgotten(self.by_key.drain().collect())
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Makes room for `key` within the limit `most`.
    fn make_room(&mut self, key: &K, most: usize) -> Vec<(K, Entry<V>)> {
        let mut forgotten = Vec::new();
        if self.by_key.contains_key(key) {
            return forgotten;
        }
        while self.by_key.len() >= most
            && let Some((_, unused)) = self.by_use.pop_first()
        {
            forgotten.extend(self.by_key.remove_entry(&unused));
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_was_longest_not_asked_for_is_forgotten_first() {
        let mut entries = Entries::<u32, u32>::default();
        let mut is_known = |key: u32| {
            let (known, forgotten) = entries.find(&key, 0, 2);
            drop(forgotten);
            match known {
                Known::Nothing(Asking { by, .. }) => {
                    assert!(entries.answer(&key, by, Arc::new(key), 5).is_some());
                    assert!(entries.len() <= 2);
                    false
                }
                Known::Answered(value) => *value == key,
                Known::Asked(_) => panic!("none is under way"),
            }
        };
        assert!(!is_known(1) && !is_known(2) && is_known(1));
        assert!(!is_known(3), "2 goes");
        assert!(is_known(1) && is_known(3) && !is_known(2));
        assert!(!is_known(1), "it was not asked for since");
    }

    #[test]
    fn an_old_answer_is_asked_for_anew_and_a_late_one_is_not_kept() {
        let mut entries = Entries::<u32, u32>::default();
        let find = |entries: &mut Entries<u32, u32>, oldest| entries.find(&7, oldest, 10).0;
        let Known::Nothing(first) = find(&mut entries, 0) else {
            panic!("it is empty");
        };
        drop(entries.remove(&7));
        let Known::Nothing(second) = find(&mut entries, 0) else {
            panic!("it was removed");
        };
        assert!(entries.answer(&7, first.by, Arc::new(1), 5).is_none());
        drop(entries.give_up(&7, first.by));
        assert!(entries.answer(&7, second.by, Arc::new(2), 5).is_some());
        assert!(matches!(find(&mut entries, 5), Known::Answered(value) if *value == 2));
        assert!(matches!(find(&mut entries, 6), Known::Nothing(_)));
    }
}
