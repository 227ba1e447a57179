//! Reads the answers of an actuator: health, info, loggers, circuit breakers, their events, and exchanges. Pure. Everything
//! is from a registered service: texts and lists are cut, what is missing or has another form is left out. Secrets are masked by
//! their names, and in every text by their form, whatever the service has masked itself.

use std::collections::BTreeMap;

use fusebox::control::{LOGGERS_MAX, Level, LoggerLevel};
use fusebox::http::is_secret_name;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::codec::redact;
use crate::model::{Details, InstanceStatus, UnixNanos, cut, parse_timestamp};

/// Longest text that is shown, bytes.
const TEXT_BYTES_MAX: usize = 300;
/// As much of a text is searched for secrets, so that none is shown because its end is cut off.
const SEARCHED_BYTES_MAX: usize = 4 << 10;
/// Rows of each list.
const ROWS_MAX: usize = 100;
/// Settings.
const PROPERTIES_MAX: usize = 200;
/// What stands for a secret value, as in Spring Boot.
const MASK: &str = "******";
/// Environment variables of a service begin with one of these.
const OWN_VARIABLES: [&str; 8] = [
    "SPRING_",
    "SERVER_",
    "MANAGEMENT_",
    "LOGGING_",
    "RESILIENCE4J_",
    "EUREKA_",
    "OTEL_",
    "FUSEBOX_",
];
/// Circuit breakers.
const BREAKERS_MAX: usize = 500;
/// Events and exchanges, the latest.
const RECENT_MAX: usize = 20;
/// Loggers that are shown by their place: packages, not single classes.
const DOTS_MAX: usize = 1;
/// Depth of nested components.
const DEPTH_MAX: usize = 4;

/// The health of an instance as its actuator says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The status.
    pub status: InstanceStatus,
    /// Why it is not up; empty if it is, or if the actuator does not say.
    pub reason: String,
    /// Its parts.
    pub components: Vec<Component>,
    /// The status of the answer.
    #[serde(skip)]
    pub(super) answer: StatusCode,
    /// The same as the actuator writes them, for readers of Spring Boot Admin's API.
    #[serde(skip)]
    pub details: Map<String, Value>,
}

/// A part of the health of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Its name, with those that contain it.
    pub name: String,
    /// Its status, as the actuator names it.
    pub status: String,
    /// Details, as `name: value`.
    pub detail: String,
}

/// A setting of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its value, if the actuator shows it and it is no secret.
    pub value: String,
    /// Where it comes from, such as `commandLineArgs` or the name of a file.
    pub source: String,
    /// The place there, if the actuator knows it.
    pub origin: String,
}

/// A circuit breaker of resilience4j.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breaker {
    /// Its name.
    pub name: String,
    /// Its state, such as `FORCED_OPEN`.
    pub state: String,
    /// The failure rate with its threshold, as the actuator writes them; empty if unknown.
    pub failure_rate: String,
    /// The share of slow calls with its threshold.
    pub slow_rate: String,
    /// Calls in the window.
    pub buffered: u64,
    /// Calls that it refused.
    pub not_permitted: u64,
}

/// An event of a circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreakerEvent {
    /// When, by the clock of the instance.
    #[serde(rename = "time_unix_nanos")]
    pub time: Option<UnixNanos>,
    /// The circuit breaker.
    pub breaker: String,
    /// What happened, such as `CLOSED_TO_FORCED_OPEN`.
    pub what: String,
}

/// A request that the instance answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// When, by the clock of the instance.
    #[serde(rename = "time_unix_nanos")]
    pub time: Option<UnixNanos>,
    /// Method and path.
    pub request: String,
    /// The status of the answer.
    pub status: u64,
    /// How long it took.
    pub took_nanos: Option<u64>,
    /// Its trace, if the request had one.
    pub trace: Option<String>,
}

/// Returns the health in an answer with that status.
pub(super) fn health(answer: StatusCode, body: &[u8]) -> Health {
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        return without_body(answer);
    };
    let Some(word) = json["status"].as_str() else {
        return without_body(answer);
    };
    let mut components = Vec::new();
    add_components(&json, "", 0, &mut components);
    let status = match InstanceStatus::parse(word) {
        Some(status) => status,
        // A status of its own, such as DEGRADED: the answer says whether it takes requests.
        None if answer.is_success() => InstanceStatus::Up,
        None => InstanceStatus::Down,
    };
    let is_bad = |one: &&Component| !matches!(one.status.as_str(), "UP" | "UNKNOWN");
    let bad = components.iter().filter(is_bad);
    let bad: Vec<_> = bad
        .map(|one| format!("{} {}", one.name, one.status))
        .collect();
    let reason = match status {
        InstanceStatus::Up => String::new(),
        _ if bad.is_empty() => format!("its health check says {}", text(&json["status"])),
        _ => shortened(&bad.join(", ")),
    };
    Health {
        status,
        reason,
        components,
        answer,
        details: ["details", "components"]
            .iter()
            .find_map(|name| json.get(*name))
            .map(without_secrets)
            .unwrap_or_default(),
    }
}

/// Returns an object for readers of Spring Boot Admin's API: within limits, and without secrets.
pub(super) fn without_secrets(json: &Value) -> Map<String, Value> {
    let mut object = Value::Object(Details::read_object(json));
    redact::json(&mut object);
    match object {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn without_body(answer: StatusCode) -> Health {
    let status = match answer {
        _ if answer.is_success() => InstanceStatus::Up,
        // It answers, but does not say how it is.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            InstanceStatus::Unknown
        }
        _ => InstanceStatus::Down,
    };
    let reason = match status {
        InstanceStatus::Up => String::new(),
        _ => format!("its health check answered {answer}"),
    };
    Health {
        status,
        reason,
        components: Vec::new(),
        answer,
        details: Map::new(),
    }
}

fn add_components(json: &Value, above: &str, depth: usize, found: &mut Vec<Component>) {
    let Some(components) = json["components"].as_object() else {
        return;
    };
    for (name, component) in components {
        if found.len() >= ROWS_MAX || depth >= DEPTH_MAX {
            return;
        }
        let name = match above {
            "" => shortened(name),
            above => shortened(&format!("{above} / {name}")),
        };
        found.push(Component {
            status: text(&component["status"]),
            detail: details(&component["details"]),
            name: name.clone(),
        });
        add_components(component, &name, depth + 1, found);
    }
}

fn details(json: &Value) -> String {
    let details = json.as_object().into_iter().flatten();
    let details = details.take(ROWS_MAX).map(|(name, value)| match value {
        Value::Object(_) => format!("{name}: {}", text(&value["status"])),
        value => format!("{name}: {}", shown(name, value)),
    });
    shortened(&details.collect::<Vec<_>>().join(", "))
}

/// Returns the properties of `env` with the origin of each value: those in force, without what the system brings along.
pub(super) fn properties(json: &Value) -> Vec<Property> {
    let mut properties: BTreeMap<String, Property> = BTreeMap::new();
    for source in json["propertySources"].as_array().into_iter().flatten() {
        let source_name = text(&source["name"]);
        for (name, property) in source["properties"].as_object().into_iter().flatten() {
            if properties.len() >= PROPERTIES_MAX || is_of_system(&source_name, name) {
                continue;
            }
            let value = shown(name, &property["value"]);
            // The first source is the one in force.
            properties
                .entry(shortened(name))
                .or_insert_with(|| Property {
                    name: shortened(name),
                    value,
                    source: source_name.clone(),
                    origin: text(&property["origin"]),
                });
        }
    }
    properties.into_values().collect()
}

/// Whether a property is of the machine or the JVM, not of the service.
fn is_of_system(source: &str, name: &str) -> bool {
    match source {
        "systemProperties" | "servletContextInitParams" | "server.ports" => true,
        "systemEnvironment" => !OWN_VARIABLES.iter().any(|prefix| name.starts_with(prefix)),
        _ => false,
    }
}

/// Returns names and values of `info`, those of objects joined by dots.
pub(super) fn info(json: &Value) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    add_info(json, "", 0, &mut rows);
    rows
}

fn add_info(json: &Value, above: &str, depth: usize, rows: &mut Vec<(String, String)>) {
    for (name, value) in json.as_object().into_iter().flatten() {
        if rows.len() >= ROWS_MAX || depth >= DEPTH_MAX {
            return;
        }
        let name = match above {
            "" => shortened(name),
            above => shortened(&format!("{above}.{name}")),
        };
        match value {
            Value::Object(_) => add_info(value, &name, depth + 1, rows),
            value => rows.push((name.clone(), shown(&name, value))),
        }
    }
}

/// Returns the uptime in seconds that `metrics/process.uptime` has.
pub(super) fn uptime(json: &Value) -> Option<f64> {
    let value = json["measurements"][0]["value"].as_f64()?;
    match json["baseUnit"].as_str() {
        Some("seconds") => Some(value),
        // Where Micrometer also sends OTLP.
        Some("milliseconds") => Some(value / 1e3),
        _ => None,
    }
}

/// Returns the loggers to show: the root, those with a level of their own, and those of packages.
pub(super) fn loggers(json: &Value) -> Vec<LoggerLevel> {
    let all = json["loggers"].as_object().into_iter().flatten();
    let mut all: Vec<_> = all
        .map(|(name, logger)| (rank(name, logger), name, logger))
        .collect();
    all.retain(|(rank, ..)| *rank <= BY_PLACE + DOTS_MAX);
    all.sort_by_key(|(rank, name, _)| (*rank, name.as_str()));
    let level = |logger: &Value| level(&logger["effectiveLevel"]);
    let shown = all.into_iter().filter_map(|(_, name, logger)| {
        Some(LoggerLevel {
            name: name.clone(),
            level: level(logger)?,
            expires_in_ms: None,
        })
    });
    shown.take(LOGGERS_MAX).collect()
}

/// The rank of the loggers that have no level of their own.
const BY_PLACE: usize = 2;

fn rank(name: &str, logger: &Value) -> usize {
    match (name, logger["configuredLevel"].is_string()) {
        ("ROOT", _) => 0,
        (_, true) => 1,
        (name, false) => BY_PLACE + name.matches('.').count(),
    }
}

/// Returns a level that the library knows too; `FATAL` is as few lines.
pub(super) fn level(json: &Value) -> Option<Level> {
    match json.as_str()?.to_ascii_lowercase().as_str() {
        "fatal" => Some(Level::Error),
        word => Level::parse(word),
    }
}

/// Returns the circuit breakers, by name.
pub(super) fn breakers(json: &Value) -> Vec<Breaker> {
    let all = json["circuitBreakers"].as_object().into_iter().flatten();
    let by_name: BTreeMap<_, _> = all.collect();
    let rate = |breaker: &Value, rate: &str, threshold: &str| match &breaker[rate] {
        Value::Null => String::new(),
        rate if rate.as_str().is_some_and(|rate| rate.starts_with('-')) => String::new(),
        rate => format!("{} / {}", text(rate), text(&breaker[threshold])),
    };
    let shown = by_name.into_iter().map(|(name, one)| Breaker {
        name: name.clone(),
        state: text(&one["state"]),
        failure_rate: rate(one, "failureRate", "failureRateThreshold"),
        slow_rate: rate(one, "slowCallRate", "slowCallRateThreshold"),
        buffered: one["bufferedCalls"].as_u64().unwrap_or_default(),
        not_permitted: one["notPermittedCalls"].as_u64().unwrap_or_default(),
    });
    shown
        .filter(|one| one.name.len() <= TEXT_BYTES_MAX)
        .take(BREAKERS_MAX)
        .collect()
}

/// Returns the last transitions and resets of circuit breakers, latest first; calls are too many.
pub(super) fn breaker_events(json: &Value) -> Vec<BreakerEvent> {
    let all = json["circuitBreakerEvents"]
        .as_array()
        .into_iter()
        .flatten();
    let transitions = all.rev().filter_map(|event| {
        let what = match &event["stateTransition"] {
            Value::String(transition) => shortened(transition),
            _ if event["type"] == "RESET" => text(&event["type"]),
            _ => return None,
        };
        Some(BreakerEvent {
            time: time(&event["creationTime"]),
            breaker: text(&event["circuitBreakerName"]),
            what,
        })
    });
    transitions.take(RECENT_MAX).collect()
}

/// Returns the last exchanges but those with the actuator itself, which is at a path, latest first. Addresses are without
/// query, which may have secrets.
pub(super) fn exchanges(json: &Value, actuator: &str) -> Vec<Exchange> {
    let all = json["exchanges"].as_array().into_iter().flatten();
    let shown = all.filter_map(|one| {
        let uri = one["request"]["uri"].as_str().unwrap_or_default();
        let uri = uri.split(['?', '#']).next().unwrap_or_default();
        let path = uri.split_once("://").map_or(uri, |(_, rest)| {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        });
        let is_actuator = path
            .strip_prefix(actuator)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        (!is_actuator).then(|| Exchange {
            time: time(&one["timestamp"]),
            request: shortened(&format!("{} {path}", text(&one["request"]["method"]))),
            status: one["response"]["status"].as_u64().unwrap_or_default(),
            took_nanos: one["timeTaken"].as_str().and_then(iso_nanos),
            trace: trace(&one["request"]["headers"]["traceparent"][0]),
        })
    });
    shown.take(RECENT_MAX).collect()
}

/// Returns a time; `[Etc/UTC]` may follow it.
fn time(json: &Value) -> Option<UnixNanos> {
    parse_timestamp(json.as_str()?.split('[').next()?)
}

/// Returns a duration as Java writes it, such as `PT1M0.03S`.
fn iso_nanos(text: &str) -> Option<u64> {
    let mut seconds = 0.0;
    let mut rest = text.strip_prefix("PT")?;
    while !rest.is_empty() {
        let end = rest.find(['H', 'M', 'S'])?;
        let unit = match rest.as_bytes()[end] {
            b'H' => 3_600.0,
            b'M' => 60.0,
            _ => 1.0,
        };
        seconds += rest[..end].parse::<f64>().ok()? * unit;
        rest = &rest[end + 1..];
    }
    (0.0..1e9)
        .contains(&seconds)
        .then_some((seconds * 1e9) as u64)
}

fn trace(header: &Value) -> Option<String> {
    let id = header.as_str()?.split('-').nth(1)?;
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.to_owned())
}

fn text(json: &Value) -> String {
    match json {
        Value::Null => String::new(),
        Value::String(text) => shortened(text),
        other => shortened(&other.to_string()),
    }
}

/// Returns a value to show, by its name.
fn shown(name: &str, value: &Value) -> String {
    match is_secret_name(name) && !value.is_null() {
        true => MASK.to_owned(),
        false => text(value),
    }
}

fn shortened(text: &str) -> String {
    let redacted = redact::text(cut(text, SEARCHED_BYTES_MAX));
    let short = cut(&redacted, TEXT_BYTES_MAX).chars();
    short
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
