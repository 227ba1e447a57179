//! Reads whole actuators for pages and the API. Whoever asks for the same instance shares one read, whose number is bounded. An
//! answer does not wait for slow endpoints: it has what is known by then, also from the read before, and says what has not
//! answered.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::fetch::FetchError;
use super::target::Target;
use super::{ActuatorError, ActuatorView, Id, read};
use crate::sync::Mutex;

/// How long an answer waits: a page that takes longer is taken for broken.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Longest time of a read; what comes after the answer is in the next one.
const READ_MAX: Duration = Duration::from_secs(8);
/// How long what was read is shown: pages are loaded again every five seconds, by each of their readers.
const SHOWN_FOR: Duration = Duration::from_secs(4);
/// How long it is shown until the next read has something newer.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Instances that are read at the same time.
const READS_MAX: usize = 16;
/// Instances whose views are kept, at most 1 MB each.
const VIEWS_MAX: usize = 32;
/// The endpoint that is asked first.
const HEALTH: &str = "health";
/// What is read once the health is known.
const ENDPOINTS: [&str; 6] = [
    "info",
    "metrics/process.uptime",
    "circuitbreakers",
    "circuitbreakerevents",
    "httpexchanges",
    "env",
];

/// Reads that are under way or ended a moment ago; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Reads(Arc<Mutex<BTreeMap<Id, Read>>>);

#[derive(Debug)]
struct Read {
    view: watch::Receiver<ActuatorView>,
    ended: Arc<OnceLock<Instant>>,
}

impl Reads {
    /// Returns what an actuator says, as far as it is known in time.
    pub(super) async fn read(&self, id: Id, target: Target) -> ActuatorView {
        let Some(mut view) = self.join(id, target) else {
            return ActuatorView {
                problem: FetchError::Busy.to_string(),
                ..ActuatorView::default()
            };
        };
        let _ = timeout(ANSWER_WITHIN, view.wait_for(ActuatorView::is_complete)).await;
        let mut known = view.borrow().clone();
        if known.unanswered.iter().any(|endpoint| endpoint == HEALTH) {
            known.problem = format!("it did not answer within {} s", ANSWER_WITHIN.as_secs());
        }
        known
    }

    /// Forgets what was read, because it has changed.
    pub(super) fn forget(&self, id: &Id) {
        self.0.lock().remove(id);
    }

    /// Returns the read of this instance, which begins if there is none; `None` if there are too many.
    fn join(&self, id: Id, target: Target) -> Option<watch::Receiver<ActuatorView>> {
        let mut reads = self.0.lock();
        reads.retain(|_, read| read.age().is_none_or(|age| age < KEPT_FOR));
        let known = reads.get(&id);
        if let Some(read) = known.filter(|it| it.age().is_none_or(|age| age < SHOWN_FOR)) {
            return Some(read.view.clone());
        }
        if reads.values().filter(|read| read.age().is_none()).count() >= READS_MAX {
            return None;
        }
        let known = reads.remove(&id).map(|read| read.view.borrow().clone());
        make_room(&mut reads);
        let read = Read::begin(known.unwrap_or_default(), target);
        let view = read.view.clone();
        reads.insert(id, read);
        Some(view)
    }
}

/// Forgets the view that is oldest, if there are as many as may be.
fn make_room(reads: &mut BTreeMap<Id, Read>) {
    if reads.len() < VIEWS_MAX {
        return;
    }
    let oldest = reads.iter().max_by_key(|(_, read)| read.age());
    if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
        reads.remove(&oldest);
    }
}

impl Read {
    fn begin(known: ActuatorView, target: Target) -> Self {
        let (sender, view) = watch::channel(known.asked_again());
        let ended = Arc::<OnceLock<Instant>>::default();
        let end = Arc::clone(&ended);
        tokio::spawn(async move {
            let _late = timeout(READ_MAX, target.read(&sender)).await;
            let _ = end.set(Instant::now());
        });
        Self { view, ended }
    }

    /// Returns how long ago it ended; `None` while it is under way.
    fn age(&self) -> Option<Duration> {
        self.ended.get().map(Instant::elapsed)
    }
}

impl ActuatorView {
    /// Returns what is known while everything is asked for again.
    fn asked_again(self) -> Self {
        let endpoints = [HEALTH].into_iter().chain(ENDPOINTS);
        Self {
            problem: String::new(),
            problems: Vec::new(),
            unanswered: endpoints.map(str::to_owned).collect(),
            ..self
        }
    }

    fn is_complete(&self) -> bool {
        self.unanswered.is_empty()
    }
}

impl Target {
    /// Reads everything that is shown; each part is in the view as soon as it is known.
    async fn read(&self, view: &watch::Sender<ActuatorView>) {
        let health = self.health().await;
        let is_over = !self.has_endpoints()
            || matches!(&health, Err(ActuatorError::Fetch(error)) if error.is_offline());
        view.send_modify(|view| {
            match health {
                Ok(health) => view.health = Some(health),
                Err(error) => view.problem = error.to_string(),
            }
            match is_over {
                true => view.unanswered.clear(),
                false => view.unanswered.retain(|endpoint| endpoint != HEALTH),
            }
        });
        if is_over {
            return;
        }
        let path = self.path();
        tokio::join!(
            self.read_part(view, "info", |view, json| view.info = read::info(json)),
            self.read_part(view, "metrics/process.uptime", |view, json| {
                view.uptime_s = read::uptime(json);
            }),
            self.read_part(view, "circuitbreakers", |view, json| {
                view.breakers = read::breakers(json);
            }),
            self.read_part(view, "circuitbreakerevents", |view, json| {
                view.events = read::breaker_events(json);
            }),
            self.read_part(view, "httpexchanges", |view, json| {
                view.exchanges = read::exchanges(json, path);
            }),
            self.read_part(view, "env", |view, json| view.properties =
                read::properties(json)),
        );
    }

    async fn read_part(
        &self,
        view: &watch::Sender<ActuatorView>,
        endpoint: &'static str,
        add: impl FnOnce(&mut ActuatorView, &Value),
    ) {
        let path: Vec<_> = endpoint.split('/').collect();
        let read = self.get(&path, |json| view.send_modify(|view| add(view, json)));
        let problem = match read.await {
            // What a service does not have is no problem of it.
            Ok(())
            | Err(ActuatorError::Status {
                status: StatusCode::NOT_FOUND,
                ..
            }) => None,
            Err(error) => Some(error.to_string()),
        };
        view.send_modify(|view| {
            view.unanswered.retain(|unanswered| unanswered != endpoint);
            let new = problem.filter(|problem| !view.problems.contains(problem));
            view.problems.extend(new);
        });
    }
}

#[cfg(test)]
#[path = "reads_tests.rs"]
mod tests;
