//! Services, their operations, and the calls between them: what spans still have within the retention, what other collectors
//! stored, and the live figures.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::{QueryService, in_time};
use crate::model::{DependencyLink, ServiceSummary, TimeRange, UnixNanos};
use crate::query::QueryError;
use crate::store::cancel::off_worker;
use crate::store::merged::series::MergedSeries;
use crate::store::{Partial, TraceReader};

/// How far ahead of this clock a span may start and its names still be listed.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// One page of services.
#[derive(Debug, Clone, Default)]
pub struct ServicesPage {
    /// Number of matching services.
    pub total: usize,
    /// The services on this page.
    pub services: Vec<ServiceSummary>,
}

impl QueryService {
    /// Returns the range in which names are listed.
    fn names_range(&self) -> TimeRange {
        let now = UnixNanos::now();
        TimeRange {
            end: now + CLOCK_SLACK,
            ..TimeRange::until(now, self.retention())
        }
    }

    /// Returns services seen within the retention, by name: figures over the last minutes, operations,
    /// instances. `filter` is a part of the name, ignoring case; the page has `limit` services, starting with
    /// index `from`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn services(
        &self,
        filter: &str,
        from: usize,
        limit: usize,
    ) -> Result<Partial<ServicesPage>, QueryError> {
        let Partial { value, missing } = self.service_names().await?;
        let (names, live, filter) = (value, self.live.clone(), filter.to_lowercase());
        // There may be many names, and a service's figures are summed over all its operations.
        let page = off_worker(Path::new("services"), move || {
            let now = UnixNanos::now();
            let matching = names
                .iter()
                .filter(|name| filter.is_empty() || name.to_lowercase().contains(&filter));
            let total = matching.clone().count();
            let shown = matching.skip(from).take(limit);
            let services = shown.map(|name| live.service(name, now)).collect();
            Ok(ServicesPage { total, services })
        });
        Ok(Partial::new(page.await?, missing))
    }

    /// Returns one service.
    ///
    /// # Errors
    /// When the store fails, or an unreadable part of it may have the service.
    pub async fn service(&self, name: &str) -> Result<Option<ServiceSummary>, QueryError> {
        let is_known = self.live.has_service(name) || {
            let names = self.service_names().await?;
            let find = |names: &Vec<String>| names.binary_search_by(|n| n.as_str().cmp(name));
            let names = names.unless(|names| find(names).is_err())?;
            find(&names.value).is_ok()
        };
        Ok(is_known.then(|| self.live.service(name, UnixNanos::now())))
    }

    /// Returns the names of all services seen within the retention, sorted.
    ///
    /// # Errors
    /// When the store fails, or a part of it is unreadable and no name is known.
    pub async fn service_names(&self) -> Result<Partial<Vec<String>>, QueryError> {
        let stored = in_time(self.store.services(self.names_range()));
        let others = self.ask_others(MergedSeries::service_names);
        let (stored, others) = tokio::join!(stored, others);
        let (stored, others) = (stored?, others?);
        let missing = stored.missing.or(others.missing);
        let live = self.live.clone();
        let names = off_worker(Path::new("services"), move || {
            let mut names: BTreeSet<String> = live.service_names().into_iter().collect();
            names.extend(stored.value);
            names.extend(others.value);
            Ok(names.into_iter().collect::<Vec<_>>())
        });
        Ok(Partial::new(names.await?, missing).unless(Vec::is_empty)?)
    }

    /// Returns the operations of a service seen within the retention, sorted.
    ///
    /// # Errors
    /// When the store fails, or a part of it is unreadable and no operation is known.
    pub async fn operations(&self, service: &str) -> Result<Partial<Vec<String>>, QueryError> {
        let operations = self
            .store
            .operations(service.to_owned(), self.names_range());
        Ok(in_time(operations).await?.unless(Vec::is_empty)?)
    }

    /// Returns the calls between services in a range, busiest first: by whole minutes for the last two hours,
    /// by whole hours before.
    ///
    /// # Errors
    /// When the store fails, or a part of it is unreadable and no call is known.
    pub async fn dependencies(
        &self,
        range: TimeRange,
    ) -> Result<Partial<Vec<DependencyLink>>, QueryError> {
        self.live.maintain(UnixNanos::now());
        let own = self.live.dependencies(range);
        let others = self.ask_others(move |others| others.dependencies(range));
        let links = others.await?.map(|others| {
            let mut links = [own, others].concat();
            // Those that were counted before it was known which service is there.
            self.live.name_callees(&mut links, UnixNanos::now());
            merge_links(links)
        });
        Ok(links.unless(Vec::is_empty)?)
    }
}

/// Adds up the links between the same services; returns all, busiest first.
fn merge_links(all: Vec<DependencyLink>) -> Vec<DependencyLink> {
    let mut links: BTreeMap<(String, String), DependencyLink> = BTreeMap::new();
    for link in all {
        match links.entry((link.parent.clone(), link.child.clone())) {
            Entry::Vacant(entry) => drop(entry.insert(link)),
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                known.call_count = known.call_count.saturating_add(link.call_count);
                known.error_count = known.error_count.saturating_add(link.error_count);
                known.child_is_virtual &= link.child_is_virtual;
                known.circuits.extend(link.circuits);
                known.circuits.sort();
                known.circuits.dedup();
            }
        }
    }
    let mut links: Vec<_> = links.into_values().collect();
    // Stable: links with equal calls stay sorted by name.
    links.sort_by_key(|link| std::cmp::Reverse(link.call_count));
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CircuitKey;

    fn link(child: &str, calls: u64, child_is_virtual: bool, circuits: &[&str]) -> DependencyLink {
        let key = |name: &&str| CircuitKey {
            service: "shop".to_owned(),
            name: (*name).to_owned(),
        };
        DependencyLink {
            parent: "shop".to_owned(),
            child: child.to_owned(),
            child_is_virtual,
            call_count: calls,
            error_count: 1,
            circuits: circuits.iter().map(key).collect(),
        }
    }

    #[test]
    fn links_of_other_collectors_are_added_up() {
        let own = vec![link("stock", 5, true, &["b"]), link("price", 4, false, &[])];
        let others = vec![link("price", 3, true, &["a"]), link("mail", 9, true, &[])];
        let mut price = link("price", 7, false, &["a"]);
        price.error_count = 2;
        let wanted = [link("mail", 9, true, &[]), price, own[0].clone()];
        assert_eq!(merge_links([own, others].concat()), wanted);
    }
}
