//! Instances that announced their end, and so are not missing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::codec::circuits::InstanceId;
use crate::model::{CircuitKey, HOUR, InstanceEnd, SECOND, UnixNanos};

/// Number of remembered instances, as many as the wall holds.
const ENDED_MAX: usize = 10_000;
/// The fraction that is forgotten at once when full.
const ROOM_PART: usize = 8;
/// How long an end is remembered: as long as instances are listed after their last sign of life.
const KEPT_FOR: Duration = HOUR;
/// How late reports sent before the end may arrive: spans are flushed at the same time.
pub(crate) const UNDER_WAY: Duration = SECOND.saturating_mul(10);

/// When each ended, by the collector's clock.
#[derive(Debug, Default)]
pub(super) struct Ended(BTreeMap<InstanceId, UnixNanos>);

impl Ended {
    /// Returns the records of new ends; a repeated announcement is not stored again.
    pub(super) fn new_ends(&self, instances: Vec<InstanceId>, now: UnixNanos) -> Vec<InstanceEnd> {
        let is_new = |id: &InstanceId| {
            let known = self.0.get(id);
            known.is_none_or(|at| now - *at > UNDER_WAY)
        };
        let mut new: Vec<_> = instances.into_iter().filter(is_new).collect();
        new.sort_unstable();
        new.dedup();
        let end = |id: InstanceId| InstanceEnd {
            key: CircuitKey {
                service: id.service,
                name: String::new(),
            },
            instance: id.instance,
            time: now,
        };
        new.into_iter().map(end).collect()
    }

    /// Records an end; when full, forgets the oldest.
    pub(super) fn insert(&mut self, end: InstanceEnd) {
        let id = InstanceId {
            service: end.key.service,
            instance: end.instance,
        };
        self.0.insert(id, end.time);
        if self.0.len() > ENDED_MAX {
            // Several are removed at once, because each removal scans all.
            let mut times: Vec<_> = self.0.values().copied().collect();
            let (_, limit, _) = times.select_nth_unstable(ENDED_MAX / ROOM_PART);
            let limit = *limit;
            // All of one request have the same time.
            let mut most = ENDED_MAX / ROOM_PART + 1;
            self.0.retain(|_, at| {
                let goes = *at <= limit && most > 0;
                most -= usize::from(goes);
                !goes
            });
        }
    }

    /// Returns the ends within the last hour.
    pub(super) fn all(&self, now: UnixNanos) -> Vec<(InstanceId, UnixNanos)> {
        let lately = self.0.iter().filter(|(_, at)| now - **at <= KEPT_FOR);
        lately.map(|(id, at)| (id.clone(), *at)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixNanos = UnixNanos::new(1_795_397_400_000_000_000);

    fn id(instance: usize) -> InstanceId {
        InstanceId {
            service: "shop".to_owned(),
            instance: format!("pod-{instance:05}"),
        }
    }

    /// Guarantees: an end is stored once, an instance that returns may end again, and made-up names evict the
    /// oldest.
    #[test]
    fn ends_are_stored_once_and_bounded() {
        let mut ended = Ended::default();
        let end = |ended: &mut Ended, ids: Vec<InstanceId>, now| {
            let new = ended.new_ends(ids, now);
            let count = new.len();
            new.into_iter().for_each(|end| ended.insert(end));
            count
        };
        assert_eq!(end(&mut ended, vec![id(0), id(0)], NOW), 1);
        assert_eq!(end(&mut ended, vec![id(0)], NOW + SECOND), 0);
        assert_eq!(end(&mut ended, vec![id(0)], NOW + HOUR), 1);
        assert_eq!(ended.all(NOW + HOUR), [(id(0), NOW + HOUR)]);
        for more in 1..=ENDED_MAX {
            let now = NOW + HOUR + Duration::from_millis(more as u64);
            assert_eq!(end(&mut ended, vec![id(more)], now), 1);
        }
        let all = ended.all(NOW + HOUR);
        assert_eq!(all.len(), ENDED_MAX - ENDED_MAX / ROOM_PART);
        assert_eq!(all.last().map(|(last, _)| last), Some(&id(ENDED_MAX)));
        assert!(ended.all(NOW + HOUR * 3).is_empty());
        // Of many in one request most stay.
        let many = (0..=ENDED_MAX).map(|n| id(20_000 + n)).collect();
        end(&mut ended, many, NOW + HOUR * 9);
        assert!(ended.all(NOW + HOUR * 9).len() >= ENDED_MAX - 2 * ENDED_MAX / ROOM_PART);
    }
}
