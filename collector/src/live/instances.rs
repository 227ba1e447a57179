//! The instances of each service, with the times of their first and last reports by the collector's clock.

use std::collections::{HashMap, HashSet};

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
}

impl Instances {
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
        of_service.insert(Box::from(id), Seen { first, last });
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
