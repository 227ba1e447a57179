//! Limits of the registry, and the errors of its changes.

use std::net::IpAddr;

use fusebox::control::{BY_CHARS_MAX, REASON_CHARS_MAX};

use super::ChangedBy;
use crate::model::{Registration, one_line};
use crate::store::StoreError;

/// Registered instances; as many as the wall holds.
pub(super) const INSTANCES_MAX: usize = 10_000;
/// Services with registered instances; as many as the live figures hold.
pub(super) const SERVICES_MAX: usize = 1_000;
/// Instances that one sender may register however full the registry is: the processes of a host.
pub(super) const PER_SENDER_MIN: usize = 100;
/// Share of each limit, percent, beyond which the room is for senders with fewer: one alone cannot fill the registry.
pub(super) const CROWDED_PERCENT: usize = 80;
/// All texts of all registrations, bytes; they are in memory.
pub(super) const ALL_BYTES_MAX: usize = 64 << 20;
/// The same of instances that are gone, of which the oldest are forgotten.
pub(super) const GONE_BYTES_MAX: usize = 8 << 20;
/// Longest name of a service or instance, bytes, as in their telemetry.
const NAME_BYTES_MAX: usize = 255;
/// All texts of one registration, bytes; those of Spring Cloud have about 700.
const REGISTRATION_BYTES_MAX: usize = 16 << 10;
/// Metadata of one instance.
const METADATA_MAX: usize = 100;

/// The address from which an instance registers; those behind a gateway have one. The default is none, which is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sender(pub(crate) Option<IpAddr>);

/// Why a change of the registry was rejected.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The instance is not registered, or must register again.
    #[error("this instance is not registered; it must register first")]
    Unknown,
    /// A value is missing or too long.
    #[error("{parameter}: {problem}")]
    Invalid {
        /// The invalid value.
        parameter: &'static str,
        /// What is wrong, and what would be valid.
        problem: String,
    },
    /// A limit of the registry is reached.
    #[error("the registry is full: there are {0} already")]
    Full(&'static str),
    /// It could not be stored.
    #[error("could not store the change: {0}")]
    Store(#[from] StoreError),
}

/// Returns the registration if it is within the limits.
pub(super) fn checked(mut registration: Registration) -> Result<Registration, RegistryError> {
    name("service", &registration.service)?;
    name("instance", &registration.instance)?;
    if registration.metadata.len() > METADATA_MAX {
        let problem = format!("more than {METADATA_MAX} values");
        return Err(invalid("metadata", problem));
    }
    // Eureka's formats have other meanings for these.
    let is_reserved = |name: &String| name.is_empty() || name.starts_with('@') || name == "$";
    if registration.metadata.keys().any(is_reserved) {
        return Err(invalid(
            "metadata",
            "a name is empty, `$`, or begins with @",
        ));
    }
    if registration.bytes() > REGISTRATION_BYTES_MAX {
        let problem = format!("more than {REGISTRATION_BYTES_MAX} bytes in all");
        return Err(invalid("registration", problem));
    }
    registration.lease = registration.lease.bounded();
    Ok(registration)
}

fn name(parameter: &'static str, name: &str) -> Result<(), RegistryError> {
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    is_name.then_some(()).ok_or_else(|| {
        let problem = format!("must have 1 to {NAME_BYTES_MAX} bytes without control characters");
        invalid(parameter, problem)
    })
}

/// Returns name and reason of an operator if both are one line.
pub(super) fn operator(by: ChangedBy) -> Result<ChangedBy, RegistryError> {
    let line = |parameter, text: &str, chars_max| {
        one_line(text, chars_max).map_err(|problem| invalid(parameter, problem))
    };
    Ok(ChangedBy {
        reason: line("reason", &by.reason, REASON_CHARS_MAX)?,
        name: line("by", &by.name, BY_CHARS_MAX)?,
    })
}

fn invalid(parameter: &'static str, problem: impl Into<String>) -> RegistryError {
    let problem = problem.into();
    RegistryError::Invalid { parameter, problem }
}
