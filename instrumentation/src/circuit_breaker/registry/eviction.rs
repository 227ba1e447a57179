//! Makes room in a full registry: removes unused breakers, those first whose loss matters least.

use std::sync::Arc;

use super::Breakers;
use crate::circuit_breaker::call::handle::CircuitBreaker;
use crate::circuit_breaker::shell::Usage;

/// The share of the limit that is removed at once, so that the search through all breakers is paid by many new names.
const SHARE: usize = 16;

/// How often, in shares of the limit, it is noted which breakers were used, so that a full registry knows those that were
/// not.
const MARKS: usize = 8;

/// Removes and returns breakers if `limit` of them are there. All who use a breaker hold a handle to it, and none can get
/// one meanwhile: `breakers` is locked.
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
        // In the order of names among equals, so that the choice does not depend on chance.
        unused.select_nth_unstable(wanted);
        unused.truncate(wanted);
    }
    let names = unused.into_iter().map(|(_, name)| name);
    names.filter_map(|name| breakers.remove(&*name)).collect()
}

/// How much is lost with a breaker: nothing with one that is closed and has no failures to remember, most with one that is
/// open and is called.
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
