//! Delivers one batch until every line is settled: written, or dropped and counted.
//!
//! Sending the same bytes again is safe: a point that is written twice is one point. Lines that the server
//! cannot parse are identified by the names in its answer, else by bisection, which ends at single lines and
//! costs at most two requests a line.
//!
//! A proxy, or a server in trouble, may answer 400, 403 or 413 to anything. So a line that is rejected alone
//! is dropped only if the server, right afterwards, accepts a line that it accepted before (the known-good
//! line). All other failures are retried with backoff: the journal holds days.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::link::Link;
use super::outcome::{Backoff, Outcome, outcome_of};
use super::parts::{Part, Parts};
use crate::model::{SECOND, UnixNanos};
use crate::store::StoreError;
use crate::sync::LogThrottle;

/// After this many lost connections in a row, to a server that answers pings, the request is assumed to be
/// too large: some servers and proxies hang up in the middle of a large body, and a slow link cannot carry
/// one in time.
const LOST_MAX: u32 = 3;

/// Delivers the batches of one lane sequentially.
#[derive(Debug)]
pub(crate) struct Delivery {
    link: Arc<Link>,
    lane: &'static str,
    backoff: Backoff,
    parts: Parts,
    warnings: LogThrottle,
}

/// The meaning of an answer for the lines sent.
enum Verdict {
    /// Written, or counted as dropped.
    Settled,
    TooLarge,
    /// Some lines are rejected for their content.
    Refused {
        reason: &'static str,
        said: String,
    },
}

impl Delivery {
    pub(crate) fn new(link: Arc<Link>, lane: &'static str) -> Self {
        Self {
            link,
            lane,
            backoff: Backoff::default(),
            parts: Parts::default(),
            warnings: LogThrottle::default(),
        }
    }

    /// Returns once every line is settled. Cancel-safe: a cancelled call can be repeated.
    pub(crate) async fn settle(&mut self, lines: Bytes, points: u64) {
        self.parts.begin(Part { lines, points });
        while let Some(part) = self.parts.next() {
            match self.send(&part).await {
                Verdict::Settled => {}
                Verdict::TooLarge => self.split(part).await,
                Verdict::Refused { reason, said } => self.bisect(part, reason, &said).await,
            }
        }
    }

    /// Sends lines until an answer settles them or demands smaller requests.
    async fn send(&mut self, part: &Part) -> Verdict {
        let mut lost = 0;
        loop {
            match self.write(&part.lines).await {
                Ok(outcome) => {
                    lost = 0;
                    if let Some(verdict) = self.conclude(part, outcome).await {
                        return verdict;
                    }
                }
                Err(error) => {
                    let is_up = self.link.client.ping().await.is_ok();
                    lost = if is_up { lost + 1 } else { 0 };
                    if lost >= LOST_MAX && part.is_large() {
                        return Verdict::TooLarge;
                    }
                    self.pause(None, &error.to_string()).await;
                }
            }
            self.link.counts.retries.add(1);
        }
    }

    async fn write(&self, lines: &Bytes) -> Result<Outcome, StoreError> {
        let counts = &self.link.counts;
        counts.requests.add(1);
        let answer = self.link.client.write(lines.clone()).await?;
        counts.bytes.add(lines.len() as u64);
        let generation = self.link.client.generation().await?;
        let now = UnixNanos::now().window(SECOND) as i64;
        Ok(outcome_of(generation, &answer, now))
    }

    /// Acts on an answer; `None` means to retry.
    async fn conclude(&mut self, part: &Part, outcome: Outcome) -> Option<Verdict> {
        match outcome {
            Outcome::Written => {
                self.link.remember_accepted(part.first_line());
                self.parts.accepted();
                self.progress(part.points);
                Some(Verdict::Settled)
            }
            Outcome::Partial {
                refused,
                reason,
                said,
            } => {
                // Some servers count every field of a point.
                let refused = refused.min(part.points);
                self.drop_points(reason, refused, &said);
                self.progress(part.points - refused);
                Some(Verdict::Settled)
            }
            Outcome::TooLarge => Some(Verdict::TooLarge),
            Outcome::BadLines(said) => Some(Verdict::Refused {
                reason: "unparsable",
                said,
            }),
            // A proxy rule about the content, unless the known-good line is forbidden too.
            Outcome::Forbidden(said) if self.accepts_known_good_line().await => {
                Some(Verdict::Refused {
                    reason: "refused_alone",
                    said,
                })
            }
            waits => {
                self.wait(waits).await;
                None
            }
        }
    }

    /// Waits after an answer that does not concern the content, and meanwhile renews the token or the bucket
    /// if needed.
    async fn wait(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Retry { after, message } => self.pause(after, &message).await,
            Outcome::Unauthorized(said) | Outcome::Forbidden(said) => self.renew_token(said).await,
            Outcome::Missing(said) => self.set_up_again(said).await,
            settled => unreachable!("an answer that settles lines does not wait: {settled:?}"),
        }
    }

    /// Counts written points and resets the backoff.
    fn progress(&mut self, points: u64) {
        self.link.counts.points.add(points);
        self.backoff.reset();
        self.link.client.reachability().ok(self.lane);
    }

    async fn pause(&mut self, retry_after: Option<Duration>, message: &str) {
        let reachability = self.link.client.reachability();
        reachability.failing(self.lane, &message, retry_after.is_some());
        sleep(self.backoff.next(retry_after)).await;
    }

    /// Reloads the token file; without a new token, sets up again in case the server is a new one.
    async fn renew_token(&mut self, message: String) {
        match self.link.client.reload_token().await {
            Ok(true) => {}
            Ok(false) => self.set_up_again(message).await,
            Err(error) => self.pause(None, &format!("{message}; {error}")).await,
        }
    }

    /// Runs the set-up again: the bucket is gone, or the server is another one.
    async fn set_up_again(&mut self, message: String) {
        let problem = match self.link.set_up_again().await {
            Ok(()) => message,
            Err(error) => error.to_string(),
        };
        self.pause(None, &problem).await;
    }

    /// Halves a part that is too large.
    async fn split(&mut self, part: Part) {
        if self.parts.halve(&part) {
            self.parts.too_large(&part);
            self.link.counts.bisections.add(1);
        } else {
            self.drop_or_keep(part, "too_large", "a single line is too large")
                .await;
        }
    }

    /// Drops the lines named in the answer, else halves the part.
    async fn bisect(&mut self, part: Part, reason: &'static str, said: &str) {
        if let Some(rest) = part.without_named(said) {
            self.drop_points(reason, part.points.saturating_sub(rest.points), said);
            self.parts.put_next(rest);
        } else if self.parts.halve(&part) {
            self.link.counts.bisections.add(1);
        } else {
            self.drop_or_keep(part, reason, said).await;
        }
    }

    /// Drops the line if the server still accepts a known-good line; otherwise requeues it.
    async fn drop_or_keep(&mut self, line: Part, reason: &'static str, said: &str) {
        if self.accepts_known_good_line().await {
            return self.drop_points(reason, line.points, said);
        }
        // To the end of the queue: the first of the others that is accepted becomes the known-good line.
        self.parts.put_last(line);
        self.link.counts.retries.add(1);
        let problem = format!("the server refuses a line, and accepts no other: {said}");
        self.pause(None, &problem).await;
    }

    /// Sends the known-good line again; false if there is none.
    async fn accepts_known_good_line(&self) -> bool {
        let Some(known_good) = self.link.known_good_line() else {
            return false;
        };
        let answer = self.write(&known_good).await;
        matches!(answer, Ok(Outcome::Written | Outcome::Partial { .. }))
    }

    fn drop_points(&mut self, reason: &'static str, points: u64, said: &str) {
        // Cut, because a server may repeat every line.
        let said = crate::model::cut(said, 300);
        self.link.counts.refused.add(reason, points);
        self.link.client.reachability().refused(said);
        if self.warnings.is_due() {
            let lane = self.lane;
            tracing::warn!(
                reason,
                points,
                said,
                lane,
                "InfluxDB refused points; they are dropped"
            );
        }
    }
}
