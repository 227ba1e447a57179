//! Times of an instance after the collector's clock was set back.

use super::Instance;
use crate::live::circuits::timing::CLOCK_LEAD_MAX;
use crate::model::{SECOND, UnixNanos};

impl Instance {
    /// Moves times in the future to the present, and drops the calls that were counted there. State changes are moved to a
    /// moment before it: those that happened since the correction are newer, although they arrive a little later.
    pub(in crate::live::circuits) fn take_back(&mut self, now: UnixNanos) {
        let standing = &mut self.standing;
        let before = now - CLOCK_LEAD_MAX;
        if standing.since > now {
            let lead = standing.since - before;
            standing.retry_at = standing.retry_at.map(|retry_at| retry_at - lead);
        }
        let outage = standing.outage.as_mut().map(|outage| &mut outage.since);
        let changes = self.changes.iter_mut().map(|change| &mut change.0);
        [&mut standing.since]
            .into_iter()
            .chain(standing.opened_at.as_mut())
            .chain(outage)
            .chain(changes)
            .filter(|time| **time > now)
            .for_each(|time| *time = before);
        let report = self.report.as_mut().map(|report| &mut report.time);
        [
            &mut standing.time,
            &mut standing.first_seen,
            &mut standing.last_seen,
        ]
        .into_iter()
        .chain(report)
        .for_each(|time| *time = now.min(*time));
        let second = now.window(SECOND);
        self.seconds.forget_after(second);
        self.filed = self.filed.filter(|filed| *filed <= second);
        self.last_report = self.last_report.filter(|last| *last <= now);
        self.disagreement = None;
    }
}
