//! Whether other collectors write to the same InfluxDB, and whether it answers: what every reader of it asks first.
//!
//! Only with others are the fresh data of this collector not all there is; and while InfluxDB is away, nobody shall
//! wait for it again and again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::schema::{COLLECTOR, COLLECTOR_STATS, SPAN};
use super::seldom::Seldom;
use super::wire::client::{Client, failed};
use super::wire::query::Query;
use crate::counters::{Counters, Incident};
use crate::store::StoreError;

/// How long an answer is believed.
const BELIEVED: Duration = Duration::from_secs(30);
/// How long nobody asks again after no answer.
const AWAY: Duration = Duration::from_secs(10);
/// How long the answer is waited for: on a busy server it takes milliseconds.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of other collectors; shared by all readers.
#[derive(Debug)]
pub(crate) struct Peers {
    client: Arc<Client>,
    own: String,
    counters: Arc<Counters>,
    known: Mutex<Known>,
    /// Whether the first question has ended, well or badly.
    asked: watch::Sender<bool>,
}

/// Who else is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Company {
    /// Whether there are other collectors; while InfluxDB is away, whether there were, or may be if it never answered.
    pub(crate) has_others: bool,
    /// Whether InfluxDB does not answer.
    pub(crate) is_away: bool,
}

#[derive(Debug)]
struct Known {
    company: Company,
    until: Option<Instant>,
    warnings: Seldom,
}

impl Peers {
    /// Returns who asks for collectors other than that one.
    pub(crate) fn new(client: Arc<Client>, own: &str, counters: Arc<Counters>) -> Self {
        Self {
            client,
            own: own.to_owned(),
            counters,
            known: Mutex::new(Known {
                // Until somebody knows better.
                company: Company {
                    has_others: true,
                    is_away: true,
                },
                until: None,
                warnings: Seldom::default(),
            }),
            asked: watch::channel(false).0,
        }
    }

    /// Returns who else is there, by an answer that is not old; only one asks at a time, and the others take what was
    /// known before. Before the first answer nothing is known: who comes then waits for it.
    pub(crate) async fn company(&self) -> Company {
        if !self.is_my_turn() {
            let mut asked = self.asked.subscribe();
            let _ended = timeout(ASK_TIMEOUT, asked.wait_for(|asked| *asked)).await;
            return self.known().company;
        }
        let late = |_| self.error(&"no answer in time");
        let answer = timeout(ASK_TIMEOUT, self.ask()).await.map_err(late);
        let (company, how_long) = match answer.flatten() {
            Ok(has_others) => (
                Company {
                    has_others,
                    is_away: false,
                },
                BELIEVED,
            ),
            Err(error) => {
                self.failed(&error);
                (self.known().company, AWAY)
            }
        };
        let mut known = self.known();
        known.company = company;
        known.until = Some(Instant::now() + how_long);
        drop(known);
        self.asked.send_replace(true);
        company
    }

    /// Returns whether the caller is to ask; what is known is old then, and nobody else asks.
    fn is_my_turn(&self) -> bool {
        let now = Instant::now();
        let mut known = self.known();
        let is_old = known.until.is_none_or(|until| until <= now);
        if is_old {
            known.until = Some(now + ASK_TIMEOUT);
        }
        is_old
    }

    /// Counts that InfluxDB failed a reader. It may only be that one question: whoever comes next asks a small one,
    /// and nobody else waits until that is answered.
    pub(crate) fn failed(&self, error: &StoreError) {
        self.counters.incidents.add(Incident::InfluxdbReadFailed, 1);
        let mut known = self.known();
        known.until = None;
        known.company.is_away = true;
        let is_due = known.warnings.is_due();
        drop(known);
        if is_due {
            warn!(%error, "could not read from InfluxDB; showing what is local");
        }
    }

    /// Returns the error of a question that is not asked, as InfluxDB is away.
    pub(crate) fn away(&self) -> StoreError {
        self.error(&"it did not answer a moment ago")
    }

    async fn ask(&self) -> Result<bool, StoreError> {
        // Both, as a collector may have written only the one or only the other.
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
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
