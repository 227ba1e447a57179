//! Changes of registered instances before they are stored.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::ChangedBy;
use crate::model::{
    Details, ForcedStatus, InstanceStatus, Registered, Registration, RegistryEntry, RegistryEvent,
    UnixNanos,
};

/// A registered instance with its lease.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The instance.
    pub registered: Arc<Registered>,
    /// Its last renewal, by the collector's clock.
    pub last_renewed: UnixNanos,
    /// Whether it registered since the collector started; else it is known from before, without what is not stored.
    pub has_registered: bool,
}

/// A change that is not stored yet.
#[derive(Debug)]
pub(super) struct Draft {
    event: RegistryEvent,
    detail: String,
    by: ChangedBy,
    registered: Registered,
}

impl Listed {
    /// Returns the draft of an event that changes nothing in its registration.
    pub(super) fn draft(&self, event: RegistryEvent) -> Draft {
        Draft::new(event, Registered::clone(&self.registered))
    }

    /// Returns the draft of a reported status, if it is another one.
    pub(super) fn with_status(
        &self,
        status: InstanceStatus,
        reason: &str,
        health: Map<String, Value>,
    ) -> Option<Draft> {
        let before = self.registered.registration.status;
        let mut registered = Registered::clone(&self.registered);
        registered.registration.status = status;
        registered.details.health = health;
        let draft = Draft::new(RegistryEvent::StatusChanged, registered);
        let mut detail = format!("{} to {}", before.as_str(), status.as_str());
        if !reason.is_empty() {
            detail.push_str(": ");
            detail.push_str(reason);
        }
        (before != status).then(|| draft.with_detail(detail))
    }

    /// Returns the draft of what its actuator says, if it is something else.
    pub(super) fn with_details(&self, event: RegistryEvent, details: Details) -> Option<Draft> {
        let mut registered = Registered::clone(&self.registered);
        let before = std::mem::replace(&mut registered.details, details);
        (before != registered.details).then(|| Draft::new(event, registered))
    }

    /// Returns the draft of a status set by an operator, or of its end; `None` if nothing changes.
    pub(super) fn with_forced(
        &self,
        status: Option<InstanceStatus>,
        by: ChangedBy,
        now: UnixNanos,
    ) -> Option<Draft> {
        let mut registered = Registered::clone(&self.registered);
        let known = registered.forced.take().map(|forced| forced.status);
        if known == status {
            return None;
        }
        registered.forced = status.map(|status| ForcedStatus {
            status,
            by: by.name.clone(),
            reason: by.reason.clone(),
            since: now,
        });
        let (event, detail) = match status {
            Some(status) => (RegistryEvent::StatusForced, status.as_str()),
            None => (RegistryEvent::StatusReleased, ""),
        };
        let draft = Draft::new(event, registered).with_detail(detail.to_owned());
        Some(draft.with_by(by))
    }
}

impl Draft {
    pub(super) fn new(event: RegistryEvent, registered: Registered) -> Self {
        Self {
            event,
            detail: String::new(),
            by: ChangedBy::default(),
            registered,
        }
    }

    pub(super) fn with_by(self, by: ChangedBy) -> Self {
        Self { by, ..self }
    }

    pub(super) fn with_detail(self, detail: String) -> Self {
        Self { detail, ..self }
    }

    /// Returns the draft with the time of the change by the instance's clock.
    pub(super) fn revised(mut self, revised_ms: u64) -> Self {
        self.registered.registration.revised_ms = revised_ms;
        self
    }

    /// Returns the bytes of the instance that are stored.
    pub(super) fn written_bytes(&self) -> usize {
        match self.event {
            RegistryEvent::Left | RegistryEvent::Expired => 0,
            _ => self.registered.bytes(),
        }
    }

    /// Returns what it registered, or registers.
    pub(super) fn registration(&self) -> &Registration {
        &self.registered.registration
    }

    /// Returns the entry for the journal.
    pub(super) fn entry(mut self, now: UnixNanos) -> RegistryEntry {
        let registered = &mut self.registered;
        match self.event {
            RegistryEvent::Registered => {
                (registered.since, registered.changed) = (now, now);
                registered.status_changed = now;
            }
            RegistryEvent::StatusChanged
            | RegistryEvent::StatusForced
            | RegistryEvent::StatusReleased => {
                (registered.changed, registered.status_changed) = (now, now);
            }
            // No client of the registry asks for these.
            RegistryEvent::Repeated
            | RegistryEvent::InfoChanged
            | RegistryEvent::EndpointsDetected => {}
            RegistryEvent::Updated | RegistryEvent::Left | RegistryEvent::Expired => {
                registered.changed = now;
            }
        }
        let is_gone = matches!(self.event, RegistryEvent::Left | RegistryEvent::Expired);
        RegistryEntry {
            service: self.registered.registration.service.clone(),
            instance: self.registered.registration.instance.clone(),
            time: now,
            event: self.event,
            detail: self.detail,
            by: self.by.name,
            reason: self.by.reason,
            state: (!is_gone).then(|| Box::new(self.registered)),
        }
    }
}
