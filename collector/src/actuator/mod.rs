//! The actuators of registered instances: their health is checked periodically, the pages read more, and operators' changes
//! of log levels and circuit breakers are passed on. Requests go only to addresses that are registered and allowed
//! (`--actuator-network`). What is stored is in `live::registry` and `live::circuits::control`; here are the requests.

mod bridge;
mod check;
mod fetch;
mod read;
mod target;

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

pub(crate) use bridge::pass_on;
pub use check::Checked;
pub(crate) use check::watch;
pub use read::{Breaker, BreakerEvent, Component, Exchange, Health, Property};

use self::fetch::{FetchError, Fetcher};
use self::target::Target;
use crate::live::registry::Registry;
use crate::model::{InstanceStatus, Network};
use crate::sync::Mutex;

/// Service, in lower case, and instance.
type Id = (String, String);

/// The actuators of registered instances; cheap to clone.
#[derive(Debug, Clone)]
pub struct Actuators {
    fetcher: Fetcher,
    registry: Registry,
    checked: Arc<Mutex<BTreeMap<Id, Checked>>>,
    /// What was read last.
    views: Arc<Mutex<BTreeMap<Id, (Instant, ActuatorView)>>>,
}

/// How long what was read is shown: pages are loaded again every five seconds, by each of their readers.
const SHOWN_FOR: Duration = Duration::from_secs(4);
/// Instances whose pages are looked at by then, at most 200 KB each.
const VIEWS_MAX: usize = 64;

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum ActuatorError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("its actuator answered {status} to /{path}")]
    Status { status: StatusCode, path: String },
    #[error("its actuator answered no JSON to /{path}")]
    Json { path: String },
}

/// What the actuator of an instance says about it; what it does not have or does not show is left out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ActuatorView {
    /// Why nothing could be read; empty if something was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub problem: String,
    /// Its health.
    pub health: Option<Health>,
    /// Names and values about the program.
    pub info: Vec<(String, String)>,
    /// How long it runs, seconds.
    pub uptime_s: Option<f64>,
    /// Its circuit breakers.
    pub breakers: Vec<Breaker>,
    /// Their last transitions, latest first.
    pub events: Vec<BreakerEvent>,
    /// The last requests that it answered, latest first.
    pub exchanges: Vec<Exchange>,
    /// Its settings, by name.
    pub properties: Vec<Property>,
}

impl Actuators {
    /// Returns the actuators of the registered instances in these networks.
    pub fn new(registry: Registry, networks: Vec<Network>) -> Self {
        Self {
            fetcher: Fetcher::new(networks),
            registry,
            checked: Arc::default(),
            views: Arc::default(),
        }
    }

    /// Returns the last check of an instance; `None` if there was none.
    pub fn checked(&self, service: &str, instance: &str) -> Option<Checked> {
        self.checked.lock().get(&id(service, instance)).cloned()
    }

    /// Reads the actuator of an instance; `None` if it has none, or if none may be read.
    pub async fn read(&self, service: &str, instance: &str) -> Option<ActuatorView> {
        let target = self.target(service, instance)?;
        let id = id(service, instance);
        if let Some((_, known)) = self.recent().get(&id) {
            return Some(known.clone());
        }
        let offline = self.checked.lock().get(&id).cloned();
        let offline = offline.filter(|checked| checked.status == InstanceStatus::Offline);
        let view = match offline {
            // A page does not wait for what the last check waited for in vain.
            Some(checked) => ActuatorView {
                problem: checked.reason,
                ..ActuatorView::default()
            },
            None => target.read().await,
        };
        let mut views = self.recent();
        if views.len() < VIEWS_MAX {
            views.insert(id, (Instant::now(), view.clone()));
        }
        Some(view)
    }

    /// Returns what was read a moment ago.
    fn recent(&self) -> MutexGuard<'_, BTreeMap<Id, (Instant, ActuatorView)>> {
        let mut views = self.views.lock();
        views.retain(|_, (read, _)| read.elapsed() < SHOWN_FOR);
        views
    }

    fn target(&self, service: &str, instance: &str) -> Option<Target> {
        let listed = self.registry.find(service, instance)?;
        let is_enabled = self.fetcher.is_enabled();
        let target = Target::of(&listed.registered.registration, &self.fetcher);
        target.filter(|_| is_enabled)
    }
}

impl Target {
    /// Reads everything that is shown.
    async fn read(&self) -> ActuatorView {
        let health = self.health().await;
        if let Err(ActuatorError::Fetch(error)) = &health
            && error.is_offline()
        {
            return ActuatorView {
                problem: error.to_string(),
                ..ActuatorView::default()
            };
        }
        let (info, uptime, breakers, events, exchanges, env) = tokio::join!(
            self.get(&["info"]),
            self.get(&["metrics", "process.uptime"]),
            self.get(&["circuitbreakers"]),
            self.get(&["circuitbreakerevents"]),
            self.get(&["httpexchanges"]),
            self.get(&["env"]),
        );
        let (health, problem) = match health {
            Ok(health) => (Some(health), String::new()),
            Err(error) => (None, error.to_string()),
        };
        let json = |read: Result<Value, ActuatorError>| read.unwrap_or_default();
        ActuatorView {
            problem,
            health,
            info: read::info(&json(info)),
            uptime_s: read::uptime(&json(uptime)),
            breakers: read::breakers(&json(breakers)),
            events: read::breaker_events(&json(events)),
            exchanges: read::exchanges(&json(exchanges), self.path()),
            properties: read::properties(&json(env)),
        }
    }
}

/// Reads any bytes as each answer of an actuator.
///
/// # Panics
/// When a health check has a reason although it is up.
pub(crate) fn fuzz(body: &[u8]) {
    let health = read::health(StatusCode::OK, body);
    assert!(health.status != crate::model::InstanceStatus::Up || health.reason.is_empty());
    let json = serde_json::from_slice(body).unwrap_or_default();
    let (_, _) = (read::info(&json), read::properties(&json));
    let _ = read::uptime(&json);
    let (_, _) = (read::loggers(&json), read::breakers(&json));
    let (_, _) = (
        read::breaker_events(&json),
        read::exchanges(&json, "/actuator"),
    );
}

fn id(service: &str, instance: &str) -> Id {
    (service.to_lowercase(), instance.to_owned())
}
