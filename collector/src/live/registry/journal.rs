//! Reads the journal of the registry: who registered, changed and left, and when. The journal of operators reads it too
//! (`live::circuits::control`).

use std::collections::{BTreeMap, VecDeque};

use crate::model::{Registered, RegistryEntry, RegistryEvent, RegistrySource, TimeRange};
use crate::store::series::{SeriesKind, SeriesRecord};
use crate::store::{SeriesReader, StoreError};

/// Reads the latest entries of the instances that registered by a protocol, oldest first, with their states.
pub(super) fn entries_of(
    log: &dyn SeriesReader,
    source: RegistrySource,
    range: TimeRange,
    limit: usize,
) -> Result<Vec<RegistryEntry>, StoreError> {
    let mut found = VecDeque::new();
    let mut known = BTreeMap::new();
    log.scan(SeriesKind::Registry, range, None, &mut |record| {
        let SeriesRecord::Registry(mut entry) = record else {
            return;
        };
        let key = (entry.service.to_lowercase(), entry.instance.clone());
        match &entry.state {
            Some(state) if state.registration.source == source => {
                known.insert(key, state.clone());
            }
            // It registered by another protocol, which ends what was known.
            Some(_) => return drop(known.remove(&key)),
            // An end is stored without the state.
            None => entry.state = known.remove(&key),
        }
        if entry.event != RegistryEvent::Repeated && entry.state.is_some() {
            found.push_back(*entry);
        }
        if found.len() > limit {
            found.pop_front();
        }
    })?;
    Ok(found.into())
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
