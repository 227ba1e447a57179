//! What resilience4j's metrics say of the policies around its breakers: bulkheads with and without a thread
//! pool, retries, rate limiters and time limiters. Their names come with dots from Micrometer, and with
//! underscores through Prometheus.

use fusebox::resilience::{EventKind, Kind};

use super::mapping::plain;
use super::points::Point;
use crate::model::policy::POOL;

/// What a metric measures.
#[derive(Debug, Clone, Copy)]
pub(super) enum Measured {
    /// A current value of a policy of that kind.
    Now(&'static str, &'static str),
    /// Calls by how they ended, the attribute `kind`.
    Ends(Kind),
}

/// Returns what a metric measures; `None` if it is not about policies, or repeats what another one says.
pub(super) fn measured(metric: &str) -> Option<Measured> {
    if !metric.starts_with("resilience4j") {
        return None;
    }
    let now = |kind: Kind, word| Measured::Now(kind.as_str(), word);
    Some(match plain(metric).strip_prefix("resilience4j_")? {
        "bulkhead_available_concurrent_calls" => now(Kind::Bulkhead, "available"),
        "bulkhead_max_allowed_concurrent_calls" => now(Kind::Bulkhead, "limit"),
        "bulkhead_active_thread_count" => Measured::Now(POOL, "active"),
        "bulkhead_max_thread_pool_size" => Measured::Now(POOL, "size"),
        "bulkhead_queue_depth" => Measured::Now(POOL, "queued"),
        "bulkhead_queue_capacity" => Measured::Now(POOL, "queue_limit"),
        "ratelimiter_available_permissions" => now(Kind::RateLimiter, "available"),
        "ratelimiter_waiting_threads" => now(Kind::RateLimiter, "waiting"),
        "retry_calls" => Measured::Ends(Kind::Retry),
        "timelimiter_calls" => Measured::Ends(Kind::TimeLimiter),
        _ => return None,
    })
}

impl Measured {
    /// Returns the kind of the policy and the word of the figure; `None` for an unknown end.
    pub(super) fn words(self, point: &Point<'_>) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Now(kind, word) => (kind, word),
            Self::Ends(kind) => {
                let event = end(kind, point.labels.text("kind")?)?;
                (kind.as_str(), event.as_str())
            }
        })
    }
}

fn end(kind: Kind, word: &str) -> Option<EventKind> {
    Some(match (kind, word) {
        (Kind::Retry, "successful_without_retry") => EventKind::Succeeded,
        (Kind::Retry, "successful_with_retry") => EventKind::SucceededAfterRetry,
        (Kind::Retry, "failed_without_retry") => EventKind::Failed,
        (Kind::Retry, "failed_with_retry") => EventKind::FailedAfterRetry,
        (Kind::TimeLimiter, "successful") => EventKind::Succeeded,
        (Kind::TimeLimiter, "failed") => EventKind::Failed,
        (Kind::TimeLimiter, "timeout") => EventKind::TimedOut,
        _ => return None,
    })
}
