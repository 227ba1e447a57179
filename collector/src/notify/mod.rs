//! Notifications: finds incidents in the live figures, keeps them over restarts, and sends each to the
//! targets in a file: a webhook, Slack, Microsoft Teams, Alertmanager, or mail.
//!
//! What to send is computed from the current state and what was sent before, never queued: a target that was
//! unreachable gets what still matters when it is back, and the limit of incidents bounds everything.

mod body;
mod channel;
mod findings;
mod incident;
mod message;
mod mute;
mod run;
mod send;
mod settings;
mod state;
mod subject;
mod template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, OnceLock};

use serde::Serialize;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::Instant;

pub(crate) use self::findings::Sources;
pub use self::incident::Incident;
pub use self::mute::{Mute, MuteError, MuteOrder};
pub(crate) use self::run::{check, run};
pub(crate) use self::settings::Source;
pub use self::subject::Subject;

use self::incident::Notice;
use self::send::SendError;
use self::settings::{Settings, Target};
use self::state::State;
use crate::live::circuits::Control;
use crate::model::{CircuitKey, EventKind, OperatorEvent, UnixNanos};
use crate::store::cancel::completed;
use crate::store::{StoreError, durable};
use crate::sync::{Mutex, RwLock};

/// In the data directory.
const FILE: &str = "notifications.json";
/// Rejected attempts after which a message is given up.
const TRIES_MAX: u32 = 10;

/// Incidents and their notifications; cheap to clone.
#[derive(Debug, Clone)]
pub struct Notifier {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// File of the state; `None` for a state in memory only.
    path: Option<PathBuf>,
    /// Base of the links, unless the file has one.
    url: RwLock<String>,
    state: Mutex<State>,
    reports: Mutex<Reports>,
    settings: RwLock<Arc<Settings>>,
    /// Changes when something may have become due, or the targets changed.
    news: watch::Sender<u64>,
    /// Held while writing, so that an older state never replaces a newer one.
    writing: AsyncMutex<()>,
    /// Where operators' mutes are recorded.
    journal: OnceLock<Control>,
}

#[derive(Debug, Default)]
struct Reports {
    targets: BTreeMap<String, TargetReport>,
    /// What each target did not take.
    rejected: BTreeMap<String, Rejected>,
    /// Why the latest version of the file is not in force.
    problem: Option<String>,
    not_kept: u64,
}

/// What a target did not take although it answered; it is tried again after everything else.
#[derive(Debug)]
struct Rejected {
    /// The attempts of each message that was sent alone.
    attempts: BTreeMap<Subject, Attempts>,
    /// When the next of them is tried.
    again: Instant,
}

/// Attempts to send a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Attempts {
    all: u32,
    /// Those of which the answer was final.
    rejected: u32,
}

/// Figures of the deliveries to a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TargetReport {
    /// Its name in the file.
    pub name: String,
    /// The channel: `slack`, `mail` and so on.
    pub channel: &'static str,
    /// The destination: host and port.
    pub host: String,
    /// Messages delivered since the start.
    pub sent: u64,
    /// Failed attempts since the start.
    pub failed: u64,
    /// Messages given up since the start because the target rejects them.
    pub given_up: u64,
    /// Failed attempts since the last delivery.
    pub failures: u32,
    /// When the last message was delivered.
    #[serde(rename = "sent_unix_nanos")]
    pub sent_at: Option<UnixNanos>,
    /// Why the last attempt failed; `None` if it succeeded.
    pub problem: Option<String>,
    /// When the last failed attempt was made.
    #[serde(rename = "failed_unix_nanos")]
    pub failed_at: Option<UnixNanos>,
}

/// The state of notifications.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// Why the file of targets is not fully in force.
    pub problem: Option<String>,
    /// The targets, in the order of the file.
    pub targets: Vec<TargetReport>,
    /// The open incidents and recently ended ones, latest first.
    #[serde(serialize_with = "incident::show")]
    pub incidents: Vec<Incident>,
    /// The mutes.
    pub mutes: Vec<Mute>,
    /// Number of incidents beyond the limit.
    pub not_kept: u64,
}

impl Default for Notifier {
    /// Without targets, and in memory only.
    fn default() -> Self {
        Self::with(None, State::default())
    }
}

impl Notifier {
    /// Restores what was sent before the start. Unreadable state is ignored, with a warning: incidents may
    /// then be sent again. Blocks.
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
                journal: OnceLock::new(),
            }),
        }
    }

    /// Records mutes in this journal.
    pub(crate) fn with_journal(self, journal: &Control) -> Self {
        self.inner.journal.get_or_init(|| journal.clone());
        self
    }

    async fn note(&self, event: EventKind, mute: &Mute, by: &str) {
        let Some(journal) = self.inner.journal.get() else {
            return;
        };
        let key = CircuitKey {
            service: mute.service.clone(),
            name: mute.circuit.clone(),
        };
        let noted = journal.note(OperatorEvent {
            id: 0,
            event,
            key,
            object: mute.id.to_string(),
            reason: mute.reason.clone(),
            by: by.to_owned(),
            time: UnixNanos::now(),
            expires: (event == EventKind::Mute).then_some(mute.until),
        });
        noted.await;
    }

    /// Returns the state of notifications.
    pub fn overview(&self) -> Overview {
        let now = UnixNanos::now();
        let (mut incidents, mutes) = {
            let state = self.state();
            (state.incidents().to_vec(), state.mutes(now))
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
            mutes,
            not_kept: reports.not_kept,
        }
    }

    /// Begins a mute; once this returns it is in force, also after a restart.
    ///
    /// # Errors
    /// When the order is invalid, there are too many, or the disk fails.
    pub async fn mute(&self, order: MuteOrder) -> Result<Result<Mute, MuteError>, StoreError> {
        let this = self.clone();
        completed(Path::new(FILE), async move { this.take_mute(order).await }).await
    }

    async fn take_mute(&self, order: MuteOrder) -> Result<Result<Mute, MuteError>, StoreError> {
        let mute = self.state().mute(order, UnixNanos::now());
        if let Ok(mute) = &mute {
            let Mute {
                service,
                circuit,
                by,
                reason,
                ..
            } = mute;
            tracing::info!(service, circuit, by, reason, "notifications are muted");
            let saved = self.save().await;
            if saved.is_err() {
                // The answer is an error, so the mute must not stay in force.
                self.state().unmute(mute.id);
            }
            saved?;
            self.note(EventKind::Mute, mute, by).await;
        }
        Ok(mute)
    }

    /// Ends a mute early; `None` if it does not exist. `by` is the user, if known.
    ///
    /// # Errors
    /// When the disk fails; the mute then stays in force.
    pub async fn unmute(&self, id: u64, by: Option<String>) -> Result<Option<Mute>, StoreError> {
        let this = self.clone();
        let by = by.unwrap_or_default();
        completed(Path::new(FILE), async move { this.end_mute(id, &by).await }).await
    }

    async fn end_mute(&self, id: u64, by: &str) -> Result<Option<Mute>, StoreError> {
        let ended = self.state().unmute(id);
        if let Some(mute) = &ended {
            let saved = self.save().await;
            if saved.is_err() {
                self.state().restore_mute(mute.clone());
            }
            saved?;
            tracing::info!(id, "notifications are no longer muted");
            self.wake();
            self.note(EventKind::Unmute, mute, by).await;
        }
        Ok(ended)
    }

    /// Writes the state; a failure is logged.
    pub(crate) async fn keep(&self) {
        if let Err(error) = self.save().await {
            tracing::warn!(%error, "could not write which incidents were sent; they may be sent again");
        }
    }

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
        // A wrong URL or token may now be corrected.
        reports.rejected.clear();
        reports.problem = None;
        drop(reports);
        self.wake();
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.inner.settings.read())
    }

    fn url(&self) -> String {
        let settings = self.settings();
        settings
            .url
            .clone()
            .unwrap_or_else(|| self.inner.url.read().clone())
    }

    /// Records the result of sending; returns whether the message is settled.
    fn report(&self, target: &Target, notices: &[Notice], sent: &Result<(), SendError>) -> bool {
        let now = UnixNanos::now();
        // Alertmanager gets an alert each, others one message about all.
        let messages = match target.is_alertmanager() {
            true => notices.len() as u64,
            false => 1,
        };
        let mut reports = self.inner.reports.lock();
        let Reports {
            targets, rejected, ..
        } = &mut *reports;
        let report = targets.entry(target.name.clone()).or_default();
        let is_settled = match sent {
            Ok(()) => {
                report.sent += messages;
                report.sent_at = Some(now);
                report.failures = 0;
                report.problem = None;
                accept(rejected, target, notices);
                true
            }
            Err(error) => {
                report.failed += 1;
                report.failures = report.failures.saturating_add(1);
                report.problem = Some(error.to_string());
                report.failed_at = Some(now);
                let is_given_up = reject(rejected, target, notices, error);
                if is_given_up {
                    report.given_up += messages;
                    // The next message gets the same number of attempts.
                    report.failures = 0;
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

    /// Writes the state, unless it is in memory only.
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

/// Counts a failed attempt of one message; returns whether it is given up. One about several is not counted: all but one of
/// them may be acceptable. An unreachable target has not rejected anything.
fn reject(
    rejected: &mut BTreeMap<String, Rejected>,
    target: &Target,
    notices: &[Notice],
    error: &SendError,
) -> bool {
    let ([notice], true) = (notices, error.is_of_message()) else {
        return false;
    };
    let now = Instant::now();
    let rejected = rejected.entry(target.name.clone());
    let rejected = rejected.or_insert_with(|| Rejected {
        attempts: BTreeMap::new(),
        again: now,
    });
    let subject = &notice.incident.subject;
    let attempts = rejected.attempts.entry(subject.clone()).or_default();
    attempts.all += 1;
    attempts.rejected += u32::from(error.is_final());
    rejected.again = now + run::pause(attempts.all, error);
    let is_given_up = attempts.rejected >= TRIES_MAX;
    if is_given_up {
        rejected.attempts.remove(subject);
    }
    is_given_up
}

/// Forgets what a target did not take once it accepts one of it: the cause was the target itself.
fn accept(rejected: &mut BTreeMap<String, Rejected>, target: &Target, notices: &[Notice]) {
    let was_rejected = |it: &Rejected| {
        let subjects = notices.iter().map(|notice| &notice.incident.subject);
        subjects
            .into_iter()
            .any(|subject| it.attempts.contains_key(subject))
    };
    if rejected.get(&target.name).is_some_and(was_rejected) {
        rejected.remove(&target.name);
    }
}
