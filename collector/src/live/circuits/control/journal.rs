//! The log of operators' changes: who changed what, when and why, with the outcomes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{ChangeOutcome, ControlRecord, OperatorChange, TimeRange};
use crate::store::series::{SeriesKind, SeriesRecord};
use crate::store::{SeriesReader, StoreError};

/// Outcomes listed per change.
const OUTCOMES_MAX: usize = 1_000;

/// Selects changes; empty fields match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalFilter {
    /// Changes of this service.
    pub service: String,
    /// Changes of circuits with this name.
    pub circuit: String,
    /// Part of the operator's name or the reason, ignoring case.
    pub text: String,
}

/// A change and its outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JournalEntry {
    /// The change.
    #[serde(flatten)]
    pub change: OperatorChange,
    /// The acknowledgements of its instances, in order.
    pub outcomes: Vec<ChangeOutcome>,
}

impl JournalFilter {
    fn wants(&self, change: &OperatorChange) -> bool {
        let is = |wanted: &str, value: &str| wanted.is_empty() || wanted == value;
        let text = self.text.to_lowercase();
        let said = format!("{}\n{}", change.by, change.reason).to_lowercase();
        is(&self.service, &change.key.service)
            && is(&self.circuit, &change.key.name)
            && said.contains(&text)
    }
}

/// Reads the changes in a range, latest first.
pub(super) fn read(
    log: &dyn SeriesReader,
    range: TimeRange,
    filter: &JournalFilter,
    limit: usize,
) -> Result<Vec<JournalEntry>, StoreError> {
    let mut found: BTreeMap<u64, JournalEntry> = BTreeMap::new();
    log.scan(
        SeriesKind::Control,
        range,
        None,
        &mut |record| match record {
            SeriesRecord::Control(ControlRecord::Change(change)) if filter.wants(&change) => {
                let outcomes = Vec::new();
                found.insert(change.id, JournalEntry { change, outcomes });
                if found.len() > limit {
                    found.pop_first();
                }
            }
            SeriesRecord::Control(ControlRecord::Outcome(outcome)) => {
                if let Some(entry) = found.get_mut(&outcome.change)
                    && entry.outcomes.len() < OUTCOMES_MAX
                {
                    entry.outcomes.push(outcome);
                }
            }
            _ => {}
        },
    )?;
    Ok(found.into_values().rev().collect())
}
