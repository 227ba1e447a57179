//! The messages of Spring Boot Admin: the registration that a client sends, and instances, applications and events in the
//! fields of its server. Pure; `api::spring_boot_admin` has the routes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use fusebox::http::is_secret_name;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use url::Url;

use super::redact;
use crate::model::{
    Credentials, Details, InstanceStatus, Links, Port, Registered, Registration, RegistryEntry,
    RegistryEvent, RegistrySource, UnixNanos, format_timestamp,
};

/// Digits of an id.
const ID_DIGITS: usize = 12;
/// The statuses in Spring Boot Admin's order, with the one that it does not know.
const WORST_FIRST: [InstanceStatus; 6] = [
    InstanceStatus::Down,
    InstanceStatus::OutOfService,
    InstanceStatus::Offline,
    InstanceStatus::Starting,
    InstanceStatus::Unknown,
    InstanceStatus::Up,
];
/// The names of the metadata that hold the user of the actuator.
const USER: (&str, &str) = ("user.name", "user.password");
/// What stands for a secret value, as in Spring Boot Admin.
const MASK: &str = "******";

/// Why a registration was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    #[error("the JSON could not be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}: must not be empty")]
    Missing(&'static str),
    #[error(
        "{0}: must be an http or https URL with a host, and without user, password, query and fragment"
    )]
    Url(&'static str),
}

/// The registration of a client; further fields are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Application {
    #[serde(default)]
    name: String,
    #[serde(alias = "management_url")]
    management_url: Option<String>,
    #[serde(default, alias = "health_url")]
    health_url: String,
    #[serde(alias = "service_url")]
    service_url: Option<String>,
    /// The actuator's, in place of these; the health check is in it.
    url: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    metadata: BTreeMap<String, String>,
}

/// Reads values of metadata, numbers and words too.
fn texts<'de, D: Deserializer<'de>>(reader: D) -> Result<BTreeMap<String, String>, D::Error> {
    let values = Option::<BTreeMap<String, Value>>::deserialize(reader)?;
    let values = values
        .into_iter()
        .flatten()
        .map(|(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            Value::Number(_) | Value::Bool(_) => Ok((name, value.to_string())),
            _ => Err(D::Error::custom(format!("metadata: {name} must be a text"))),
        });
    values.collect()
}

/// Reads the registration of a client. It says nothing about its status.
pub(crate) fn read_registration(body: &[u8]) -> Result<Registration, AdminError> {
    let mut read: Application = serde_json::from_slice(body)?;
    if let Some(url) = read.url.take() {
        read.health_url = format!("{}/health", url.trim_end_matches('/'));
        read.management_url = Some(url);
    }
    if read.name.trim().is_empty() {
        return Err(AdminError::Missing("name"));
    }
    let health = url("healthUrl", &read.health_url)?;
    let optional = |name, text: &Option<String>| match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => url(name, text).map(Some),
    };
    let management = optional("managementUrl", &read.management_url)?;
    let service = optional("serviceUrl", &read.service_url)?;
    let address = service.as_ref().or(management.as_ref()).unwrap_or(&health);
    let text = |url: &Option<Url>| url.as_ref().map(Url::to_string).unwrap_or_default();
    Ok(Registration {
        service: read.name,
        instance: id_of(&read.health_url),
        source: RegistrySource::SpringBootAdmin,
        host: host(address),
        port: port(address, "http"),
        secure_port: port(address, "https"),
        links: Links {
            home: text(&service),
            health: health.to_string(),
            management: text(&management),
            ..Links::default()
        },
        credentials: credentials(&mut read.metadata),
        metadata: masked(read.metadata),
        ..Registration::default()
    })
}

/// Returns the id of an instance, as Spring Boot Admin's server makes it: of the SHA-1 of its health check's URL.
fn id_of(health_url: &str) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, health_url.as_bytes());
    let mut id = String::new();
    for byte in hash.as_ref().iter().take(ID_DIGITS / 2) {
        let _ = write!(id, "{byte:02x}");
    }
    id
}

/// Reads the URL of an instance. What is in it may be shown, and is fetched.
fn url(name: &'static str, text: &str) -> Result<Url, AdminError> {
    if text.trim().is_empty() {
        return Err(AdminError::Missing(name));
    }
    let url = Url::parse(text).map_err(|_| AdminError::Url(name))?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.port() != Some(0)
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    is_plain.then_some(url).ok_or(AdminError::Url(name))
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned()
}

fn port(url: &Url, scheme: &str) -> Port {
    match url.scheme() == scheme {
        true => Port {
            number: url.port_or_known_default().unwrap_or_default(),
            is_enabled: true,
        },
        false => Port::default(),
    }
}

/// Takes the user of the actuator from the metadata.
fn credentials(metadata: &mut BTreeMap<String, String>) -> Option<Credentials> {
    let (name, password) = (metadata.remove(USER.0), metadata.remove(USER.1));
    Some(Credentials {
        name: name?,
        password: password?.into(),
    })
}

fn masked(metadata: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mask = |(name, value): (String, String)| match is_secret_name(&name) {
        true => (name, MASK.to_owned()),
        false => {
            let value = redact::text(&value).into_owned();
            (name, value)
        }
    };
    metadata.into_iter().map(mask).collect()
}

/// Returns an instance in the fields of Spring Boot Admin's server; `reason` says why it has its status.
pub(crate) fn instance(registered: &Registered, reason: &str) -> Value {
    let status = registered.status();
    json!({
        "id": registered.registration.instance,
        "version": registered.changed.micros(),
        "registration": registration(&registered.registration),
        "registered": true,
        "statusInfo": status_info(status, reason, &registered.details),
        "statusTimestamp": format_timestamp(registered.status_since()),
        "buildVersion": build_version(registered),
        "info": registered.details.info,
        "endpoints": endpoints(registered),
        "tags": tags(registered),
    })
}

/// Returns the endpoints, of which the health check is one that was registered.
fn endpoints(registered: &Registered) -> Value {
    let mut endpoints = registered.details.endpoints.clone();
    let health = registered.registration.links.health.clone();
    endpoints.insert("health".to_owned(), health);
    let endpoints = endpoints.into_iter();
    endpoints
        .map(|(id, url)| json!({"id": id, "url": url}))
        .collect()
}

/// Returns the version that the metadata has, else that of `info`.
fn build_version(registered: &Registered) -> Option<&str> {
    let Registered {
        registration,
        details,
        ..
    } = registered;
    let metadata = ["build.version", "version"].into_iter();
    let metadata = metadata.filter_map(|name| registration.metadata.get(name).map(String::as_str));
    let info = &details.info;
    let of_build = info
        .get("build")
        .and_then(|build| build["version"].as_str());
    let flat = ["build.version", "version"].into_iter();
    let flat = flat.filter_map(|name| info.get(name)?.as_str());
    metadata.chain(of_build).chain(flat).next()
}

/// Returns the status with the parts of the health, or with the reason that the actuator cannot be read.
fn status_info(status: InstanceStatus, reason: &str, details: &Details) -> Value {
    let details = match reason {
        _ if !details.health.is_empty() => Value::Object(details.health.clone()),
        "" => json!({}),
        reason => json!({"message": reason}),
    };
    json!({"status": status.as_str(), "details": details})
}

fn registration(registration: &Registration) -> Value {
    let links = &registration.links;
    let or_null = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "name": registration.service,
        "managementUrl": or_null(&links.management),
        "healthUrl": links.health,
        "serviceUrl": or_null(&links.home),
        "source": "http-api",
        "metadata": registration.metadata,
    })
}

/// Returns the tags of the metadata, and those of `info` in their place.
fn tags(registered: &Registered) -> Value {
    let metadata = registered.registration.metadata.iter();
    let tags = metadata.filter_map(|(name, value)| Some((name.strip_prefix("tags.")?, value)));
    let tags = tags.map(|(name, value)| (name.to_owned(), Value::from(value.as_str())));
    let of_info = registered
        .details
        .info
        .get("tags")
        .and_then(Value::as_object);
    let of_info = of_info
        .into_iter()
        .flatten()
        .map(|(name, value)| match value {
            Value::String(_) => (name.clone(), value.clone()),
            other => (name.clone(), Value::from(other.to_string())),
        });
    tags.chain(of_info).collect()
}

/// Returns the application of instances that have one name. Its status is the one that all have, else that it is restricted
/// while one is up, else the worst.
pub(crate) fn application(name: &str, instances: &[(Arc<Registered>, String)]) -> Value {
    let mut statuses: BTreeMap<InstanceStatus, UnixNanos> = BTreeMap::new();
    for (one, _) in instances {
        let since = statuses.entry(one.status()).or_default();
        *since = one.status_since().max(*since);
    }
    let (status, since) = status_of_all(&statuses);
    let mut versions: Vec<_> = instances
        .iter()
        .filter_map(|(one, _)| build_version(one))
        .collect();
    versions.sort_by(|a, b| version_parts(a).cmp(&version_parts(b)));
    versions.dedup();
    let version = match versions[..] {
        [] => None,
        [one] => Some(one.to_owned()),
        [first, .., last] => Some(format!("{first} ... {last}")),
    };
    let listed = instances.iter();
    let listed = listed.map(|(one, reason)| instance(one, reason));
    json!({
        "name": name,
        "buildVersion": version,
        "status": status,
        "statusTimestamp": format_timestamp(since),
        "instances": listed.collect::<Vec<_>>(),
    })
}

/// Returns the status of an application, and since when, by those of its instances.
fn status_of_all(statuses: &BTreeMap<InstanceStatus, UnixNanos>) -> (&'static str, UnixNanos) {
    let up = statuses.get(&InstanceStatus::Up);
    let others = statuses
        .iter()
        .filter(|(status, _)| **status != InstanceStatus::Up);
    if let (Some(up), Some(other)) = (up, others.map(|(_, since)| since).min()) {
        return ("RESTRICTED", *up.max(other));
    }
    let worst = WORST_FIRST
        .iter()
        .find_map(|status| statuses.get_key_value(status));
    worst.map_or(("UNKNOWN", UnixNanos::default()), |(status, since)| {
        (status.as_str(), *since)
    })
}

/// Parts of a version that are compared one by one: as numbers where both are.
fn version_parts(version: &str) -> Vec<(Option<u64>, &str)> {
    let parts = version.split(['.', '-', '+']);
    parts.map(|part| (part.parse().ok(), part)).collect()
}

/// Returns an entry of the journal, with the state of its instance, as an event. `None` for entries that are no events.
pub(crate) fn event(entry: &RegistryEntry) -> Option<Value> {
    let state = entry.state.as_deref();
    let mut event = json!({
        "instance": entry.instance,
        "version": entry.time.micros(),
        "timestamp": format_timestamp(entry.time),
    });
    let kind = match entry.event {
        RegistryEvent::Registered | RegistryEvent::Updated => {
            event["registration"] = registration(&state?.registration);
            match entry.event {
                RegistryEvent::Registered => "REGISTERED",
                _ => "REGISTRATION_UPDATED",
            }
        }
        RegistryEvent::StatusChanged
        | RegistryEvent::StatusForced
        | RegistryEvent::StatusReleased => {
            let (status, reason) = status_of(entry, state);
            event["statusInfo"] = status_info(status, reason, &state?.details);
            "STATUS_CHANGED"
        }
        RegistryEvent::InfoChanged => {
            event["info"] = Value::Object(state?.details.info.clone());
            "INFO_CHANGED"
        }
        RegistryEvent::EndpointsDetected => {
            event["endpoints"] = endpoints(state?);
            "ENDPOINTS_DETECTED"
        }
        RegistryEvent::Left | RegistryEvent::Expired => "DEREGISTERED",
        RegistryEvent::Repeated => return None,
    };
    event["type"] = Value::from(kind);
    Some(event)
}

/// Returns the status after an entry whose detail is `UP to DOWN: REASON` or a status.
fn status_of<'a>(
    entry: &'a RegistryEntry,
    state: Option<&Registered>,
) -> (InstanceStatus, &'a str) {
    let (change, reason) = entry.detail.split_once(": ").unwrap_or((&entry.detail, ""));
    let named = change
        .rsplit(' ')
        .next()
        .and_then(InstanceStatus::parse_any);
    let status = named.or(state.map(Registered::status)).unwrap_or_default();
    match entry.reason.as_str() {
        "" => (status, reason),
        why => (status, why),
    }
}
