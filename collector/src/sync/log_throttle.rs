//! Limits a repeated log line to one a minute; the events themselves are all counted.

use std::time::Duration;

use tokio::time::Instant;

/// Minimum time between two lines of one kind.
const EVERY: Duration = Duration::from_secs(60);

/// When a line was last logged.
#[derive(Debug, Default)]
pub(crate) struct LogThrottle(Option<Instant>);

impl LogThrottle {
    /// Returns whether a line may be logged now, and records it if so.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.0.is_none_or(|last| now - last >= EVERY);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_is_logged_once_a_minute() {
        let mut throttle = LogThrottle::default();
        assert!(throttle.is_due());
        tokio::time::advance(EVERY / 2).await;
        assert!(!throttle.is_due());
        tokio::time::advance(EVERY / 2).await;
        assert!(throttle.is_due());
    }
}
