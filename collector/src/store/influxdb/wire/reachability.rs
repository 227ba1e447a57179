//! Whether InfluxDB is reachable: one state for reads, writes, the About page, `/metrics` and `/healthz`.
//!
//! It is reachable while it answers and every lane makes progress. Readers do not query a server that did not
//! answer until it answers anything (the lanes keep trying) or a pause is over.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::server::Server;
use crate::model::UnixNanos;
use crate::sync::Mutex;

/// How long an exchange may take before the server is pinged.
const PING_AFTER: Duration = Duration::from_secs(2);
/// Timeout of a ping: a busy server answers within milliseconds.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause of readers after the server did not answer.
const PAUSE: Duration = Duration::from_secs(10);
/// Consecutive failures of a lane that count as a problem: a single one may be over at the next attempt.
const FAILURES: u32 = 2;

/// Shared by clones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reachability(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    standing: Standing,
    /// Whether the last exchange had an answer.
    answers: Option<bool>,
    /// Since when the server has not answered.
    away_since: Option<UnixNanos>,
    /// End of the readers' pause.
    paused_until: Option<Instant>,
    /// Consecutive failures by lane.
    failures: BTreeMap<&'static str, u32>,
}

/// What is known of the server's reachability.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it answers and every lane makes progress; `None` before the first success.
    pub reachable: Option<bool>,
    /// Since when `reachable` has this value.
    pub since: UnixNanos,
    /// The last error; kept after it is over.
    pub last_error: Option<String>,
    /// When it occurred.
    pub last_error_at: UnixNanos,
    /// The server's last message about points that it rejected; these are counted and not sent again.
    pub last_refusal: Option<String>,
    /// What blocks each failing lane.
    pub problems: BTreeMap<&'static str, String>,
    /// The server's kind and version.
    pub server: Option<Server>,
}

impl Reachability {
    pub(crate) fn standing(&self) -> Standing {
        self.0.lock().standing.clone()
    }

    pub(crate) fn is_answering(&self) -> bool {
        self.0.lock().answers == Some(true)
    }

    /// Returns since when the server has not answered, and its last error; `None` while it answers.
    pub(crate) fn away(&self) -> Option<(UnixNanos, String)> {
        let state = self.0.lock();
        let error = state.standing.last_error.clone();
        state
            .away_since
            .map(|since| (since, error.unwrap_or_default()))
    }

    /// Returns whether readers must not query the server.
    pub(crate) fn is_paused(&self) -> bool {
        let until = self.0.lock().paused_until;
        until.is_some_and(|until| until > Instant::now())
    }

    pub(crate) fn server(&self) -> Option<Server> {
        self.0.lock().standing.server.clone()
    }

    pub(crate) fn set_server(&self, server: Server) {
        self.0.lock().standing.server = Some(server);
    }

    pub(crate) fn answered(&self) {
        let mut state = self.0.lock();
        state.answers = Some(true);
        state.away_since = None;
        state.paused_until = None;
        if state.standing.reachable == Some(false) {
            state.update();
        }
    }

    /// Notes that the server did not answer; readers pause.
    pub(crate) fn unanswered(&self, problem: &dyn Display) {
        let mut state = self.0.lock();
        state.answers = Some(false);
        state.away_since.get_or_insert_with(UnixNanos::now);
        state.paused_until = Some(Instant::now() + PAUSE);
        state.note(problem.to_string());
        state.update();
    }

    pub(crate) fn ok(&self, lane: &'static str) {
        let mut state = self.0.lock();
        state.failures.remove(lane);
        state.standing.problems.remove(lane);
        state.update();
    }

    /// Notes a failure that a lane retries. The first one is reported only if it `is_lasting`; later ones are
    /// logged when the message changes, not at every attempt.
    pub(crate) fn failing(&self, lane: &'static str, problem: &dyn Display, is_lasting: bool) {
        let problem = problem.to_string();
        let mut state = self.0.lock();
        state.note(problem.clone());
        let failures = state.failures.entry(lane).or_default();
        *failures = failures.saturating_add(1);
        if *failures < FAILURES && !is_lasting {
            return;
        }
        let before = state.standing.problems.insert(lane, problem.clone());
        state.update();
        drop(state);
        if before.as_ref() != Some(&problem) {
            warn!(
                lane,
                problem, "InfluxDB does not take what is written; the journal keeps it"
            );
        }
    }

    pub(crate) fn refused(&self, said: &str) {
        self.0.lock().standing.last_refusal = Some(said.to_owned());
    }

    /// Waits for an answer as long as the server answers pings; `None` once it does not.
    pub(crate) async fn watch<T, P: Future>(
        &self,
        answer: impl Future<Output = T>,
        ping: impl Fn() -> P,
    ) -> Option<T> {
        let hangs = async {
            loop {
                sleep(PING_AFTER).await;
                if timeout(PING_TIMEOUT, ping()).await.is_err() {
                    return;
                }
            }
        };
        let mut answer = pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => Some(answer),
            () = hangs => {
                self.unanswered(&HANGS);
                None
            }
        }
    }
}

/// The error of a server that answers neither a query nor a ping.
pub(crate) const HANGS: &str = "no answer, not even to a ping";

impl State {
    /// Derives `reachable`.
    fn update(&mut self) {
        let reachable = self.standing.problems.is_empty() && self.answers != Some(false);
        if self.standing.reachable == Some(reachable) {
            return;
        }
        self.standing.reachable = Some(reachable);
        self.standing.since = UnixNanos::now();
        if reachable {
            info!("InfluxDB is reachable");
        }
    }

    fn note(&mut self, problem: String) {
        self.standing.last_error = Some(problem);
        self.standing.last_error_at = UnixNanos::now();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[test]
    fn it_is_reachable_when_every_lane_is_ok_and_the_last_error_stays() {
        let reachability = Reachability::default();
        assert_eq!(reachability.standing().reachable, None);
        reachability.failing("spans", &"no connection", true);
        let first = reachability.standing();
        reachability.failing("series", &"503", true);
        reachability.ok("spans");
        let second = reachability.standing();
        assert_eq!(second.reachable, Some(false));
        assert_eq!(first.since, second.since);
        assert_eq!(second.last_error.as_deref(), Some("503"));
        reachability.clone().ok("series");
        reachability.failing("spans", &"connection reset", false);
        let well = reachability.standing();
        assert_eq!(well.reachable, Some(true), "one failure may be over");
        assert_eq!(well.last_error.as_deref(), Some("connection reset"));
        reachability.failing("spans", &"connection reset", false);
        assert_eq!(reachability.standing().reachable, Some(false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_server_is_waited_for_and_one_that_hangs_is_left_alone_for_a_while() {
        let reachability = Reachability::default();
        let slow = async { sleep(Duration::from_secs(25)).await };
        assert_eq!(reachability.watch(slow, || ready(())).await, Some(()));
        assert!(!reachability.is_paused());
        let begun = Instant::now();
        let hung = reachability.watch(pending::<()>(), pending::<()>).await;
        assert_eq!(hung, None);
        assert_eq!(begun.elapsed(), PING_AFTER + PING_TIMEOUT);
        assert!(reachability.is_paused() && !reachability.is_answering());
        let (since, error) = reachability.away().unwrap();
        assert_eq!(error, HANGS);
        assert_eq!(reachability.standing().reachable, Some(false));
        sleep(PAUSE).await;
        assert!(!reachability.is_paused() && !reachability.is_answering());
        reachability.unanswered(&"no answer in time");
        let away = reachability.away().unwrap();
        assert_eq!(away, (since, "no answer in time".to_owned()));
        reachability.answered();
        assert_eq!(reachability.away(), None);
        assert!(!reachability.is_paused() && reachability.is_answering());
        assert_eq!(reachability.standing().reachable, Some(true));
    }
}
