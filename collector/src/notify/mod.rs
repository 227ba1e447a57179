//! Notifications: finds incidents in what the live figures say, keeps them over restarts, and sends each to the targets of a
//! file: a webhook, Slack, Microsoft Teams, Alertmanager, or by mail.
//!
//! What is to be sent is computed from what is and what was sent, never queued: a target that is away gets what still matters
//! when it is back, and the bound of incidents bounds everything.

mod body;
mod channel;
mod findings;
mod incident;
mod message;
mod quiet;
mod run;
mod send;
mod settings;
mod state;
mod subject;
mod template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};

use serde::Serialize;
use tokio::sync::{Mutex as AsyncMutex, watch};

pub(crate) use self::findings::Sources;
pub use self::incident::Incident;
pub use self::quiet::{Quiet, QuietError, QuietOrder};
pub(crate) use self::run::{check, run};
pub(crate) use self::settings::Source;
pub use self::subject::Subject;

use self::incident::Notice;
use self::send::SendError;
use self::settings::{Settings, Target};
use self::state::State;
use crate::model::UnixNanos;
use crate::store::{StoreError, durable};
use crate::sync::{Mutex, RwLock};

/// The file in the data directory.
const FILE: &str = "notifications.json";
/// How often something is tried that is refused each time, until it is given up.
const TRIES_MAX: u32 = 10;

/// Incidents and who is notified of them; cheap to clone.
#[derive(Debug, Clone)]
pub struct Notifier {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Where the state is kept; `None` keeps nothing.
    path: Option<PathBuf>,
    /// Begins the links, unless the file says otherwise.
    url: RwLock<String>,
    state: Mutex<State>,
    reports: Mutex<Reports>,
    settings: RwLock<Arc<Settings>>,
    /// Moves when something may have become due, or the targets changed.
    news: watch::Sender<u64>,
    /// Held while the state is written, so that an older one does not replace a newer.
    writing: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct Reports {
    targets: BTreeMap<String, TargetReport>,
    /// How often each target refused what it is sent now.
    refusals: BTreeMap<String, u32>,
    /// Why the file that changed last is not in force.
    problem: Option<String>,
    not_kept: u64,
}

/// How deliveries to a target go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TargetReport {
    /// Its name in the file.
    pub name: String,
    /// `slack`, `mail` and so on.
    pub channel: &'static str,
    /// Where it goes: host and port.
    pub host: String,
    /// Messages delivered since the start.
    pub sent: u64,
    /// Attempts that failed since the start.
    pub failed: u64,
    /// Messages given up since the start, as the target refuses them.
    pub given_up: u64,
    /// Attempts that failed since the last delivery.
    pub failures: u32,
    /// When a message was delivered last, Unix nanoseconds.
    #[serde(rename = "sent_unix_nanos")]
    pub sent_at: Option<UnixNanos>,
    /// Why the last attempt failed; `None` once one succeeds.
    pub problem: Option<String>,
    /// When it failed, Unix nanoseconds.
    #[serde(rename = "failed_unix_nanos")]
    pub failed_at: Option<UnixNanos>,
}

/// Everything about notifications.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// Why the file of targets is not in force as it is.
    pub problem: Option<String>,
    /// The targets, in the order of the file.
    pub targets: Vec<TargetReport>,
    /// The incidents under way and those that ended lately, the latest first.
    #[serde(serialize_with = "incident::show")]
    pub incidents: Vec<Incident>,
    /// The times of quiet.
    pub quiets: Vec<Quiet>,
    /// Incidents for which there was no room.
    pub not_kept: u64,
}

impl Default for Notifier {
    /// Returns one without targets that keeps nothing.
    fn default() -> Self {
        Self::with(None, State::default())
    }
}

impl Notifier {
    /// Takes back what was sent before the start. What cannot be read is left out, with a warning: incidents may be sent again.
    /// Blocks.
    pub(crate) fn open(data_dir: &Path) -> Self {
        let path = data_dir.join(FILE);
        let state = durable::read_json(&path).and_then(|json| {
            let state = json.map(serde_json::from_value).transpose();
            state.map_err(|error| StoreError::damaged(&path, &error.to_string()))
        });
        let state = state.unwrap_or_else(|error| {
            tracing::warn!(%error, "could not read which incidents were sent; they may be sent again");
            None
        });
        Self::with(Some(path), state.unwrap_or_default())
    }

    fn with(path: Option<PathBuf>, state: State) -> Self {
        Self {
            inner: Arc::new(Inner {
                path,
                url: RwLock::default(),
                state: Mutex::new(state),
                reports: Mutex::default(),
                settings: RwLock::default(),
                news: watch::channel(0).0,
                writing: AsyncMutex::default(),
            }),
        }
    }

    /// Returns everything there is to show.
    pub fn overview(&self) -> Overview {
        let now = UnixNanos::now();
        let (mut incidents, quiets) = {
            let state = self.state();
            (state.incidents().to_vec(), state.quiets(now))
        };
        incidents.sort_by_key(|one| (one.ended.is_some(), std::cmp::Reverse(one.since)));
        let settings = self.settings();
        let reports = self.inner.reports.lock();
        let report = |target: &Arc<Target>| TargetReport {
            name: target.name.clone(),
            channel: target.channel.as_str(),
            host: target.channel.host(),
            ..reports
                .targets
                .get(&target.name)
                .cloned()
                .unwrap_or_default()
        };
        Overview {
            problem: reports.problem.clone(),
            targets: settings.targets.iter().map(report).collect(),
            incidents,
            quiets,
            not_kept: reports.not_kept,
        }
    }

    /// Begins a time of quiet; it is in force once this returns, and after a restart.
    ///
    /// # Errors
    /// When the order is not valid, there are too many, or the disk fails.
    pub async fn be_quiet(
        &self,
        order: QuietOrder,
    ) -> Result<Result<Quiet, QuietError>, StoreError> {
        let quiet = self.state().be_quiet(order, UnixNanos::now());
        if let Ok(quiet) = &quiet {
            let Quiet {
                service,
                circuit,
                by,
                reason,
                ..
            } = quiet;
            tracing::info!(service, circuit, by, reason, "notifications are quiet");
            let saved = self.save().await;
            if saved.is_err() {
                // The answer says that it was not taken.
                self.state().end_quiet(quiet.id);
            }
            saved?;
        }
        Ok(quiet)
    }

    /// Ends a time of quiet; `None` if there is no such.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn end_quiet(&self, id: u64) -> Result<Option<Quiet>, StoreError> {
        let ended = self.state().end_quiet(id);
        if ended.is_some() {
            tracing::info!(id, "notifications are no longer quiet");
            self.save().await?;
            self.wake();
        }
        Ok(ended)
    }

    /// Writes what was sent; a failure is logged.
    pub(crate) async fn keep(&self) {
        if let Err(error) = self.save().await {
            tracing::warn!(%error, "could not write which incidents were sent; they may be sent again");
        }
    }

    /// Puts other settings in force.
    fn replace(&self, settings: Settings) {
        self.state()
            .set_targets(&settings.targets, UnixNanos::now());
        let names: Vec<_> = settings
            .targets
            .iter()
            .map(|target| target.name.clone())
            .collect();
        *self.inner.settings.write() = Arc::new(settings);
        let mut reports = self.inner.reports.lock();
        reports.targets.retain(|name, _| names.contains(name));
        // What was wrong with an address or a token may be right now.
        reports.refusals.clear();
        reports.problem = None;
        drop(reports);
        self.wake();
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.inner.settings.read())
    }

    /// Returns what links begin with.
    fn url(&self) -> String {
        let settings = self.settings();
        settings
            .url
            .clone()
            .unwrap_or_else(|| self.inner.url.read().clone())
    }

    /// Notes how sending something went; returns whether it is settled.
    fn report(&self, target: &Target, notices: &[Notice], sent: &Result<(), SendError>) -> bool {
        let now = UnixNanos::now();
        let mut reports = self.inner.reports.lock();
        let Reports {
            targets, refusals, ..
        } = &mut *reports;
        let report = targets.entry(target.name.clone()).or_default();
        let refusals = refusals.entry(target.name.clone()).or_default();
        let is_settled = match sent {
            Ok(()) => {
                report.sent += notices.len() as u64;
                report.sent_at = Some(now);
                (report.failures, *refusals) = (0, 0);
                report.problem = None;
                true
            }
            Err(error) => {
                report.failed += 1;
                report.failures = report.failures.saturating_add(1);
                report.problem = Some(error.to_string());
                report.failed_at = Some(now);
                // A target that was away for long has refused nothing yet.
                *refusals += u32::from(error.is_final());
                let is_given_up = *refusals >= TRIES_MAX;
                if is_given_up {
                    report.given_up += notices.len() as u64;
                    // The next one is tried as often.
                    (report.failures, *refusals) = (0, 0);
                }
                is_given_up
            }
        };
        drop(reports);
        if is_settled {
            let mut state = self.state();
            notices
                .iter()
                .for_each(|notice| state.settle(&target.name, notice, now));
        }
        is_settled
    }

    /// Writes the state, if it is kept.
    async fn save(&self) -> Result<(), StoreError> {
        let Some(path) = self.inner.path.clone() else {
            return Ok(());
        };
        let _writing = self.inner.writing.lock().await;
        let json = serde_json::to_vec(&*self.state());
        let json = json.map_err(|error| StoreError::damaged(&path, &error.to_string()))?;
        let written = tokio::task::spawn_blocking(move || durable::write(&path, &json)).await;
        written.unwrap_or_else(|error| {
            Err(StoreError::io(
                "write",
                Path::new(FILE),
                std::io::Error::other(error),
            ))
        })
    }

    fn wake(&self) {
        self.inner.news.send_modify(|count| *count += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock()
    }
}
