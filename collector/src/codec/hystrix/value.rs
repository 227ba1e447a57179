//! Values of an object in the various encodings of Hystrix and Turbine.

use serde_json::{Map, Value};

use super::MAX_NAME_BYTES;
use crate::codec::circuits::MAX_COUNT;

pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// Number of reporting hosts, at least 1.
    pub(super) hosts: u64,
}

impl<'a> Fields<'a> {
    pub(super) fn new(object: &'a Map<String, Value>) -> Self {
        let hosts = object.get("reportingHosts").and_then(number);
        let hosts = hosts.map_or(1, |hosts| (hosts as u64).clamp(1, 1_000_000));
        Self { object, hosts }
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        match self.object.get(name)? {
            Value::String(text) => Some(text),
            several => most_frequent(several),
        }
    }

    /// Returns a non-empty name that is not too long.
    pub(super) fn name(&self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        (!text.is_empty() && text.len() <= MAX_NAME_BYTES).then(|| text.to_owned())
    }

    /// Returns a sum over the hosts; 0 if it is not a count. Turbine's sums may drop below zero.
    pub(super) fn count(&self, name: &str) -> u64 {
        let value = self.object.get(name).and_then(number).unwrap_or(0.0);
        value.clamp(0.0, MAX_COUNT as f64) as u64
    }

    /// `within` names the enclosing object.
    pub(super) fn mean(&self, name: &str, within: Option<&str>) -> Option<f64> {
        let object = self.object.get(within.unwrap_or(name))?;
        let value = match within {
            Some(_) => object.as_object()?.get(name)?,
            None => object,
        };
        number(value).map(|sum| sum.max(0.0) / self.hosts as f64)
    }

    /// Returns a setting: of one host, of most hosts, or the mean of a sum.
    pub(super) fn setting(&self, name: &str) -> Option<f64> {
        let value = self.object.get(&format!("propertyValue_{name}"))?;
        match value {
            Value::Number(_) => number(value).map(|sum| sum / self.hosts as f64),
            Value::String(text) => text.parse().ok(),
            several => most_frequent(several)?.parse().ok(),
        }
        .filter(|number: &f64| number.is_finite() && *number >= 0.0)
    }

    /// Returns a boolean: of one host, common to all hosts, or true if it is on any host.
    pub(super) fn truth(&self, name: &str) -> Option<bool> {
        match self.object.get(name)? {
            Value::Bool(truth) => Some(*truth),
            Value::String(text) => text.parse().ok(),
            Value::Number(hosts) => Some(hosts.as_f64()? > 0.0),
            Value::Object(hosts) => Some(hosts.get("true").and_then(number)? > 0.0),
            Value::Null | Value::Array(_) => None,
        }
    }

    /// As [`truth`](Self::truth), but true only if it is on all hosts.
    pub(super) fn truth_everywhere(&self, name: &str) -> Option<bool> {
        match self.object.get(name)? {
            Value::Object(hosts) => Some(hosts.get("false").and_then(number).unwrap_or(0.0) == 0.0),
            _ => self.truth(name),
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
    .filter(|number| number.is_finite())
}

fn most_frequent(values: &Value) -> Option<&str> {
    let hosts = values.as_object()?.iter();
    let hosts = hosts.filter_map(|(value, hosts)| Some((value.as_str(), number(hosts)?)));
    let most = hosts.max_by(|left, right| left.1.total_cmp(&right.1))?;
    Some(most.0)
}
