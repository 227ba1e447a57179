//! Breakers that report to other collectors, read from InfluxDB every two seconds, and merged with local
//! ones: behind a load balancer, an instance reports to several collectors in turn.
//!
//! This data is late (`timing`): transitions by a second or two, calls by up to twenty, and a report without
//! calls by a minute. `Facts::delay` says how late.

use std::collections::BTreeMap;

use super::facts::{Delay, Facts, add_second, stale_after};
use super::timing::{FORGET_AFTER, STANDING_KNOWN_AFTER};
use crate::model::Provenance::{Derived, Reported};
use crate::model::{CircuitKey, UnixNanos};
use crate::store::series::{SettingsRecord, Standing};

#[derive(Debug, Default)]
pub(super) struct Others(BTreeMap<CircuitKey, Vec<Facts>>);

impl Others {
    /// Adds the delay to facts that were replayed from other collectors' records.
    pub(super) fn new(mut facts: BTreeMap<CircuitKey, Vec<Facts>>) -> Self {
        for facts in facts.values_mut().flatten() {
            facts.delay = Some(Delay {
                late: STANDING_KNOWN_AFTER,
                until_second: facts.seconds.last().map(|second| second.second),
            });
        }
        Self(facts)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &CircuitKey> {
        self.0.keys()
    }

    /// Returns whether an instance reports to another collector.
    pub(super) fn knows(&self, key: &CircuitKey, instance: &str) -> bool {
        let known = self.0.get(key).into_iter().flatten();
        let mut instances = known.map(|facts| &facts.standing.instance);
        instances.any(|known| known == instance)
    }

    /// Clears `stale` of other collectors' instances whose latest reports may not be readable yet.
    pub(super) fn clear_stale(
        &self,
        key: &CircuitKey,
        past: &mut [Facts],
        at: UnixNanos,
        now: UnixNanos,
    ) {
        if now - at > STANDING_KNOWN_AFTER {
            return;
        }
        let known = self.0.get(key).map_or(&[][..], Vec::as_slice);
        for facts in past {
            let standing = &facts.standing;
            let silent = at - standing.last_seen;
            let mut instances = known.iter().map(|other| &other.standing.instance);
            let is_of_others = instances.any(|instance| *instance == standing.instance);
            facts.stale &= !is_of_others || silent > stale_after(standing) + STANDING_KNOWN_AFTER;
        }
    }

    /// Merges a breaker's instances into the local ones.
    pub(super) fn add_to(&self, key: &CircuitKey, own: &mut Vec<Facts>, now: UnixNanos) {
        for other in self.0.get(key).into_iter().flatten() {
            let silent = now - other.standing.last_seen;
            if silent > FORGET_AFTER {
                continue;
            }
            let mut other = other.clone();
            other.stale = silent > stale_after(&other.standing) + STANDING_KNOWN_AFTER;
            let same = |facts: &&mut Facts| facts.standing.instance == other.standing.instance;
            match own.iter_mut().find(same) {
                Some(facts) => join(facts, other),
                None => own.push(other),
            }
        }
    }
}

/// Merges what two collectors know about one instance.
fn join(facts: &mut Facts, mut other: Facts) {
    let is_fresher = other.standing.last_seen > facts.standing.last_seen;
    if is_fresher {
        std::mem::swap(facts, &mut other);
    }
    // `facts` is the fresher one; the delay is taken from whichever has one.
    facts.delay = facts.delay.or(other.delay);
    facts.stale &= other.stale;
    join_standings(&mut facts.standing, other.standing);
    let time = |report: &Option<SettingsRecord>| report.as_ref().map(|r| r.time);
    if time(&other.report) > time(&facts.report) {
        facts.report = other.report;
    }
    let first_change =
        |changes: &[(UnixNanos, _)]| changes.first().map_or(UnixNanos::MAX, |change| change.0);
    if first_change(&other.changes) < first_change(&facts.changes) {
        facts.state_before = other.state_before;
    }
    facts.changes.append(&mut other.changes);
    facts.changes.sort_unstable();
    facts.changes.dedup();
    other
        .seconds
        .into_iter()
        .for_each(|second| add_second(&mut facts.seconds, second));
}

/// Merges standings; the first one is fresher. Of two states the one entered later wins; of equal states the
/// reported one wins over one derived from a metric.
fn join_standings(fresher: &mut Standing, other: Standing) {
    let takes_other = match fresher.state == other.state {
        true => (fresher.provenance, other.provenance) == (Derived, Reported),
        false => other.since > fresher.since,
    };
    if takes_other {
        fresher.state = other.state;
        fresher.since = other.since;
        fresher.retry_at = other.retry_at;
        fresher.reason = other.reason;
        fresher.provenance = other.provenance;
    }
    if other.opened_at > fresher.opened_at {
        fresher.opened_by = other.opened_by;
        fresher.opened_at = other.opened_at;
        fresher.outage = other.outage;
    }
    if fresher.target.is_empty() {
        fresher.target = other.target;
    }
    let first_seen = &mut fresher.first_seen;
    *first_seen = other.first_seen.min(*first_seen);
}

#[cfg(test)]
mod tests {
    use fusebox::circuit_breaker::EffectiveState::{self, Closed, HalfOpen, Open};
    use opentelemetry::TraceId;

    use super::*;
    use crate::model::Source;

    fn standing(state: EffectiveState, since: UnixNanos, reason: &str) -> Standing {
        Standing {
            key: CircuitKey {
                service: "shop".to_owned(),
                name: "stock".to_owned(),
            },
            instance: "pod-1".to_owned(),
            time: since,
            source: Source::Fusebox,
            target: String::new(),
            state,
            since,
            retry_at: None,
            reason: reason.to_owned(),
            provenance: Reported,
            opened_by: None,
            opened_at: None,
            outage: None,
            in_flight: 0,
            first_seen: since,
            last_seen: since,
            interval_ms: 1_000,
            own_window: None,
            totals: None,
        }
    }

    #[test]
    fn the_state_that_was_entered_later_holds() {
        let mut fresher = standing(Open, UnixNanos::new(10), "it failed");
        join_standings(
            &mut fresher,
            standing(HalfOpen, UnixNanos::new(20), "time is up"),
        );
        assert_eq!((fresher.state, fresher.since.get()), (HalfOpen, 20));
        let mut fresher = standing(Closed, UnixNanos::new(30), "probes passed");
        join_standings(
            &mut fresher,
            standing(HalfOpen, UnixNanos::new(20), "time is up"),
        );
        assert_eq!((fresher.state, fresher.since.get()), (Closed, 30));
    }

    /// Scenario: the collector that now gets the instance's reports knows only that it is open.
    #[test]
    fn of_the_same_state_the_reported_one_holds() {
        let mut fresher = standing(Open, UnixNanos::new(20), "reported by fusebox");
        fresher.provenance = Derived;
        let mut other = standing(Open, UnixNanos::new(10), "reported by a person: it failed");
        other.opened_by = Some(TraceId::from_bytes([7; 16]));
        other.opened_at = Some(UnixNanos::new(10));
        join_standings(&mut fresher, other.clone());
        assert_eq!(fresher.reason, other.reason);
        assert_eq!(fresher.provenance, Reported);
        assert_eq!(fresher.since, UnixNanos::new(10));
        assert_eq!(fresher.opened_by, other.opened_by);
        assert_eq!(fresher.first_seen, UnixNanos::new(10));
    }
}
