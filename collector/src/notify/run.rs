//! The tasks: one finds incidents, one reloads the file when it changes, and one per target sends what is
//! due.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

use super::findings::{Look, Sources, of_transition};
use super::incident::Notice;
use super::send::{SendError, Sender};
use super::settings::{Settings, Source, Target};
use super::{Notifier, Reports};
use crate::live::circuits::CircuitChange;
use crate::model::UnixNanos;
use crate::sync::LogThrottle;

/// Interval of checking everything but instances: no person reacts faster, and a wall of 10,000 circuits
/// takes milliseconds.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Interval of checking the instances, whose heartbeats are 25 s apart.
const INSTANCES_EVERY: Duration = Duration::from_secs(10);
/// How long after the start instances are first checked: those with another SDK's metrics are down after
/// three minutes, and while the collector itself was away it received nothing.
const SETTLED_AFTER: Duration = Duration::from_secs(200);
/// Interval of reading the file: soon enough for a person who has just changed it.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Interval of checking for messages that became due by time: reminders, and those after a mute.
const DUE_EVERY: Duration = Duration::from_secs(1);
/// Pause after a message: Slack accepts one a second.
const MESSAGE_PAUSE: Duration = Duration::from_secs(1);
/// Initial backoff; doubles with each further failure.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest backoff: a target that is back is noticed within a minute.
const PAUSE_MAX: Duration = Duration::from_secs(60);
const ALERTS_MAX: usize = 100;

/// Reads the file once, so that an invalid one prevents the collector's start. Blocks.
///
/// # Errors
/// Describes what is wrong with it.
pub(crate) fn check(mut source: Source) -> Result<(), String> {
    let settings = source.changed().map_err(|error| error.to_string())?;
    settings.map_or(Ok(()), |settings| with_sender(settings).map(drop))
}

/// Finds and sends incidents until it is dropped. `url` is the base of the links, unless the file has one.
pub(crate) async fn run(notifier: Notifier, source: Source, sources: Sources, url: String) {
    *notifier.inner.url.write() = url;
    let mut news = notifier.inner.news.subscribe();
    let watching = async {
        // Only once the targets are known: what is not yet sent to them must not be removed.
        if news.changed().await.is_ok() {
            watch(&notifier, &sources).await;
        }
    };
    tokio::join!(follow(&notifier, source), watching);
}

/// Reloads the file whenever it changes, and keeps one task per target.
async fn follow(notifier: &Notifier, mut source: Source) {
    let mut tick = interval(READ_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warnings = LogThrottle::default();
    // The tasks end when this set is dropped.
    let mut sending = JoinSet::new();
    loop {
        tick.tick().await;
        let read = tokio::task::spawn_blocking(move || {
            let changed = source.changed().map_err(|error| error.to_string());
            let made = changed.and_then(|settings| settings.map(with_sender).transpose());
            if made.is_err() {
                // Read again even if unchanged: the file of authorities may appear later, or the previous
                // settings may be restored.
                source.forget();
            }
            (source, made)
        });
        let Ok((read, made)) = read.await else {
            return;
        };
        source = read;
        match made {
            Ok(Some((settings, sender))) => {
                sending.shutdown().await;
                notifier.replace(settings);
                for target in &notifier.settings().targets {
                    let (notifier, sender) = (notifier.clone(), sender.clone());
                    sending.spawn(serve(notifier, sender, Arc::clone(target)));
                }
                info!(targets = sending.len(), "read whom to notify");
            }
            Ok(None) => {}
            Err(problem) => {
                if warnings.is_due() {
                    warn!(
                        problem,
                        "could not read whom to notify: what was valid before stays in force"
                    );
                }
                notifier.inner.reports.lock().problem = Some(problem);
            }
        }
    }
}

fn with_sender(settings: Settings) -> Result<(Settings, Sender), String> {
    let sender = Sender::new(settings.ca_file.as_deref());
    let sender = sender.map_err(|error| error.to_string())?;
    Ok((settings, sender))
}

async fn watch(notifier: &Notifier, sources: &Sources) {
    let mut changes = sources.query.circuits().subscribe();
    let (mut tick, mut instances_at) = (interval(LOOK_EVERY), Instant::now() + SETTLED_AFTER);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let look = tokio::select! {
            _ = tick.tick() => {
                let instances_too = instances_at <= Instant::now();
                if instances_too {
                    instances_at = Instant::now() + INSTANCES_EVERY;
                }
                sources.look(instances_too, UnixNanos::now()).await
            }
            change = changes.recv() => match change {
                Ok(CircuitChange::Transition(transition)) => {
                    let Some(opened) = of_transition(&transition, UnixNanos::now()) else {
                        continue;
                    };
                    Look { findings: vec![opened], listed: None }
                }
                // The next check finds missed openings that are still open.
                Ok(CircuitChange::Samples) | Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
        };
        notifier.take(look).await;
    }
}

impl Notifier {
    /// Applies findings; changes are written before they are sent.
    async fn take(&self, look: Look) {
        let now = UnixNanos::now();
        let targets = &self.settings().targets;
        let is_changed = {
            let mut state = self.state();
            let noted = state.observe(look.findings, now);
            let listed = look.listed.as_ref();
            let is_gone = listed.is_some_and(|listed| state.end_unlisted(listed, now));
            self.inner.reports.lock().not_kept += noted.not_kept;
            state.prune(targets, now) || noted.is_changed || is_gone
        };
        if is_changed {
            self.keep().await;
            self.wake();
        }
    }
}

/// Sends what is due to one target.
async fn serve(notifier: Notifier, sender: Sender, target: Arc<Target>) {
    let mut news = notifier.inner.news.subscribe();
    let gathers = !target.is_alertmanager() && !target.gather.is_zero();
    let mut is_gathered = !gathers;
    let most_at_once = match (target.is_alertmanager(), gathers) {
        (true, _) => ALERTS_MAX,
        (false, true) => usize::MAX,
        (false, false) => 1,
    };
    let mut most = most_at_once;
    loop {
        news.mark_unchanged();
        let due = notifier.next(&target, most);
        if due.is_empty() {
            is_gathered = !gathers;
            let _looked = timeout(DUE_EVERY, news.changed()).await;
            continue;
        }
        if !is_gathered {
            is_gathered = true;
            sleep(target.gather).await;
            continue;
        }
        let sent = sender.send(&target, &due, &notifier.url()).await;
        if notifier.report(&target, &due, &sent) {
            notifier.keep().await;
        }
        most = most_after(&sent, due.len(), most).min(most_at_once);
        if let Err(error) = &sent {
            let (name, failures) = (&target.name, notifier.failures(&target.name));
            if failures == 1 {
                warn!(target = name, %error, "could not notify");
            }
            // A target that rejects one message takes others.
            let failures = if error.is_final() { 1 } else { failures };
            sleep(pause(failures, error)).await;
        } else if !target.is_alertmanager() {
            is_gathered = !gathers;
            sleep(MESSAGE_PAUSE).await;
        }
    }
}

/// Returns how many incidents go together next: of those that were not taken half as many, so that the one that is never
/// accepted is soon found, and takes no others with it.
fn most_after(sent: &Result<(), SendError>, count: usize, most: usize) -> usize {
    match sent {
        Ok(()) => most.saturating_mul(2),
        Err(error) if error.is_of_message() && count > 1 => count / 2,
        Err(_) => most,
    }
}

impl Notifier {
    /// Returns what to send next: what the target has not failed to take; else, when its time has come, the one that was
    /// tried least often.
    fn next(&self, target: &Target, most: usize) -> Vec<Notice> {
        let due = self.state().due(target, UnixNanos::now(), usize::MAX);
        let reports = self.inner.reports.lock();
        let Some(rejected) = reports.rejected.get(&target.name) else {
            return due.into_iter().take(most).collect();
        };
        let attempts = |notice: &Notice| rejected.attempts.get(&notice.incident.subject).copied();
        let (again, mut others): (Vec<_>, Vec<_>) = due
            .into_iter()
            .partition(|notice| attempts(notice).is_some());
        if others.is_empty() && rejected.again <= Instant::now() {
            return again.into_iter().min_by_key(attempts).into_iter().collect();
        }
        others.truncate(most);
        others
    }

    fn failures(&self, target: &str) -> u32 {
        let reports = self.inner.reports.lock();
        let Reports { targets, .. } = &*reports;
        targets.get(target).map_or(0, |report| report.failures)
    }
}

/// Returns the pause after a failure: the target's wish, or exponential backoff.
pub(super) fn pause(failures: u32, error: &SendError) -> Duration {
    let doubled = PAUSE_MIN * 2_u32.saturating_pow(failures.saturating_sub(1).min(10));
    let asked = error.retry_after().unwrap_or(doubled.min(PAUSE_MAX));
    // Without a minimum, a target that asks for no pause would be called in a tight loop.
    asked.max(PAUSE_MIN)
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
