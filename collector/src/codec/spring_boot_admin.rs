//! The messages of Spring Boot Admin: the registration that a client sends, and instances, applications and events in the
//! fields of its server. Pure; `api::spring_boot_admin` has the routes.

use std::collections::BTreeMap;
use std::fmt::Write;

use fusebox::http::is_secret_name;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::model::{
    Credentials, InstanceStatus, Links, Port, Registered, Registration, RegistryEntry,
    RegistryEvent, RegistrySource, UnixNanos, format_timestamp,
};

/// Digits of an id.
const ID_DIGITS: usize = 12;
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
    management_url: Option<String>,
    #[serde(default)]
    health_url: String,
    service_url: Option<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

/// Reads the registration of a client. It says nothing about its status.
pub(crate) fn read_registration(body: &[u8]) -> Result<Registration, AdminError> {
    let mut read: Application = serde_json::from_slice(body)?;
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
        false => (name, value),
    };
    metadata.into_iter().map(mask).collect()
}

/// Returns an instance in the fields of Spring Boot Admin's server; `reason` says why it has its status.
pub(crate) fn instance(registered: &Registered, reason: &str) -> Value {
    let status = registered.status();
    json!({
        "id": registered.registration.instance,
        "version": registered.changed.millis(),
        "registration": registration(&registered.registration),
        "registered": true,
        "statusInfo": status_info(status, reason),
        "statusTimestamp": format_timestamp(registered.changed),
        "buildVersion": Some(registered.registration.version()).filter(|version| !version.is_empty()),
        "info": {},
        "endpoints": [],
        "tags": tags(&registered.registration),
    })
}

fn status_info(status: InstanceStatus, reason: &str) -> Value {
    let details = match reason {
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

fn tags(registration: &Registration) -> Value {
    let metadata = registration.metadata.iter();
    let tags = metadata.filter_map(|(name, value)| Some((name.strip_prefix("tags.")?, value)));
    tags.map(|(name, value)| (name.to_owned(), Value::from(value.as_str())))
        .collect()
}

/// Returns the application of instances that have one name. Its status is the one that all have, or that it is restricted.
pub(crate) fn application(name: &str, instances: &[(Registered, String)]) -> Value {
    let statuses = instances.iter().map(|(one, _)| one.status());
    let mut statuses: Vec<_> = statuses.collect();
    statuses.sort_unstable();
    statuses.dedup();
    let status = match statuses[..] {
        [one] => one.as_str(),
        [InstanceStatus::Up, ..] => "RESTRICTED",
        _ => InstanceStatus::Down.as_str(),
    };
    let changed = instances.iter().map(|(one, _)| one.changed).max();
    let listed = instances.iter();
    let listed = listed.map(|(one, reason)| instance(one, reason));
    json!({
        "name": name,
        "buildVersion": null,
        "status": status,
        "statusTimestamp": format_timestamp(changed.unwrap_or(UnixNanos::default())),
        "instances": listed.collect::<Vec<_>>(),
    })
}

/// Returns an entry of the journal as an event; `known` is the instance as it is or was last. `None` for entries that are no
/// events.
pub(crate) fn event(entry: &RegistryEntry, known: Option<&Registered>) -> Option<Value> {
    let state = entry.state.as_deref().or(known);
    let mut event = json!({
        "instance": entry.instance,
        "version": entry.time.millis(),
        "timestamp": format_timestamp(entry.time),
    });
    let (kind, (field, value)) = match entry.event {
        RegistryEvent::Registered => ("REGISTERED", of_registration(state)?),
        RegistryEvent::Updated => ("REGISTRATION_UPDATED", of_registration(state)?),
        RegistryEvent::StatusChanged
        | RegistryEvent::StatusForced
        | RegistryEvent::StatusReleased => {
            let (status, reason) = status_of(entry, state);
            (
                "STATUS_CHANGED",
                ("statusInfo", status_info(status, reason)),
            )
        }
        RegistryEvent::Left | RegistryEvent::Expired => {
            ("DEREGISTERED", ("registered", json!(false)))
        }
        RegistryEvent::Repeated => return None,
    };
    event["type"] = Value::from(kind);
    event[field] = value;
    Some(event)
}

fn of_registration(state: Option<&Registered>) -> Option<(&'static str, Value)> {
    Some(("registration", registration(&state?.registration)))
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
