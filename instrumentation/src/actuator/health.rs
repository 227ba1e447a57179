//! `/actuator/health`: the state of each component and of all together. An open breaker means that a dependency is
//! unhealthy: its component is `DEGRADED`, and the service is up.

use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Inner;
use super::access::Anonymous;
use super::answer::{Answered, json_with, missing};
use super::circuit_breakers;
use crate::circuit_breaker::EffectiveState;

/// Timeout of a check; a check that takes longer is down.
const CHECK_WITHIN: Duration = Duration::from_secs(5);
/// How long clients without the token get the same result of the checks: they could otherwise keep a database busy.
const CHECK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Most breakers that are listed, the worst first; Spring Boot Admin asks every ten seconds.
const BREAKERS_MAX: usize = 100;
/// Default limit of free disk space, in bytes; below it the disk is down (Spring Boot: 10 MB).
pub(super) const DISK_FREE_MIN: u64 = 10 << 20;

/// The state of a component of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    status: Status,
    details: Map<String, Value>,
}

/// A status; the worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Down,
    OutOfService,
    Up,
    Degraded,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Down => "DOWN",
            Self::OutOfService => "OUT_OF_SERVICE",
            Self::Up => "UP",
            Self::Degraded => "DEGRADED",
        }
    }
}

impl Health {
    /// The component works.
    pub fn up() -> Self {
        Self::of(Status::Up)
    }

    /// The component does not work, and so the service does not work.
    pub fn down(why: impl fmt::Display) -> Self {
        Self::of(Status::Down).with_detail("error", why.to_string())
    }

    /// The component works in part; the service is up.
    pub fn degraded(why: impl fmt::Display) -> Self {
        Self::of(Status::Degraded).with_detail("reason", why.to_string())
    }

    /// The component was taken out of service.
    pub fn out_of_service() -> Self {
        Self::of(Status::OutOfService)
    }

    /// Adds a detail.
    #[must_use]
    pub fn with_detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    fn of(status: Status) -> Self {
        let details = Map::new();
        Self { status, details }
    }

    fn json(&self) -> Value {
        match self.details.is_empty() {
            true => json!({ "status": self.status.as_str() }),
            false => json!({ "status": self.status.as_str(), "details": self.details }),
        }
    }
}

/// Whether the service accepts requests; clones are handles to the same value. Set it to `false` during warm-up and
/// before the service ends, so that load balancers that query `/actuator/health/readiness` stop sending requests.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub(super) fn ready() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Sets whether the service accepts requests.
    pub fn set(&self, takes_requests: bool) {
        self.0.store(takes_requests, Relaxed);
    }

    fn health(&self) -> Health {
        match self.0.load(Relaxed) {
            true => Health::up(),
            false => Health::out_of_service(),
        }
    }
}

type Checking = Pin<Box<dyn Future<Output = Health> + Send>>;

/// A check of the application.
pub(super) struct Check {
    pub(super) name: String,
    pub(super) run: Box<dyn Fn() -> Checking + Send + Sync>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The checks of the application and their last results.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) all: Vec<Arc<Check>>,
    /// Locked while they run, so that they run once at a time.
    last: Mutex<Option<(Instant, Vec<Health>)>>,
}

impl Checks {
    /// Returns the results: of a run that this call waited for or, for a client without the token, of the last second.
    async fn found(&self, is_anonymous: bool) -> Vec<Health> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        let is_recent = |at: Instant| is_anonymous && at.elapsed() < CHECK_AGAIN_AFTER;
        let known = last.as_ref();
        if let Some((_, found)) = known.filter(|(at, _)| *at > asked || is_recent(*at)) {
            return found.clone();
        }
        let found = self.run().await;
        *last = Some((Instant::now(), found.clone()));
        found
    }

    /// Runs them concurrently.
    async fn run(&self) -> Vec<Health> {
        let mut running = JoinSet::new();
        for (place, check) in self.all.iter().cloned().enumerate() {
            running.spawn(async move {
                let health = tokio::time::timeout(CHECK_WITHIN, (check.run)()).await;
                (place, health)
            });
        }
        let late = || Health::down(format!("no answer within {CHECK_WITHIN:?}"));
        let panicked = || Health::down("the check panicked");
        let mut found: Vec<_> = self.all.iter().map(|_| panicked()).collect();
        while let Some(ended) = running.join_next().await {
            if let Ok((place, health)) = ended {
                found[place] = health.unwrap_or_else(|_| late());
            }
        }
        found
    }
}

/// The disk whose free space is part of the health.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    path: PathBuf,
    free_min: u64,
    /// Held while the file system is asked.
    asking: Arc<Mutex<()>>,
}

impl Disk {
    pub(super) fn new(path: PathBuf, free_min: u64) -> Self {
        Self {
            path,
            free_min,
            asking: Arc::default(),
        }
    }

    /// Returns whether enough space is free. A file system that does not answer, as of a lost server, blocks one thread
    /// and not one of each request.
    async fn health(&self) -> Option<Health> {
        let disk = self.clone();
        let asked = async move {
            let asking = Arc::clone(&disk.asking).lock_owned().await;
            let ask = move || {
                let _asking = asking;
                free_space(&disk)
            };
            tokio::task::spawn_blocking(ask).await.ok().flatten()
        };
        let in_time = tokio::time::timeout(CHECK_WITHIN, asked).await;
        in_time.unwrap_or_else(|_| Some(Health::down(format!("no answer within {CHECK_WITHIN:?}"))))
    }
}

/// A component: its status, details and subcomponents.
struct Component {
    status: Status,
    json: Value,
}

impl From<Health> for Component {
    fn from(health: Health) -> Self {
        Self {
            status: health.status,
            json: health.json(),
        }
    }
}

/// `GET /actuator/health`
pub(super) async fn overall(
    State(inner): State<Arc<Inner>>,
    anonymous: Option<Extension<Anonymous>>,
) -> Response {
    let components = components(&inner, anonymous.is_some()).await;
    let groups = json!(["liveness", "readiness"]);
    answer(components, Some(groups), anonymous.is_some())
}

/// `GET /actuator/health/{*path}`: a group, or a component.
pub(super) async fn part(
    State(inner): State<Arc<Inner>>,
    Path(path): Path<String>,
    anonymous: Option<Extension<Anonymous>>,
) -> Answered {
    let state: (&str, Health) = match path.as_str() {
        "liveness" => ("livenessState", Health::up()),
        "readiness" => ("readinessState", inner.readiness.health()),
        _ => return component(&inner, &path).await,
    };
    let components = vec![(state.0.to_owned(), state.1.into())];
    Ok(answer(components, None, anonymous.is_some()))
}

async fn component(inner: &Inner, path: &str) -> Answered {
    let all = components(inner, false).await;
    let (name, rest) = path.split_once('/').unwrap_or((path, ""));
    let found = all.into_iter().find(|(known, _)| known == name);
    let (_, component) = found.ok_or_else(|| missing("component", path))?;
    let json = match rest {
        "" => component.json,
        rest => component.json["components"][rest].clone(),
    };
    let status = json["status"]
        .as_str()
        .ok_or_else(|| missing("component", path))?;
    Ok(json_with(code(status), &json))
}

fn answer(
    components: Vec<(String, Component)>,
    groups: Option<Value>,
    is_anonymous: bool,
) -> Response {
    let status = worst(components.iter().map(|(_, component)| component.status));
    let mut json = json!({ "status": status.as_str() });
    if !is_anonymous {
        let components = components.into_iter();
        let components = components.map(|(name, component)| (name, component.json));
        json["components"] = Value::Object(components.collect());
        if let Some(groups) = groups {
            json["groups"] = groups;
        }
    }
    json_with(code(status.as_str()), &json)
}

/// Returns the status of the whole; a degraded component leaves it up.
fn worst(statuses: impl Iterator<Item = Status>) -> Status {
    match statuses.min() {
        None | Some(Status::Degraded) => Status::Up,
        Some(status) => status,
    }
}

fn code(status: &str) -> StatusCode {
    match status {
        "DOWN" | "OUT_OF_SERVICE" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    }
}

async fn components(inner: &Inner, is_anonymous: bool) -> Vec<(String, Component)> {
    let named = |name: &str, health: Health| (name.to_owned(), Component::from(health));
    let mut all = vec![
        ("circuitBreakers".to_owned(), breakers(inner)),
        named("livenessState", Health::up()),
        named("readinessState", inner.readiness.health()),
    ];
    let disk = inner.disk.health().await;
    all.extend(disk.map(|health| named("diskSpace", health)));
    let found = inner.checks.found(is_anonymous).await;
    let names = inner.checks.all.iter().map(|check| check.name.clone());
    all.extend(names.zip(found.into_iter().map(Component::from)));
    all.sort_by(|left, right| left.0.cmp(&right.0));
    all
}

fn breakers(inner: &Inner) -> Component {
    let mut all: Vec<_> = inner
        .registry
        .all()
        .iter()
        .map(|it| it.snapshot())
        .collect();
    let count = all.len();
    all.sort_by_key(|breaker| std::cmp::Reverse(breaker.state));
    all.truncate(BREAKERS_MAX);
    let components = all.iter().map(|breaker| {
        let health = Health {
            status: match breaker.state {
                EffectiveState::Open | EffectiveState::HalfOpen | EffectiveState::ForcedOpen => {
                    Status::Degraded
                }
                _ => Status::Up,
            },
            details: circuit_breakers::figures(breaker),
        };
        (breaker.name.to_string(), health.status, health.json())
    });
    let components: Vec<_> = components.collect();
    let status = components.iter().map(|(_, status, _)| *status).max();
    let status = status.unwrap_or(Status::Up);
    let named = components.into_iter().map(|(name, _, json)| (name, json));
    let mut json = json!({ "status": status.as_str(), "components": Map::from_iter(named) });
    if count > BREAKERS_MAX {
        json["details"] = json!({ "breakers": count, "shown": BREAKERS_MAX });
    }
    Component { status, json }
}

#[cfg(unix)]
fn free_space(disk: &Disk) -> Option<Health> {
    let space = match rustix::fs::statvfs(&disk.path) {
        Ok(space) => space,
        Err(error) => return Some(Health::down(error)),
    };
    let (total, free) = (
        space.f_blocks.saturating_mul(space.f_frsize),
        space.f_bavail.saturating_mul(space.f_frsize),
    );
    let health = match free < disk.free_min {
        true => Health::down("too little space is free"),
        false => Health::up(),
    };
    Some(with_space(health, disk, total, free))
}

#[cfg(not(unix))]
fn free_space(_: &Disk) -> Option<Health> {
    None
}

#[cfg(unix)]
fn with_space(health: Health, disk: &Disk, total: u64, free: u64) -> Health {
    let path = FilePath::display(&disk.path).to_string();
    let health = health.with_detail("total", total).with_detail("free", free);
    health
        .with_detail("threshold", disk.free_min)
        .with_detail("path", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// *Guarantees*: while the file system does not answer, the disk is down, and no further thread asks.
    #[cfg(unix)]
    #[tokio::test(start_paused = true)]
    async fn a_file_system_without_an_answer_is_down() {
        let disk = Disk::new(".".into(), 0);
        let asking = Arc::clone(&disk.asking).lock_owned().await;
        let health = disk.health().await.expect("it is a component");
        assert_eq!(health.status, Status::Down);
        drop(asking);
        let health = disk.health().await.expect("it is a component");
        assert_eq!(health.status, Status::Up);
    }
}
