//! Ends changes of settings for picked instances that are gone: nothing else would, since such a change may have no end and
//! no instance is left that a later one could be for.

use std::time::Duration;

use fusebox::control::Subject;
use tokio::time::Instant;

use super::state::{PER_CIRCUIT_MAX, State, first_of, target};
use super::{Control, StoreError};
use crate::model::{
    CircuitKey, ControlRecord, EventKind, HOUR, MINUTE, OperatorChange, OperatorEvent, UnixNanos,
    format_duration, nanos,
};
use crate::store::series::SeriesRecord;

/// How long none of its instances has polled until a change is ended: an instance that is stopped over night comes back.
const GONE_AFTER: Duration = HOUR.saturating_mul(24);
/// The same where a circuit has as many changes as it may have: instances poll every half minute.
const GONE_WHEN_FULL: Duration = MINUTE.saturating_mul(10);

impl Control {
    /// Ends every change whose instances have been gone for a day.
    pub(super) async fn end_gone(&self, now: UnixNanos) -> Result<(), StoreError> {
        let gone = self.state().gone(|_| true, GONE_AFTER);
        self.end_settings(gone, GONE_AFTER, now).await
    }

    /// Ends the changes that a new one would find no room beside, if their instances are gone.
    pub(super) async fn make_room(
        &self,
        change: &OperatorChange,
        now: UnixNanos,
    ) -> Result<(), StoreError> {
        if change.subject != Subject::Settings || self.state().has_room(change) {
            return Ok(());
        }
        let gone = self.state().gone(|key| *key == change.key, GONE_WHEN_FULL);
        self.end_settings(gone, GONE_WHEN_FULL, now).await
    }

    async fn end_settings(
        &self,
        gone: Vec<OperatorChange>,
        silent: Duration,
        now: UnixNanos,
    ) -> Result<(), StoreError> {
        if gone.is_empty() {
            return Ok(());
        }
        let event = |change: OperatorChange| OperatorEvent {
            id: self.state().next_id(now),
            event: EventKind::EndSettings,
            key: change.key,
            object: change.id.to_string(),
            reason: format!(
                "none of its instances has polled for {}: {}",
                format_duration(nanos(silent)),
                change.instances.join(", ")
            ),
            by: String::new(),
            time: now,
            expires: None,
        };
        let ends = gone.into_iter().map(event);
        let ends: Vec<_> = ends.map(ControlRecord::Event).collect();
        let records = ends.iter().cloned().map(SeriesRecord::Control).collect();
        self.inner.log.append(records).await?;
        let mut state = self.state();
        ends.into_iter().for_each(|end| state.restore(end));
        Ok(())
    }
}

impl State {
    /// Returns the changes of settings for picked instances, of which none has polled for so long.
    fn gone(&self, of: impl Fn(&CircuitKey) -> bool, silent: Duration) -> Vec<OperatorChange> {
        let settings = self.targets.iter();
        let settings = settings.filter(|((key, it), _)| *it == Subject::Settings && of(key));
        let picked = settings
            .flat_map(|(_, held)| held)
            .filter(|tracked| !tracked.change.instances.is_empty());
        let gone = picked.filter(|tracked| tracked.heard.elapsed() > silent);
        gone.map(|tracked| tracked.change.clone()).collect()
    }

    /// Returns whether a change is one of as many as there may be.
    pub(super) fn has_room(&self, change: &OperatorChange) -> bool {
        let held = self.targets.get(&target(change)).into_iter().flatten();
        let left = held.filter(|tracked| !change.covers(&tracked.change));
        left.count() < PER_CIRCUIT_MAX
    }

    /// Records that an instance polled.
    pub(super) fn hear(&mut self, service: &str, instance: &str) {
        let now = Instant::now();
        let of_service = self.targets.range_mut(first_of(service)..);
        let of_service = of_service.take_while(|((key, _), _)| key.service == service);
        let held = of_service.flat_map(|(_, held)| held);
        let picked = held.filter(|it| it.change.instances.iter().any(|id| id == instance));
        picked.for_each(|tracked| tracked.heard = now);
    }

    /// Removes a change of settings that was ended.
    pub(super) fn remove(&mut self, end: &OperatorEvent) {
        let target = (end.key.clone(), Subject::Settings);
        if let Some(held) = self.targets.get_mut(&target) {
            held.retain(|tracked| tracked.change.id.to_string() != end.object);
        }
        self.targets.retain(|_, held| !held.is_empty());
        self.count_outcomes();
    }
}
