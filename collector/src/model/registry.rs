//! Registered instances of services, and the stored changes of the registry.

use std::collections::BTreeMap;
use std::time::Duration;

use fusebox::registry::STARTUP;
use serde::{Deserialize, Serialize};

use super::{CircuitKey, Details, SECOND, UnixNanos, parse_timestamp};
use crate::secret::Secret;

/// What an instance registered about itself; empty texts are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Registration {
    /// The service; names that differ only in case are one service.
    pub service: String,
    /// The id of the instance, unique within its service.
    pub instance: String,
    /// The protocol by which it registered.
    pub source: RegistrySource,
    /// The status that it reported.
    pub status: InstanceStatus,
    /// Its host name.
    pub host: String,
    /// Its IP address.
    pub ip: String,
    /// Its port for `http`.
    pub port: Port,
    /// Its port for `https`.
    pub secure_port: Port,
    /// Eureka's virtual addresses, separated by commas, under which clients look up the service.
    pub vip: String,
    /// The virtual addresses of its `https` port.
    pub secure_vip: String,
    /// Eureka's group of applications.
    pub group: String,
    /// Eureka's data center: `MyOwn`, `Netflix` or `Amazon`.
    pub data_center: String,
    /// Its URLs.
    pub links: Links,
    /// Free names and values.
    pub metadata: BTreeMap<String, String>,
    /// The user of its actuator, which is neither stored nor shown: an instance that has one registers every few seconds.
    #[serde(skip)]
    pub credentials: Option<Credentials>,
    /// How often it renews its registration.
    pub lease: Lease,
    /// When it last changed its registration, milliseconds since 1970 by its own clock; 0 if unknown.
    pub revised_ms: u64,
}

/// A user with a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// URLs of an instance; empty if it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Links {
    /// Its home page.
    pub home: String,
    /// Its status page.
    pub status_page: String,
    /// Its health check.
    pub health: String,
    /// Its health check by `https`.
    pub secure_health: String,
    /// Its actuator.
    pub management: String,
}

/// A port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Port {
    /// The number; 0 if unknown.
    pub number: u16,
    /// Whether the instance serves on it.
    pub is_enabled: bool,
}

/// How an instance registered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrySource {
    /// By our library, over its connection for telemetry.
    #[default]
    Fusebox,
    /// By Eureka's REST API.
    Eureka,
    /// As a client of Spring Boot Admin.
    SpringBootAdmin,
}

/// The status of an instance, by the names that Eureka and Spring Boot use.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InstanceStatus {
    /// It takes requests.
    Up,
    /// It does not work.
    Down,
    /// It is not ready yet.
    Starting,
    /// It works, but must not get requests.
    OutOfService,
    /// It said nothing about it.
    #[default]
    Unknown,
    /// Its health check could not be reached.
    Offline,
}

/// How often an instance renews its registration, and how long that is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The interval of renewals, seconds.
    pub renewal_s: u32,
    /// The time after the last renewal at which the registration expires, seconds.
    pub duration_s: u32,
}

/// A registered instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// What it registered.
    #[serde(flatten)]
    pub registration: Registration,
    /// What its actuator says about its program.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub details: Details,
    /// The status set by an operator, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<ForcedStatus>,
    /// When it registered, by the collector's clock.
    #[serde(rename = "registered_unix_nanos")]
    pub since: UnixNanos,
    /// When its registration, status or metadata changed last, by the collector's clock.
    #[serde(rename = "changed_unix_nanos")]
    pub changed: UnixNanos,
    /// When its status changed last, by the collector's clock.
    #[serde(rename = "status_changed_unix_nanos", default)]
    pub status_changed: UnixNanos,
}

/// A status set by an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForcedStatus {
    /// The status.
    pub status: InstanceStatus,
    /// Who set it; empty if the request did not say.
    pub by: String,
    /// Why it was set.
    pub reason: String,
    /// When it was set, by the collector's clock.
    #[serde(rename = "since_unix_nanos")]
    pub since: UnixNanos,
}

/// A stored change of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryEntry {
    /// The service.
    pub service: String,
    /// The instance.
    pub instance: String,
    /// When it happened, by the collector's clock.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
    /// What happened.
    pub event: RegistryEvent,
    /// What changed, such as `STARTING to UP`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The operator or the user of the request; empty for what the instance did itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The operator's reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The instance after the change; stored as `None` if it is no longer registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Box<Registered>>,
}

/// What happened to a registered instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistryEvent {
    /// It registered.
    Registered,
    /// It registered with other values, or its metadata changed.
    Updated,
    /// It reported another status.
    StatusChanged,
    /// Its actuator has other information about its program.
    InfoChanged,
    /// Its actuator has other endpoints.
    EndpointsDetected,
    /// An operator set its status.
    StatusForced,
    /// It has its own status again.
    StatusReleased,
    /// It ended its registration.
    Left,
    /// It did not renew its registration in time.
    Expired,
    /// Nothing: the record repeats a registration that would otherwise be older than the retention.
    Repeated,
}

impl RegistryEvent {
    /// Every event that is listed in the journal.
    pub const LISTED: [Self; 7] = [
        Self::Registered,
        Self::Updated,
        Self::StatusChanged,
        Self::StatusForced,
        Self::StatusReleased,
        Self::Left,
        Self::Expired,
    ];

    /// Returns the name in URLs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Updated => "updated",
            Self::StatusChanged => "status_changed",
            Self::InfoChanged => "info_changed",
            Self::EndpointsDetected => "endpoints_detected",
            Self::StatusForced => "status_forced",
            Self::StatusReleased => "status_released",
            Self::Left => "left",
            Self::Expired => "expired",
            Self::Repeated => "repeated",
        }
    }

    /// Returns whether the journal lists it: what only a reader of an actuator asks for is left out.
    pub fn is_listed(self) -> bool {
        Self::LISTED.contains(&self)
    }

    /// Parses the name of a listed event.
    pub fn parse(word: &str) -> Option<Self> {
        Self::LISTED
            .into_iter()
            .find(|event| event.as_str() == word)
    }
}

impl InstanceStatus {
    /// Every status that an instance reports about itself.
    pub const ALL: [Self; 5] = [
        Self::Up,
        Self::Down,
        Self::Starting,
        Self::OutOfService,
        Self::Unknown,
    ];

    /// Returns the name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::Starting => "STARTING",
            Self::OutOfService => "OUT_OF_SERVICE",
            Self::Unknown => "UNKNOWN",
            Self::Offline => "OFFLINE",
        }
    }

    /// Parses the name of a status that an instance reports, ignoring case.
    pub fn parse(word: &str) -> Option<Self> {
        let is_name = |status: &Self| status.as_str().eq_ignore_ascii_case(word);
        Self::ALL.into_iter().find(is_name)
    }

    /// Parses the name of any status.
    pub(crate) fn parse_any(word: &str) -> Option<Self> {
        let is_offline = word == Self::Offline.as_str();
        is_offline
            .then_some(Self::Offline)
            .or_else(|| Self::parse(word))
    }
}

impl Default for Lease {
    /// Returns Eureka's defaults.
    fn default() -> Self {
        Self {
            renewal_s: 30,
            duration_s: 90,
        }
    }
}

impl Lease {
    /// Longest interval of renewals, seconds: for so long, what registered once and is no instance takes room.
    const RENEWAL_S_MAX: u32 = 600;
    /// Longest validity, in renewals.
    const RENEWALS_MAX: u32 = 10;
    /// How late a renewal may arrive: timers and networks are not exact.
    const SLACK: Duration = SECOND.saturating_mul(5);

    /// Returns a lease within the limits: 1 s to ten minutes between renewals, valid for one to ten of them.
    #[must_use]
    pub fn bounded(self) -> Self {
        let renewal_s = self.renewal_s.clamp(1, Self::RENEWAL_S_MAX);
        Self {
            renewal_s,
            duration_s: self
                .duration_s
                .clamp(renewal_s, renewal_s * Self::RENEWALS_MAX),
        }
    }

    /// Returns how long an instance may be silent before a renewal is missing.
    pub fn late_after(self) -> Duration {
        SECOND * self.renewal_s + Self::SLACK.min(SECOND * self.renewal_s)
    }

    /// Returns how long an instance may be silent before its registration expires: what it asked for, once.
    /// Eureka's server adds that time twice and so needs twice as long.
    pub fn expires_after(self) -> Duration {
        (SECOND * self.duration_s).max(self.late_after())
    }
}

impl Registered {
    /// Returns the length of all its texts, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.registration.bytes() + self.details.bytes()
    }

    /// Returns since when it has its status. A record of an earlier version does not say it.
    pub fn status_since(&self) -> UnixNanos {
        match self.status_changed == UnixNanos::default() {
            true => self.changed,
            false => self.status_changed,
        }
    }

    /// Returns the status for clients. What an instance says about itself when it cannot take requests is
    /// better known to it than to anyone else; otherwise the status set from outside counts.
    pub fn status(&self) -> InstanceStatus {
        let reported = self.registration.status;
        match (&self.forced, reported) {
            (Some(forced), InstanceStatus::Up | InstanceStatus::OutOfService) => forced.status,
            _ => reported,
        }
    }
}

impl Registration {
    /// Returns the address at which the instance is called; empty if it has none.
    pub fn address(&self) -> String {
        let host = match self.host.as_str() {
            "" => &self.ip,
            host => host,
        };
        let is_ipv6 = host.contains(':') && !host.starts_with('[');
        let host = match is_ipv6 {
            true => format!("[{host}]"),
            false => host.to_owned(),
        };
        match (self.secure_port.is_enabled, self.port.is_enabled) {
            _ if host.is_empty() => self.links.home.clone(),
            (true, _) => format!("https://{host}:{}", self.secure_port.number),
            (false, true) => format!("http://{host}:{}", self.port.number),
            (false, false) => self.links.home.clone(),
        }
    }

    /// Returns the version of the program; empty if its metadata does not name one.
    pub fn version(&self) -> &str {
        let names = ["version", "service.version", "info.version"];
        let version = names.iter().find_map(|name| self.metadata.get(*name));
        version.map_or("", String::as_str)
    }

    /// Returns when the process started, if its registration says so.
    pub fn started(&self) -> Option<UnixNanos> {
        parse_timestamp(self.metadata.get(STARTUP)?)
    }

    /// Returns the names of the fields in which another registration differs.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let address = |of: &Self| (of.host.clone(), of.ip.clone(), of.port, of.secure_port);
        let names = |of: &Self| (of.vip.clone(), of.secure_vip.clone(), of.group.clone());
        [
            ("name", self.service != other.service),
            ("protocol", self.source != other.source),
            ("data center", self.data_center != other.data_center),
            ("status", self.status != other.status),
            ("address", address(self) != address(other)),
            ("virtual address", names(self) != names(other)),
            ("links", self.links != other.links),
            ("metadata", self.metadata != other.metadata),
            ("lease", self.lease != other.lease),
        ]
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| name)
        .collect()
    }

    /// Returns the length of all its texts, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let Links {
            home,
            status_page,
            health,
            secure_health,
            management,
        } = &self.links;
        let texts = [
            &self.service,
            &self.instance,
            &self.host,
            &self.ip,
            &self.vip,
            &self.secure_vip,
            &self.group,
            &self.data_center,
            home,
            status_page,
            health,
            secure_health,
            management,
        ];
        let metadata = self.metadata.iter().flat_map(|(name, value)| [name, value]);
        let texts = texts.into_iter().chain(metadata).map(String::as_str);
        let credentials = self.credentials.iter();
        let credentials = credentials.flat_map(|user| [user.name.as_str(), user.password.expose()]);
        texts.chain(credentials).map(str::len).sum()
    }
}

impl RegistryEntry {
    /// Returns whether the registration ended.
    pub fn is_end(&self) -> bool {
        matches!(self.event, RegistryEvent::Left | RegistryEvent::Expired)
    }

    pub(crate) fn key(&self) -> CircuitKey {
        CircuitKey {
            service: self.service.clone(),
            name: self.instance.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_never_doubled_and_always_bounded() {
        let lease = Lease::default().bounded();
        assert_eq!(lease.late_after(), SECOND * 35);
        assert_eq!(lease.expires_after(), SECOND * 90);
        let hasty = Lease {
            renewal_s: 0,
            duration_s: 0,
        };
        assert_eq!(hasty.bounded().late_after(), SECOND * 2);
        assert_eq!(hasty.bounded().expires_after(), SECOND * 2);
        let endless = Lease {
            renewal_s: u32::MAX,
            duration_s: u32::MAX,
        };
        assert_eq!(endless.bounded().expires_after(), SECOND * 6_000);
    }

    #[test]
    fn an_address_is_a_url() {
        let mut registration = Registration {
            ip: "::1".to_owned(),
            port: Port {
                number: 8080,
                is_enabled: true,
            },
            ..Registration::default()
        };
        assert_eq!(registration.address(), "http://[::1]:8080");
        registration.host = "shop-1".to_owned();
        registration.secure_port = Port {
            number: 8443,
            is_enabled: true,
        };
        assert_eq!(registration.address(), "https://shop-1:8443");
    }
}
