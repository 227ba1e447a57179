//! The body of an operator's order: what to change, why, who asks, for how long, and in which instances.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use fusebox::circuit_breaker::SettingValues;
use fusebox::control::{Action, Level};
use serde::Deserialize;
use serde_json::Value;

use super::Problem;
use crate::live::circuits::ChangeOrder;
use crate::receivers::user_name;

/// Largest body of an order: a reason and a hundred instances.
pub(super) const BYTES_MAX: usize = 64 << 10;

/// An order. Which of the first fields may be set depends on the route.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// What to do with a circuit.
    pub(super) action: Option<Action>,
    /// The level of a logger; without one, the configured level is restored.
    pub(super) level: Option<Level>,
    /// Settings of a circuit; a number may be a number.
    settings: Option<BTreeMap<String, Value>>,
    /// The change of settings to return to.
    pub(super) version: Option<u64>,
    /// The latest change of settings that the operator knows; zero for none.
    pub(super) after: Option<u64>,
    reason: String,
    /// Optional if the request identifies its user.
    #[serde(default)]
    by: String,
    /// Optional for a reset and for settings.
    expires_in_s: Option<u64>,
    #[serde(default)]
    instances: BTreeSet<String>,
}

impl Order {
    /// Reads the body of a route that knows only these of the first fields.
    pub(super) fn read(
        body: Result<Json<Self>, JsonRejection>,
        known: &[&str],
    ) -> Result<Self, Problem> {
        let Json(order) = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
        let set = [
            ("action", order.action.is_some()),
            ("level", order.level.is_some()),
            ("settings", order.settings.is_some()),
            ("version", order.version.is_some()),
            ("after", order.after.is_some()),
        ];
        match set
            .iter()
            .find(|(name, is_set)| *is_set && !known.contains(name))
        {
            None => Ok(order),
            Some((name, _)) => Err(invalid(
                name,
                "unknown field, which belongs to another route",
            )),
        }
    }

    /// Returns the order of this action, by the user of the request if that is known.
    pub(super) fn of(self, action: Action, headers: &HeaderMap) -> ChangeOrder {
        ChangeOrder {
            action,
            reason: self.reason,
            by: user_name(headers).unwrap_or(self.by),
            lifetime: self.expires_in_s.map(Duration::from_secs),
            instances: self.instances.into_iter().collect(),
        }
    }

    /// Returns the settings as text; `None` without any.
    pub(super) fn settings(&self) -> Option<SettingValues> {
        self.settings.as_ref().map(texts)
    }
}

/// Returns settings as text.
pub(super) fn texts(settings: &BTreeMap<String, Value>) -> SettingValues {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    };
    let pair = |(name, value): (&String, &Value)| (name.clone(), text(value));
    settings.iter().map(pair).collect()
}

pub(super) fn invalid(parameter: &str, problem: &str) -> Problem {
    Problem {
        parameter: Some(parameter.to_owned()),
        ..Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("{parameter}: {problem}"),
        )
    }
}
