//! After the collector's clock was ahead and has been corrected, times of the board lie in the future. Nothing would be
//! newer than they are, stale or due until then, so they become the present.

use super::Board;
use crate::live::circuits::timing::CLOCK_LEAD_MAX;
use crate::model::UnixNanos;

impl Board {
    /// Notes the time; if it is before what was noted, takes back all later times.
    pub(in crate::live::circuits) fn follow_clock(&mut self, now: UnixNanos) {
        let is_back = self.latest > now + CLOCK_LEAD_MAX;
        self.latest = if is_back { now } else { self.latest.max(now) };
        if is_back {
            self.take_back(now);
        }
    }

    fn take_back(&mut self, now: UnixNanos) {
        for time in [
            &mut self.last_rollups,
            &mut self.restored_at,
            &mut self.opened_at,
        ] {
            *time = now.min(*time);
        }
        // What was written under later times is not read: it is written again at once.
        self.last_standing = UnixNanos::default();
        self.last_settings = UnixNanos::default();
        self.none_idle_at = None;
        self.gone.take_back(now);
        for circuit in self.circuits.values_mut() {
            circuit.spans_until = circuit.spans_until.map(|until| until.min(now));
            let instances = circuit.instances.values_mut();
            instances.for_each(|instance| instance.take_back(now));
        }
    }
}
