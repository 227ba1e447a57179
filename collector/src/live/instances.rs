//! The instances of each service, with the times of their first and last reports by the collector's clock.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::names::{NodeId, cut};
use crate::model::{InstanceSeen, UnixNanos};

/// Instances kept per service; the one that reported longest ago is evicted.
const PER_SERVICE_MAX: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Instances(HashMap<NodeId, HashMap<Box<str>, Seen>>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    first: UnixNanos,
    last: UnixNanos,
    /// The last report by the monotonic clock; `None` if that was before the start.
    heard: Option<Instant>,
}

impl Instances {
    /// Records that an instance reports now.
    pub(super) fn hear(&mut self, service: NodeId, id: &str, now: UnixNanos) {
        self.see(service, id, now, now);
        let of_service = self.0.get_mut(&service);
        if let Some(seen) = of_service.and_then(|of| of.get_mut(cut(id))) {
            seen.heard = Some(Instant::now());
        }
    }

    /// Records that an instance reported between two times; one without an id is ignored.
    pub(super) fn see(&mut self, service: NodeId, id: &str, first: UnixNanos, last: UnixNanos) {
        if id.is_empty() {
            return;
        }
        let of_service = self.0.entry(service).or_default();
        let id = cut(id);
        if let Some(seen) = of_service.get_mut(id) {
            seen.first = seen.first.min(first);
            seen.last = seen.last.max(last);
            return;
        }
        if of_service.len() >= PER_SERVICE_MAX {
            forget_oldest(of_service);
        }
        let heard = None;
        of_service.insert(Box::from(id), Seen { first, last, heard });
    }

    pub(super) fn forget(&mut self, services: &HashSet<NodeId>) {
        services.iter().for_each(|service| {
            self.0.remove(service);
        });
    }

    /// Returns the instances of a service, the latest report first.
    pub(super) fn of_service(&self, service: NodeId) -> Vec<InstanceSeen> {
        let of_service = self.0.get(&service).into_iter().flatten();
        let mut instances: Vec<_> = of_service
            .map(|(id, seen)| InstanceSeen {
                id: id.to_string(),
                first_seen: seen.first,
                last_seen: seen.last,
            })
            .collect();
        instances.sort_by(|a, b| {
            let freshest = b.last_seen.cmp(&a.last_seen);
            freshest.then_with(|| a.id.cmp(&b.id))
        });
        instances
    }

    pub(super) fn since(&self, time: UnixNanos) -> Vec<(NodeId, InstanceSeen)> {
        let services = self.0.keys();
        services
            .flat_map(|service| {
                let fresh = self.of_service(*service).into_iter();
                fresh.map(|instance| (*service, instance))
            })
            .filter(|(_, instance)| instance.last_seen >= time)
            .collect()
    }

    /// Returns the instances that reported within a time. Their last reports are as long before `now` as the monotonic clock
    /// says, whatever was set since.
    pub(super) fn within(&self, time: Duration, now: UnixNanos) -> Vec<(NodeId, InstanceSeen)> {
        let services = self.0.iter();
        let all =
            services.flat_map(|(service, of)| of.iter().map(|(id, seen)| (*service, id, seen)));
        let fresh = all.filter_map(|(service, id, seen)| {
            let silent = seen.heard.map_or(now - seen.last, |heard| heard.elapsed());
            let instance = InstanceSeen {
                id: id.to_string(),
                first_seen: seen.first,
                last_seen: now - silent,
            };
            (silent <= time).then_some((service, instance))
        });
        fresh.collect()
    }
}

fn forget_oldest(of_service: &mut HashMap<Box<str>, Seen>) {
    let oldest = of_service.iter().min_by_key(|(_, seen)| seen.last);
    if let Some(id) = oldest.map(|(id, _)| id.clone()) {
        of_service.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: the wall clock is set two hours forward or back after an instance reported.
    /// Guarantees: it reported as long ago as it did; one that is known from an earlier run is judged by the wall clock.
    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_silences_no_instance() {
        const NOW: UnixNanos = UnixNanos::new(1_795_397_400_000_000_000);
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let mut instances = Instances::default();
        instances.hear(NodeId(1), "a", NOW);
        instances.see(NodeId(1), "restored", NOW, NOW);
        tokio::time::advance(minutes(1)).await;
        for now in [NOW + minutes(121), NOW - minutes(119)] {
            let found = instances.within(minutes(60), now);
            let of = |id| found.iter().find(|(_, seen)| seen.id == id);
            assert_eq!(
                of("a").map(|(_, seen)| seen.last_seen),
                Some(now - minutes(1))
            );
            assert_eq!(of("restored").is_some(), now < NOW);
        }
        tokio::time::advance(minutes(60)).await;
        assert_eq!(instances.within(minutes(60), NOW).len(), 1);
    }

    #[test]
    fn the_freshest_instance_comes_first() {
        let mut instances = Instances::default();
        instances.see(NodeId(1), "a", UnixNanos::new(10), UnixNanos::new(10));
        instances.see(NodeId(1), "b", UnixNanos::new(11), UnixNanos::new(11));
        instances.see(NodeId(1), "a", UnixNanos::new(12), UnixNanos::new(12));
        instances.see(NodeId(1), "", UnixNanos::new(13), UnixNanos::new(13));
        let seen = instances.of_service(NodeId(1));
        assert_eq!(seen[0].id, "a");
        assert_eq!(
            (seen[0].first_seen.get(), seen[0].last_seen.get()),
            (10, 12)
        );
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn the_instance_silent_longest_gives_way() {
        let mut instances = Instances::default();
        (0..1_000).for_each(|n| {
            instances.see(
                NodeId(1),
                &format!("pod-{n}"),
                UnixNanos::new(n),
                UnixNanos::new(n),
            )
        });
        let seen = instances.of_service(NodeId(1));
        assert_eq!(seen.len(), PER_SERVICE_MAX);
        assert_eq!(seen[0].id, "pod-999");
    }
}
