//! The actuators of registered instances: their health is checked periodically, the pages read more, and operators' changes
//! of log levels and circuit breakers are passed on. Requests go only to addresses that are registered and allowed
//! (`--actuator-network`). What is stored is in `live::registry` and `live::circuits::control`; here are the requests.

mod apply;
mod bridge;
mod check;
mod details;
mod fetch;
#[cfg(test)]
mod fixture;
mod held;
mod read;
mod reads;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;

pub(crate) use bridge::pass_on;
pub use check::Checked;
pub(crate) use check::watch;
pub(crate) use details::follow;
pub use read::{Breaker, BreakerEvent, Component, Exchange, Health, Property};

use self::fetch::{FetchError, Fetcher};
use self::reads::Reads;
use self::target::Target;
use crate::live::registry::{Listed, Registry};
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
    reads: Reads,
}

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum ActuatorError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("its actuator answered {status} to /{path}")]
    Status { status: StatusCode, path: String },
    #[error("its actuator answered no JSON to /{path}")]
    Json { path: String },
    #[error("it registered a health check and no actuator")]
    HealthOnly,
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
    /// Why parts of it could not be read, such as a user that is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// The endpoints that have not answered in time; a later request may have them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<String>,
}

impl Actuators {
    /// Returns the actuators of the registered instances in these networks, at these ports if any are named.
    pub fn new(registry: Registry, networks: Vec<Network>, ports: Vec<u16>) -> Self {
        Self {
            fetcher: Fetcher::new(networks, ports),
            registry,
            checked: Arc::default(),
            reads: Reads::default(),
        }
    }

    /// Returns the last check of an instance; `None` if there was none.
    pub fn checked(&self, service: &str, instance: &str) -> Option<Checked> {
        self.checked.lock().get(&id(service, instance)).cloned()
    }

    /// Returns what the actuator of an instance says, as far as it is known within 2 s; `None` if it has none, or if none may be
    /// read.
    pub async fn read(&self, service: &str, instance: &str) -> Option<ActuatorView> {
        let listed = self.registry.find(service, instance)?;
        let target = self.target_of(&listed)?;
        let checked = self.checked(service, instance);
        let offline = checked.filter(|checked| checked.status == InstanceStatus::Offline);
        if let Some(checked) = offline {
            // A page does not wait for what the last check waited for in vain.
            return Some(ActuatorView {
                problem: checked.reason,
                ..ActuatorView::default()
            });
        }
        Some(self.reads.read(id(service, instance), target).await)
    }

    /// Returns the actuator of an instance, if it has one and any may be read.
    fn target_of(&self, listed: &Listed) -> Option<Target> {
        let registration = &listed.registered.registration;
        let target = Target::of(registration, &self.fetcher);
        target.filter(|_| self.fetcher.is_enabled())
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
