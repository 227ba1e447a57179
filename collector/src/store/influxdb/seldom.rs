//! Keeps logs short: what fails again and again is counted each time and said once a minute.

use std::time::Duration;

use tokio::time::Instant;

/// Between two lines of one kind.
const EVERY: Duration = Duration::from_secs(60);

/// When something was said last.
#[derive(Debug, Default)]
pub(super) struct Seldom(Option<Instant>);

impl Seldom {
    /// Returns whether it may be said now; it is then taken as said.
    pub(super) fn is_due(&mut self) -> bool {
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
    async fn the_same_is_said_once_a_minute() {
        let mut seldom = Seldom::default();
        assert!(seldom.is_due());
        tokio::time::advance(EVERY / 2).await;
        assert!(!seldom.is_due());
        tokio::time::advance(EVERY / 2).await;
        assert!(seldom.is_due());
    }
}
