//! Dependency edges in a window.

use std::collections::BTreeMap;

use super::super::points::{Points, Tagged};
use super::super::text::json;
use crate::model::UnixNanos;
use crate::store::influxdb::schema::DEP;
use crate::store::series::DependencyMinute;

/// The edges of one minute, by caller and callee.
#[derive(Debug, Default)]
pub(in super::super) struct Edges(BTreeMap<(String, String), DependencyMinute>);

impl Edges {
    /// Merges a minute: after a restart an edge may have several records.
    pub(super) fn add(&mut self, minute: DependencyMinute) {
        let id = (minute.parent.clone(), minute.child.clone());
        let Some(known) = self.0.get_mut(&id) else {
            self.0.insert(id, minute);
            return;
        };
        known.calls = known.calls.saturating_add(minute.calls);
        known.errors = known.errors.saturating_add(minute.errors);
        known.child_is_virtual &= minute.child_is_virtual;
        known.circuits.extend(minute.circuits);
        known.circuits.sort();
        known.circuits.dedup();
    }

    pub(super) fn write(&self, window: u64, points: &mut Points<'_>) {
        for ((parent, child), edge) in &self.0 {
            let tags = [points.peer(child), points.peer(parent)];
            let tagged = Tagged::new(tags, [child, parent]);
            let time = points.time_of(&DEP, &tagged, UnixNanos::new(window));
            points
                .point(&DEP, &tagged)
                .count("calls", edge.calls)
                .string("circuits", &json(&edge.circuits))
                .count("errors", edge.errors)
                .bool("virtual", edge.child_is_virtual)
                .at(time);
        }
    }
}
