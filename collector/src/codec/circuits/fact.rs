//! What one point says of a breaker.

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram, Outcome};

use super::points::Point;
use super::{Count, CountPoint, MAX_COUNT};

/// What resilience4j tells of its window.
#[derive(Debug, Clone, Copy)]
pub(super) enum Own {
    FailureRate,
    SlowRate,
    /// Successful or failed ones: they add up.
    Calls,
}

/// The content of one point.
pub(super) enum Fact {
    Count(CountPoint),
    State(Option<EffectiveState>),
    InFlight(u32),
    /// `None` while the window has too few calls.
    Own(Own, Option<f64>),
    Nothing,
    /// An event of another Polly strategy: no circuit's.
    OtherEvent,
}

/// Reads a figure of the library's own window: a rate is -1 while the window has too few calls.
pub(super) fn own_figure(own: Own, value: f64) -> Option<Fact> {
    let is_possible = match own {
        Own::Calls => (0.0..=MAX_COUNT as f64).contains(&value),
        Own::FailureRate | Own::SlowRate => (-1.0..=100.0).contains(&value),
    };
    is_possible.then(|| Fact::Own(own, Some(value).filter(|value| *value >= 0.0)))
}

/// Returns the count of a point; `None` if it has none.
pub(super) fn count(point: &Point<'_>, what: Count) -> Option<CountPoint> {
    Some(CountPoint {
        what,
        series: point.labels.fingerprint(),
        temporality: point.temporality,
        start: point.start,
        time: point.time,
        count: point.count()?,
        latency: if executed(what) {
            point.latency()
        } else {
            LatencyHistogram::default()
        },
    })
}

/// Returns whether calls that ended so ran to their end: the duration of others is not the callee's.
fn executed(what: Count) -> bool {
    matches!(
        what,
        Count::Outcome(Outcome::Success | Outcome::Failure | Outcome::Timeout | Outcome::Ignored)
    )
}
