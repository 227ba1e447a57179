//! Whether other collectors write to the same InfluxDB. Readers ask this first: without others, this
//! collector's local data is complete.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::schema::{COLLECTOR, COLLECTOR_STATS, SPAN};
use super::wire::client::{Client, failed};
use super::wire::query::Query;
use crate::counters::{Counters, Incident};
use crate::store::{Missing, MissingPart, StoreError};
use crate::sync::LogThrottle;
use crate::sync::Mutex;

const CACHED: Duration = Duration::from_secs(30);
/// Longest wait for the answer: it takes milliseconds, or more on a busy server.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// A shared cache of whether there are other collectors.
#[derive(Debug)]
pub(crate) struct Peers {
    client: Arc<Client>,
    own: String,
    counters: Arc<Counters>,
    known: Mutex<Known>,
    /// Whether the first query has ended, successfully or not.
    asked: watch::Sender<bool>,
}

/// The other collectors, as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Others {
    /// Whether there are other collectors; while InfluxDB is unreachable, the last known answer, or true if
    /// it never answered.
    pub(crate) has_others: bool,
    /// Whether InfluxDB is unreachable.
    pub(crate) is_away: bool,
}

#[derive(Debug)]
struct Known {
    has_others: bool,
    until: Option<Instant>,
    warnings: LogThrottle,
}

impl Peers {
    pub(crate) fn new(client: Arc<Client>, own: &str, counters: Arc<Counters>) -> Self {
        Self {
            client,
            own: own.to_owned(),
            counters,
            known: Mutex::new(Known {
                // Assumed until the first answer says otherwise.
                has_others: true,
                until: None,
                warnings: LogThrottle::default(),
            }),
            asked: watch::channel(false).0,
        }
    }

    /// Returns the cached answer, refreshing it when stale. Concurrent callers get the previous value; before
    /// the first answer they wait for it.
    pub(crate) async fn others(&self) -> Others {
        if self.client.reachability().is_paused() {
            return self.cached();
        }
        if !self.should_ask() {
            let mut asked = self.asked.subscribe();
            let _ended = timeout(ASK_TIMEOUT, asked.wait_for(|asked| *asked)).await;
            return self.cached();
        }
        let late = |_| {
            self.client.reachability().unanswered(&"no answer in time");
            self.error(&"no answer in time")
        };
        let answer = timeout(ASK_TIMEOUT, self.ask()).await.map_err(late);
        match answer.flatten() {
            Ok(has_others) => {
                let mut known = self.known();
                known.has_others = has_others;
                known.until = Some(Instant::now() + CACHED);
            }
            Err(error) => self.failed(&error),
        }
        self.asked.send_replace(true);
        self.cached()
    }

    fn cached(&self) -> Others {
        Others {
            has_others: self.known().has_others,
            is_away: !self.client.reachability().is_answering(),
        }
    }

    /// Returns whether the caller must refresh a stale answer; only one caller at a time does.
    fn should_ask(&self) -> bool {
        let now = Instant::now();
        let mut known = self.known();
        let is_stale = known.until.is_none_or(|until| until <= now);
        if is_stale {
            known.until = Some(now + ASK_TIMEOUT);
        }
        is_stale
    }

    /// Notes that a query failed. It may have been only that query, so the next reader first sends a small
    /// one.
    pub(crate) fn failed(&self, error: &StoreError) {
        self.counters.incidents.add(Incident::InfluxdbReadFailed, 1);
        let mut known = self.known();
        known.until = None;
        let is_due = known.warnings.is_due();
        drop(known);
        if is_due {
            warn!(%error, "could not read from InfluxDB; showing what is local");
        }
    }

    /// Returns the error for a query that is not sent because InfluxDB is unreachable.
    pub(crate) fn away(&self) -> StoreError {
        let away = self.client.reachability().away();
        let problem = away.map(|(_, error)| error);
        self.error(&problem.unwrap_or_else(|| "it did not answer yet".to_owned()))
    }

    /// Returns the error for a query that is abandoned for lack of time.
    pub(crate) fn late(&self) -> StoreError {
        self.error(&"no answer in time")
    }

    /// Describes what an answer lacks because InfluxDB failed.
    pub(crate) fn missing(&self, error: StoreError, part: MissingPart) -> Missing {
        let away = self.client.reachability().away();
        let since = away.map(|(since, _)| since);
        Missing { error, since, part }
    }

    async fn ask(&self) -> Result<bool, StoreError> {
        // Both, since a collector may have written only one of them.
        let (stats, span) = (COLLECTOR_STATS.name, SPAN.name);
        let query = Query::new(format!(
            "SHOW TAG VALUES FROM \"{stats}\", \"{span}\" WITH KEY = \"{COLLECTOR}\""
        ));
        let answer = self.client.query(&query).await?;
        let rows = answer.iter().flat_map(|series| &series.rows);
        let mut names = rows.filter_map(|row| row.last()?.as_text());
        Ok(names.any(|name| name != self.own))
    }

    fn error(&self, problem: &dyn std::fmt::Display) -> StoreError {
        failed("query", &self.client.options().url, problem)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}
