//! Instances that announced their end, and so are not missing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::codec::circuits::{EndReport, InstanceId};
use crate::model::{CircuitKey, HOUR, InstanceEnd, SECOND, UnixNanos};

/// Number of remembered instances, as many as the wall holds.
const ENDED_MAX: usize = 10_000;
/// The fraction that is forgotten at once when full.
const ROOM_PART: usize = 8;
/// How long an end is remembered: as long as instances are listed after their last sign of life.
const KEPT_FOR: Duration = HOUR;
/// How late reports sent before the end may arrive: spans are flushed at the same time.
pub(crate) const UNDER_WAY: Duration = SECOND.saturating_mul(10);

/// When each ended, and what was stored of that.
#[derive(Debug, Default)]
pub(super) struct Ended(BTreeMap<InstanceId, End>, Stored);

/// Ends stored within an hour.
#[derive(Debug, Default)]
struct Stored {
    since: UnixNanos,
    count: usize,
}

#[derive(Debug, Clone, Copy)]
struct End {
    /// By the collector's clock.
    at: UnixNanos,
    /// By the instance's own clock; `None` if it was restored, as only the collector's is stored.
    announced: Option<UnixNanos>,
}

impl Ended {
    /// Returns the new ends; a repeated announcement is not stored again.
    pub(super) fn new_ends(&self, ends: Vec<EndReport>, now: UnixNanos) -> Vec<EndReport> {
        let is_new = |end: &EndReport| {
            let known = self.0.get(&end.id);
            known.is_none_or(|known| now - known.at > UNDER_WAY)
        };
        let mut new: Vec<_> = ends.into_iter().filter(is_new).collect();
        new.sort_unstable();
        new.dedup_by(|later, earlier| later.id == earlier.id);
        new
    }

    /// Returns how many of these new ends are stored: within an hour no more than are restored after a restart. They are
    /// read with the journal of operators, of which made-up ones would otherwise take all the time.
    pub(super) fn admit(&mut self, ends: usize, now: UnixNanos) -> usize {
        let stored = &mut self.1;
        if now - stored.since >= KEPT_FOR {
            (stored.since, stored.count) = (now, 0);
        }
        let ends = ends.min(ENDED_MAX - stored.count);
        stored.count += ends;
        ends
    }

    /// Records an end.
    pub(super) fn insert(&mut self, end: EndReport, now: UnixNanos) {
        let announced = Some(end.time);
        self.put(end.id, End { at: now, announced });
    }

    /// Restores an end of an earlier run.
    pub(super) fn restore(&mut self, end: InstanceEnd) {
        let id = InstanceId {
            service: end.key.service,
            instance: end.instance,
        };
        let (at, announced) = (end.time, None);
        self.put(id, End { at, announced });
    }

    /// Stores an end; when full, forgets the oldest.
    fn put(&mut self, id: InstanceId, end: End) {
        self.0.insert(id, end);
        if self.0.len() > ENDED_MAX {
            // Several are removed at once, because each removal scans all.
            let mut times: Vec<_> = self.0.values().map(|end| end.at).collect();
            let (_, limit, _) = times.select_nth_unstable(ENDED_MAX / ROOM_PART);
            let limit = *limit;
            // All of one request have the same time.
            let mut most = ENDED_MAX / ROOM_PART + 1;
            self.0.retain(|_, end| {
                let goes = end.at <= limit && most > 0;
                most -= usize::from(goes);
                !goes
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets the end of an instance that was started again.
    pub(super) fn started(&mut self, id: &InstanceId) {
        self.0.remove(id);
    }

    /// Forgets the end of an instance with a count that was started after it. Both times are by the instance's clock, because
    /// the collector's may differ by more than a restart takes.
    pub(super) fn counted_since(&mut self, id: &InstanceId, start: UnixNanos) {
        let announced = self.0.get(id).and_then(|end| end.announced);
        if announced.is_some_and(|announced| announced < start) {
            self.0.remove(id);
        }
    }

    /// Returns the ends within the last hour.
    pub(super) fn all(&self, now: UnixNanos) -> Vec<(InstanceId, UnixNanos)> {
        let lately = self.0.iter().filter(|(_, end)| now - end.at <= KEPT_FOR);
        lately.map(|(id, end)| (id.clone(), end.at)).collect()
    }
}

/// Returns the record of an end.
pub(super) fn record(end: &EndReport, now: UnixNanos) -> InstanceEnd {
    InstanceEnd {
        key: CircuitKey {
            service: end.id.service.clone(),
            name: String::new(),
        },
        instance: end.id.instance.clone(),
        time: now,
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
            let ends = ids.into_iter().map(|id| EndReport { id, time: now });
            let new = ended.new_ends(ends.collect(), now);
            let count = new.len();
            new.into_iter().for_each(|end| ended.insert(end, now));
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

    #[test]
    fn what_is_stored_within_an_hour_is_bounded() {
        let mut ended = Ended::default();
        assert_eq!(ended.admit(ENDED_MAX - 1, NOW), ENDED_MAX - 1);
        assert_eq!(ended.admit(5, NOW + SECOND), 1);
        assert_eq!(ended.admit(5, NOW + SECOND * 3_599), 0);
        assert_eq!(ended.admit(5, NOW + HOUR), 5);
    }

    /// Scenario: an instance, whose clock is an hour ahead, ends, is started again within a second, and ends again.
    /// Guarantees: a late count of the first process changes nothing, one of the second ends the end, which is
    /// announced again.
    #[test]
    fn an_instance_that_counts_anew_has_not_ended() {
        let mut ended = Ended::default();
        let end = |time| EndReport { id: id(0), time };
        ended.insert(end(NOW + HOUR), NOW);
        for start in [NOW, NOW + HOUR - SECOND, NOW + HOUR] {
            ended.counted_since(&id(0), start);
            assert_eq!(ended.all(NOW).len(), 1);
        }
        ended.counted_since(&id(0), NOW + HOUR + SECOND);
        assert_eq!(ended.all(NOW), []);
        let again = end(NOW + HOUR + SECOND * 2);
        assert_eq!(
            ended.new_ends(vec![again.clone()], NOW + SECOND * 2),
            [again]
        );
    }
}
