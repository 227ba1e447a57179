//! The listed instances of one service: how many are in which state, the calls through all of them, and a row for each.

use fusebox_collector::query::InstanceView;

use super::{Row, sums};
use crate::pages::view::href::Href;
use crate::pages::view::text;

/// A service with its instances.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) service: String,
    pub(super) href: String,
    /// The numbers by liveness, in words.
    pub(super) sums: String,
    /// The calls per second of all of them; `None` without circuits.
    pub(super) rate: Option<String>,
    /// The first of them.
    pub(super) rows: Vec<Row>,
}

impl Group {
    /// Returns the instances by service, in the order of the first one of each, with at most `rows_max` rows in all.
    pub(super) fn all(instances: &[&InstanceView], rows_max: usize, now: u64) -> Vec<Self> {
        let mut left = rows_max;
        let mut groups = Vec::new();
        for of_service in by_service(instances) {
            if left == 0 {
                break;
            }
            let group = Self::new(&of_service, left, now);
            left -= group.rows.len();
            groups.push(group);
        }
        groups
    }

    fn new(instances: &[&InstanceView], rows_max: usize, now: u64) -> Self {
        let service = instances.first().map_or("", |one| one.service.as_str());
        let has_circuits = instances.iter().any(|one| one.breakers > 0);
        let rate: f64 = instances.iter().map(|one| one.calls_per_second).sum();
        let rows = instances.iter().take(rows_max);
        Self {
            service: text::name(service).into_owned(),
            href: Href::service(service).to_string(),
            sums: sums(instances),
            rate: has_circuits.then(|| text::rate(rate)),
            rows: rows.map(|one| Row::new(one, now)).collect(),
        }
    }
}

/// Returns the instances of each service; both stay in the order in which they come.
fn by_service<'a>(instances: &[&'a InstanceView]) -> Vec<Vec<&'a InstanceView>> {
    let mut found: Vec<Vec<&InstanceView>> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for one in instances {
        let place = *places.entry(&one.service).or_insert(found.len());
        match found.get_mut(place) {
            Some(of_service) => of_service.push(one),
            None => found.push(vec![one]),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use fusebox_collector::query::Liveness;

    use super::*;
    use crate::pages::tests::control::view;

    /// Scenario: services whose instances alternate, worst first; there is room for three rows.
    /// Guarantees: a group per service, the one with the worst instance first; a group counts also what is not shown.
    #[test]
    fn instances_are_listed_by_service() {
        let found = [
            view("shop", "s2", Liveness::Down),
            view("cart", "c1", Liveness::Live),
            view("shop", "s1", Liveness::Live),
            view("cart", "c2", Liveness::Live),
        ];
        let all: Vec<_> = found.iter().collect();
        let shown = |group: &Group| {
            let ids: Vec<_> = group.rows.iter().map(|row| row.id.clone()).collect();
            (group.service.clone(), group.sums.clone(), ids.join(" "))
        };
        let groups: Vec<_> = Group::all(&all, 3, 0).iter().map(shown).collect();
        let expected = [
            ("shop", "1 live · 1 down", "s2 s1"),
            ("cart", "2 live", "c1"),
        ];
        let expected =
            expected.map(|(service, sums, ids)| (service.into(), sums.into(), ids.into()));
        assert_eq!(groups, expected);
        assert_eq!(Group::all(&all, 3, 0)[0].rate.as_deref(), Some("25"));
        assert!(Group::all(&[], 3, 0).is_empty());
    }
}
