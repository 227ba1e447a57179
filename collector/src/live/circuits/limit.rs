//! Reports breakers beyond the limit: counts them, and logs at most once a minute that such breakers opened.

use tracing::warn;

use super::board::Effects;
use crate::counters::{Counters, Incident};
use crate::sync::{LogThrottle, Mutex};

/// When dropped openings were last logged.
#[derive(Debug, Default)]
pub(super) struct Limit(Mutex<LogThrottle>);

impl Limit {
    /// Counts what a request had beyond the limit; openings are also logged.
    pub(super) fn report(&self, effects: &Effects, counters: &Counters) {
        let incidents = &counters.incidents;
        incidents.add(Incident::SeriesLimit, effects.over_limit);
        let openings = effects.openings_not_kept;
        incidents.add(Incident::CircuitOpeningLimit, openings);
        if openings > 0 && self.0.lock().is_due() {
            warn!(
                openings,
                "breakers opened that are past the limit of instances and not shown"
            );
        }
    }
}
