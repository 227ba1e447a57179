//! Removed instances with the times of their last reports: if one comes back, calls counted before must not
//! count again.

use std::collections::HashMap;

use crate::model::{CircuitKey, UnixNanos};
use crate::store::hash::Seed;
use crate::store::series::Standing;

/// Removed instances remembered, 16 bytes each: as many as leave in an hour when the board is full and each
/// stays for the quarter of an hour after which it is removed.
const MAX_GONE: usize = 40_000;

/// Times of the last reports of removed instances.
#[derive(Debug, Default)]
pub(super) struct Gone {
    seed: Seed,
    last_seen: HashMap<u64, UnixNanos>,
    /// The latest of these times among those no longer remembered.
    forgotten: Option<UnixNanos>,
}

impl Gone {
    pub(super) fn note(&mut self, standing: &Standing) {
        if self.last_seen.len() >= MAX_GONE {
            let latest = self.last_seen.values().max().copied();
            self.forgotten = self.forgotten.max(latest);
            self.last_seen.clear();
        }
        let place = self.place(&standing.key, &standing.instance);
        self.last_seen.insert(place, standing.last_seen);
    }

    /// Moves times in the future to the present: the clock was set back.
    pub(super) fn take_back(&mut self, now: UnixNanos) {
        let forgotten = self.forgotten.as_mut();
        let times = self.last_seen.values_mut().chain(forgotten);
        times.for_each(|time| *time = now.min(*time));
    }

    /// Returns an upper bound of a removed instance's last report; `None` if none with that name was removed.
    pub(super) fn last_seen(&self, key: &CircuitKey, id: &str) -> Option<UnixNanos> {
        let place = self.place(key, id);
        self.last_seen.get(&place).copied().max(self.forgotten)
    }

    fn place(&self, key: &CircuitKey, id: &str) -> u64 {
        let parts = [&*key.service, &*key.name, id];
        let hashes = parts.map(|part| self.seed.hash(part.as_bytes()).to_le_bytes());
        self.seed.hash(hashes.as_flattened())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::circuits::instance::Instance;
    use crate::model::Source;

    #[test]
    fn who_is_no_longer_remembered_is_taken_for_one_that_left_last() {
        let key = CircuitKey {
            service: "shop".to_owned(),
            name: "stock".to_owned(),
        };
        let standing = |id: usize| {
            let now = UnixNanos::new(id as u64);
            Instance::new(&key, &id.to_string(), Source::Fusebox, now).standing
        };
        let mut gone = Gone::default();
        gone.note(&standing(1));
        assert_eq!(gone.last_seen(&key, "1"), Some(UnixNanos::new(1)));
        assert_eq!(gone.last_seen(&key, "2"), None);
        (2..=MAX_GONE + 1).for_each(|id| gone.note(&standing(id)));
        assert!(gone.last_seen.len() <= MAX_GONE);
        let latest = Some(UnixNanos::new(MAX_GONE as u64));
        assert_eq!(gone.last_seen(&key, "1"), latest);
        assert_eq!(gone.last_seen(&key, "never"), latest);
    }
}
