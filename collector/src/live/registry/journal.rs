//! Reads the journal of the registry: who registered, changed and left, and when.

use std::collections::{BTreeMap, VecDeque};

use crate::model::{Registered, RegistryEntry, RegistryEvent, TimeRange};
use crate::store::series::{SeriesKind, SeriesRecord};
use crate::store::{SeriesReader, StoreError};

/// Selects entries; empty fields match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryFilter {
    /// Entries of this service, ignoring case.
    pub service: String,
    /// Entries of this instance.
    pub instance: String,
    /// Entries of this kind.
    pub event: Option<RegistryEvent>,
    /// Part of the service, the instance, the operator's name or the reason, ignoring case.
    pub text: String,
}

impl RegistryFilter {
    fn wants(&self, entry: &RegistryEntry) -> bool {
        let RegistryEntry {
            service,
            instance,
            event,
            by,
            reason,
            ..
        } = entry;
        let text = self.text.to_lowercase();
        let said = || format!("{service}\n{instance}\n{by}\n{reason}").to_lowercase();
        *event != RegistryEvent::Repeated
            && self.event.is_none_or(|wanted| wanted == *event)
            && (self.service.is_empty() || self.service.eq_ignore_ascii_case(service))
            && (self.instance.is_empty() || self.instance == *instance)
            && (text.is_empty() || said().contains(&text))
    }
}

/// Reads the entries in a range, latest first, without the values of the registrations.
pub(super) fn read(
    log: &dyn SeriesReader,
    range: TimeRange,
    filter: &RegistryFilter,
    limit: usize,
) -> Result<Vec<RegistryEntry>, StoreError> {
    let mut found = VecDeque::new();
    log.scan(SeriesKind::Registry, range, None, &mut |record| {
        if let SeriesRecord::Registry(entry) = record
            && filter.wants(&entry)
        {
            // Metadata may contain passwords.
            found.push_back(RegistryEntry {
                state: None,
                ..*entry
            });
            if found.len() > limit {
                found.pop_front();
            }
        }
    })?;
    Ok(found.into_iter().rev().collect())
}

/// Reads the instances whose status was set by an operator at the end of a range.
pub(super) fn forced(
    log: &dyn SeriesReader,
    range: TimeRange,
) -> Result<Vec<Registered>, StoreError> {
    let mut forced = BTreeMap::new();
    log.scan(SeriesKind::Registry, range, None, &mut |record| {
        let SeriesRecord::Registry(entry) = record else {
            return;
        };
        let key = (entry.service.to_lowercase(), entry.instance);
        let state = entry.state.filter(|state| state.forced.is_some());
        match state {
            Some(state) => forced.insert(key, *state),
            None => forced.remove(&key),
        };
    })?;
    Ok(forced.into_values().collect())
}
