//! Eviction of instances when the board is full: from the service with the most instances, if it has more
//! than the newcomer's; else those without reports for minutes.

use std::time::Duration;

use super::{Board, Instance};
use crate::model::{CircuitKey, UnixNanos};
use fusebox::circuit_breaker::EffectiveState;

/// Instances evicted at once: scanning all of them costs more than removing.
const ROOM: usize = 100;
/// An instance without a report for this long can be evicted for any other.
const IDLE_AFTER: Duration = Duration::from_secs(5 * 60);

impl Board {
    /// Makes room for an instance of a service; returns whether there is any.
    pub(super) fn make_room(&mut self, service: &str, now: UnixNanos) -> bool {
        let own = self.by_service.get(service).copied().unwrap_or(0);
        let largest = self.by_service.iter().max_by_key(|(_, count)| **count);
        let Some((largest, most)) = largest.map(|(name, count)| (name.clone(), *count)) else {
            return false;
        };
        // Half of the difference, so that both services end with the same number.
        let over = most.saturating_sub(own) / 2;
        if over > 0 {
            let of_largest = |key: &CircuitKey, _: UnixNanos| key.service == largest;
            return self.remove_some(over.min(ROOM), of_largest);
        }
        if self
            .none_idle_at
            .is_some_and(|then| now - then < Duration::from_secs(1))
        {
            return false;
        }
        let is_idle = |_: &CircuitKey, heard: UnixNanos| now - heard > IDLE_AFTER;
        let is_made = self.remove_some(ROOM, is_idle);
        self.none_idle_at = (!is_made).then_some(now);
        is_made
    }

    /// Evicts some of the instances that match: first those that are neither open nor half-open, of these the
    /// ones that reported longest ago.
    fn remove_some(
        &mut self,
        count: usize,
        is_candidate: impl Fn(&CircuitKey, UnixNanos) -> bool,
    ) -> bool {
        let mut candidates = Vec::new();
        for (key, circuit) in &self.circuits {
            for (id, instance) in &circuit.instances {
                let heard = instance.heard(self.restored_at);
                if is_candidate(key, heard) {
                    candidates.push((is_out(instance), heard, key.clone(), id.clone()));
                }
            }
        }
        candidates.sort();
        candidates.truncate(count);
        for (_, _, key, id) in &candidates {
            self.remove(key, id);
        }
        !candidates.is_empty()
    }

    fn remove(&mut self, key: &CircuitKey, id: &str) {
        let Some(circuit) = self.circuits.get_mut(key) else {
            return;
        };
        if let Some(instance) = circuit.instances.remove(id) {
            self.gone.note(&instance.standing);
            self.instances -= 1;
            let count = self.by_service.entry(key.service.clone()).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_service.remove(&key.service);
            }
        }
        if circuit.instances.is_empty() {
            self.circuits.remove(key);
            self.targets.remove(key);
        }
    }
}

fn is_out(instance: &Instance) -> bool {
    matches!(
        instance.standing.state,
        EffectiveState::Open | EffectiveState::HalfOpen
    )
}
