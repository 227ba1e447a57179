//! Makes room in a full registry: removes unused breakers, starting with those whose loss matters least.

use std::sync::Arc;

use super::Breakers;
use crate::circuit_breaker::call::handle::CircuitBreaker;
use crate::circuit_breaker::shell::Usage;

/// The fraction (1/16) of the limit that is removed at once, so that one search through all breakers makes room for
/// many names.
const SHARE: usize = 16;

/// How many times a registry records which breakers were used while it fills up, so that a full one knows which are
/// unused.
const MARKS: usize = 8;

/// Removes and returns breakers if there are at least `limit`. A breaker in use has other handles; no caller can obtain
/// one meanwhile because `breakers` is locked.
pub(super) fn make_room(breakers: &mut Breakers, limit: usize) -> Vec<CircuitBreaker> {
    if breakers.len() < limit {
        if breakers.len().is_multiple_of((limit / MARKS).max(1)) {
            for breaker in breakers.values() {
                breaker.shell.usage();
            }
        }
        return Vec::new();
    }
    let mut unused: Vec<_> = breakers
        .values()
        .filter(|breaker| Arc::strong_count(&breaker.shell) == 1)
        .map(|breaker| (breaker.shell.usage(), breaker))
        .filter(|(usage, _)| !usage.is_forced)
        .map(|(usage, breaker)| (loss(usage), breaker.shell.name.clone()))
        .collect();
    let wanted = breakers.len() + 1 - limit + limit / SHARE;
    if unused.len() > wanted {
        // Equal candidates are ordered by name, so that the choice is deterministic.
        unused.select_nth_unstable(wanted);
        unused.truncate(wanted);
    }
    let names = unused.into_iter().map(|(_, name)| name);
    names.filter_map(|name| breakers.remove(&*name)).collect()
}

/// Returns how much would be lost with a breaker: nothing with a closed one without failures in its window, most with
/// an open one that was called recently.
fn loss(usage: Usage) -> u8 {
    match (usage.is_closed, usage.was_used, usage.has_bad_calls) {
        (true, false, false) => 0,
        (true, true, false) => 1,
        (true, false, true) => 2,
        (false, false, _) => 3,
        (true, true, true) => 4,
        (false, true, _) => 5,
    }
}
