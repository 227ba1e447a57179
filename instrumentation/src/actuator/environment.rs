//! `/actuator/env`, `/actuator/configprops` and `/actuator/info`: environment variables, settings, and information
//! about the program. Secret values are masked.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Inner;
use super::answer::{Answered, json, missing};
use super::mask::{masked, masked_json};

/// Spring Boot's name for the environment variables.
const VARIABLES: &str = "systemEnvironment";
/// Most breakers whose settings are listed.
const BREAKERS_MAX: usize = 100;

/// `GET /actuator/env`
pub(super) async fn env() -> Response {
    let variables = std::env::vars_os().map(|(name, value)| {
        let (name, value) = (name.to_string_lossy().into_owned(), value.to_string_lossy());
        let property = property(&name, &value);
        (name, property)
    });
    let properties = Map::from_iter(variables);
    json(&json!({
        "activeProfiles": [],
        "propertySources": [{ "name": VARIABLES, "properties": properties }],
    }))
}

/// `GET /actuator/env/{name}`
pub(super) async fn variable(Path(name): Path<String>) -> Answered {
    let value = std::env::var_os(&name).ok_or_else(|| missing("property", &name))?;
    let property = property(&name, &value.to_string_lossy());
    Ok(json(&json!({
        "property": { "source": VARIABLES, "value": property["value"] },
        "activeProfiles": [],
        "propertySources": [{ "name": VARIABLES, "property": property }],
    })))
}

fn property(name: &str, value: &str) -> Value {
    let origin = format!("System Environment Property \"{name}\"");
    json!({ "value": masked(name, value), "origin": origin })
}

/// `GET /actuator/configprops`
pub(super) async fn properties(State(inner): State<Arc<Inner>>) -> Response {
    json(&contexts(inner.beans()))
}

/// `GET /actuator/configprops/{prefix}`
pub(super) async fn properties_of(
    State(inner): State<Arc<Inner>>,
    Path(prefix): Path<String>,
) -> Answered {
    let mut beans = inner.beans();
    beans.retain(|_, bean| {
        bean["prefix"]
            .as_str()
            .is_some_and(|it| it.starts_with(&prefix))
    });
    match beans.is_empty() {
        true => Err(missing("configuration with prefix", &prefix)),
        false => Ok(json(&contexts(beans))),
    }
}

fn contexts(beans: Map<String, Value>) -> Value {
    json!({ "contexts": { "application": { "beans": beans } } })
}

fn bean(prefix: &str, properties: &Value) -> (String, Value) {
    let properties = masked_json(prefix, properties);
    let bean = json!({ "prefix": prefix, "properties": properties, "inputs": {} });
    (prefix.to_owned(), bean)
}

impl Inner {
    fn beans(&self) -> Map<String, Value> {
        let telemetry = [bean("fusebox.telemetry", &self.telemetry)];
        let breakers = self.registry.all().into_iter().take(BREAKERS_MAX);
        let breakers = breakers.map(|breaker| {
            let settings = serde_json::to_value(&*breaker.settings()).unwrap_or_default();
            bean(
                &format!("fusebox.circuit-breaker.{}", breaker.name()),
                &settings,
            )
        });
        let own = self.properties.iter();
        let own = own.map(|(prefix, properties)| bean(prefix, properties));
        telemetry.into_iter().chain(breakers).chain(own).collect()
    }
}

/// `GET /actuator/info`
pub(super) async fn info(State(inner): State<Arc<Inner>>) -> Response {
    json(&masked_json("info", &Value::Object(inner.info.clone())))
}
