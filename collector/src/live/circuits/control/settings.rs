//! Changes of a breaker's settings: their validation against what the instances report, the origin of each value, and the
//! renewal of those without an end.

use std::sync::Arc;
use std::time::Duration;

use fusebox::circuit_breaker::{SettingOrigin, SettingValues, Settings, WindowSettings};
use fusebox::control::{Action, Subject};
use serde::Serialize;

use super::order::invalid;
use super::{
    ChangeOrder, ChangeStatus, Control, ControlError, JournalFilter, JournalKind, Recorded,
    instances,
};
use crate::model::{
    CircuitKey, CircuitSettings, CircuitView, OperatorChange, OperatorSettings, Source, TimeRange,
    UnixNanos,
};
use crate::store::StoreError;
use crate::store::series::SeriesRecord;

/// Versions that are listed, the latest.
const VERSIONS_MAX: usize = 100;

/// A setting of a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingInForce {
    /// Its name, as in a settings file.
    pub name: &'static str,
    /// The value in force, as its instance that reported last says.
    pub value: String,
    /// Where that value comes from.
    pub origin: Origin,
    /// The value of the service itself, if operators changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own: Option<String>,
    /// The value that operators set for all instances, in force or pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
}

/// Where the value of a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It is the library's default.
    Default,
    /// The service set it; its library does not say how.
    Service,
    /// The code of the service.
    Code,
    /// The properties of this circuit, which the service reads from a file or its environment.
    Properties,
    /// The properties of all circuits of the service.
    CommonProperties,
    /// Operators set it here.
    Collector,
}

impl From<SettingOrigin> for Origin {
    fn from(origin: SettingOrigin) -> Self {
        match origin {
            SettingOrigin::Default => Self::Default,
            SettingOrigin::Code => Self::Code,
            SettingOrigin::Properties => Self::Properties,
            SettingOrigin::CommonProperties => Self::CommonProperties,
        }
    }
}

impl Control {
    /// Accepts a change of a circuit's settings, as [`request`](Self::request) does for its state. The values
    /// replace those of earlier changes; without any, the service's own are put back. `seen` is the number of
    /// the latest change that the operator knew, zero for none.
    ///
    /// # Errors
    /// As `request`; also if a breaker cannot have these settings, with the sentence of the library, and if
    /// there was another change since.
    pub async fn request_settings(
        &self,
        circuit: &CircuitView,
        order: ChangeOrder,
        values: SettingValues,
        seen: Option<u64>,
        now: UnixNanos,
    ) -> Result<OperatorChange, ControlError> {
        if circuit.source != Source::Fusebox {
            return Err(ControlError::NotSwitchable(circuit.source));
        }
        let values = self.normal(circuit, values)?;
        let action = match values.is_empty() {
            true => Action::Reset,
            false => Action::Settings,
        };
        let order = ChangeOrder { action, ..order };
        let known = instances(circuit);
        let mut change = order.checked(Subject::Settings, circuit.key.clone(), &known, now)?;
        let ordered = Arc::clone(&self.inner.ordering).lock_owned().await;
        let earlier = self.state().of_settings(&circuit.key);
        if let (Some(seen), Some(latest)) = (seen, earlier.last())
            && latest.id != seen
        {
            let by = latest.by.clone();
            return Err(ControlError::Changed { by });
        }
        change.settings = Some(self.about(circuit, &change, &earlier, values)?);
        self.submit_in_order(change, now, ordered).await
    }

    /// Returns the values as breakers have them, so that those which are reported can be compared with them.
    fn normal(
        &self,
        circuit: &CircuitView,
        values: SettingValues,
    ) -> Result<SettingValues, ControlError> {
        let mut all = self.settings_with(circuit, &values)?.values();
        all.retain(|name, _| values.contains_key(name));
        // Reports have whole milliseconds.
        let fine = |text: &str| text.ends_with("us") || text.ends_with("ns");
        match all.iter().find(|(_, text)| text.split(' ').any(fine)) {
            None => Ok(all),
            Some((name, text)) => {
                let problem = format!("{name} must be whole milliseconds, not {text}");
                Err(invalid("settings", problem))
            }
        }
    }

    /// Returns a breaker's settings with these values in place of what operators changed.
    ///
    /// # Errors
    /// When a breaker cannot have them.
    pub fn settings_with(
        &self,
        circuit: &CircuitView,
        values: &SettingValues,
    ) -> Result<Settings, ControlError> {
        let own = self.own_settings(circuit);
        own.with_values(values)
            .map_err(|error| invalid("settings", error.to_string()))
    }

    /// Returns the settings in force, as the instance that reported last says.
    pub(crate) fn reported_settings(&self, circuit: &CircuitView) -> Settings {
        settings_of(&circuit.settings)
    }

    /// Returns the settings that the service itself gave the breaker: the reported ones, and of those that operators
    /// changed its own at the time of the change.
    pub fn own_settings(&self, circuit: &CircuitView) -> Settings {
        let settings = settings_of(&circuit.settings);
        let reported = settings.values();
        let mut own = SettingValues::new();
        for settings in self.state().of_settings(&circuit.key) {
            let settings = settings.settings.unwrap_or_default();
            let sets = [&settings.values, &settings.then, &settings.before];
            // Any other value that is reported is the service's, perhaps a new one.
            let is_changed =
                |name: &String| sets.iter().any(|set| set.get(name) == reported.get(name));
            let own_values = settings.own.iter().filter(|own| is_changed(own.0));
            own.extend(own_values.map(|(name, text)| (name.clone(), text.clone())));
        }
        settings.with_values(&own).unwrap_or(settings)
    }

    /// Returns what is stored about an order: the values before and after, and the service's own.
    fn about(
        &self,
        circuit: &CircuitView,
        change: &OperatorChange,
        earlier: &[OperatorChange],
        values: SettingValues,
    ) -> Result<OperatorSettings, ControlError> {
        let replaced = earlier.iter().rposition(|it| it.covers(change));
        let later = &earlier[replaced.map_or(0, |place| place + 1)..];
        let differ = later.iter().any(|it| it.shares_instances(change));
        if change.expires.is_some() && !change.instances.is_empty() && differ && !values.is_empty()
        {
            let problem =
                "these instances have different settings now, which cannot return; pick fewer";
            return Err(invalid("instances", problem));
        }
        let replaced = replaced.map(|place| &earlier[place]);
        let before = replaced
            .map(|it| it.values_at(change.time))
            .unwrap_or_default();
        let own = self.own_settings(circuit).values().into_iter();
        let is_named = |name: &String| values.contains_key(name) || before.contains_key(name);
        let then = replaced.filter(|_| change.expires.is_some() && !values.is_empty());
        Ok(OperatorSettings {
            own: own.filter(|(name, _)| is_named(name)).collect(),
            then: then.map(OperatorChange::lasting).unwrap_or_default(),
            values,
            before,
        })
    }

    /// Returns the changes of a circuit's settings that are in force or being delivered, latest first, each with its
    /// delivery.
    pub fn settings_changes(&self, circuit: &CircuitView, now: UnixNanos) -> Vec<ChangeStatus> {
        self.statuses(circuit, Subject::Settings, now)
    }

    /// Returns the changes of a circuit's settings within the retention, latest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn versions(
        &self,
        key: &CircuitKey,
        now: UnixNanos,
    ) -> Result<Vec<OperatorChange>, StoreError> {
        let filter = JournalFilter {
            service: key.service.clone(),
            circuit: key.name.clone(),
            kind: Some(JournalKind::Settings),
            ..JournalFilter::default()
        };
        // Including this very moment.
        let range = TimeRange {
            start: now - self.inner.log.retention(),
            end: UnixNanos::MAX,
        };
        let entries = self.journal(range, filter, VERSIONS_MAX).await?;
        let changes = entries
            .into_iter()
            .filter_map(|entry| match entry.recorded {
                Recorded::Change(change) => Some(change),
                Recorded::Event(_) | Recorded::Registry(_) => None,
            });
        Ok(changes.collect())
    }

    /// Returns the values of a version, to return to it.
    ///
    /// # Errors
    /// When there is no such version any more, or the log cannot be read.
    pub async fn version(
        &self,
        key: &CircuitKey,
        version: u64,
        now: UnixNanos,
    ) -> Result<SettingValues, ControlError> {
        let versions = self.versions(key, now).await?;
        let found = versions.into_iter().find(|change| change.id == version);
        let values = found.and_then(|change| change.settings);
        values.map(|it| it.values).ok_or_else(|| {
            let problem = "it is none of the latest 100 changes of these settings";
            invalid("version", problem)
        })
    }

    /// Returns a circuit's settings, each with its origin.
    pub fn settings(&self, circuit: &CircuitView, now: UnixNanos) -> Vec<SettingInForce> {
        let reported = settings_of(&circuit.settings).values();
        let own = self.own_settings(circuit).values();
        let defaults = Settings::default().values();
        let changes = self.state().of_settings(&circuit.key);
        let of_all = changes.iter().rev().find(|it| it.instances.is_empty());
        let changed = of_all.map(|it| it.values_at(now)).unwrap_or_default();
        let all: Vec<_> = changes.iter().map(|it| it.values_at(now)).collect();
        let setting = |name: &'static str| {
            let value = reported[name].clone();
            let by_operator = changed.get(name).cloned();
            let is_changed = all.iter().any(|values| values.get(name) == Some(&value));
            let is_changed = is_changed && value != own[name];
            let origin = if is_changed || by_operator.as_ref() == Some(&value) {
                Origin::Collector
            } else if let Some(origins) = &circuit.settings.origins {
                origins.get(name).copied().unwrap_or_default().into()
            } else if value == defaults[name] {
                Origin::Default
            } else {
                Origin::Service
            };
            SettingInForce {
                name,
                origin,
                own: by_operator.as_ref().map(|_| own[name].clone()),
                changed: by_operator,
                value,
            }
        };
        Settings::names().map(setting).collect()
    }

    /// Ends changes whose instances are gone, and stores those without an end again before the log forgets them. Returns
    /// the number of records that were stored again.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn renew(&self, now: UnixNanos) -> Result<usize, StoreError> {
        // No later change is read before them after a restart.
        let _ordered = Arc::clone(&self.inner.ordering).lock_owned().await;
        self.end_gone(now).await?;
        let oldest = now - self.inner.log.retention() / 2;
        let old = self.state().lasting_before(oldest, now);
        let records = old.iter().cloned().map(SeriesRecord::Control).collect();
        self.inner.log.append(records).await?;
        let renewed = old.len();
        let mut state = self.state();
        old.into_iter().for_each(|record| state.restore(record));
        Ok(renewed)
    }
}

/// Returns the settings as the library has them. What was not reported has its default.
fn settings_of(reported: &CircuitSettings) -> Settings {
    let default = Settings::default();
    // Every report has it.
    if reported.open_duration_ms.is_none() {
        return default;
    }
    let some = |number: Option<u64>| number.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let number = |reported, default| some(reported).unwrap_or(default);
    let length = |ms: Option<u64>| ms.map(Duration::from_millis);
    let window = match (length(reported.window_ms), some(reported.window_calls)) {
        (Some(duration), _) => WindowSettings::Time {
            duration,
            buckets: number(reported.window_buckets, 10),
        },
        (None, Some(calls)) => WindowSettings::Count { calls },
        (None, None) => default.window,
    };
    Settings {
        window,
        minimum_calls: number(reported.minimum_calls, 0),
        failure_rate_percent: reported
            .failure_rate_percent
            .unwrap_or(default.failure_rate_percent),
        slow_call_duration: length(reported.slow_call_duration_ms),
        slow_call_rate_percent: reported.slow_call_rate_percent.unwrap_or(100.0),
        count_unfinished_slow_calls: reported.count_unfinished_slow_calls.unwrap_or(true),
        open_duration: length(reported.open_duration_ms).unwrap_or(default.open_duration),
        open_duration_factor: reported.open_duration_factor.unwrap_or(1.0),
        open_duration_max: length(reported.open_duration_max_ms),
        open_duration_jitter_percent: reported.open_duration_jitter_percent.unwrap_or(0.0),
        automatic_half_open: reported.automatic_half_open.unwrap_or(false),
        half_open_max_duration: length(reported.half_open_max_duration_ms),
        half_open_probes: number(reported.half_open_probes, default.half_open_probes),
        probe_lease: length(reported.probe_lease_ms).unwrap_or(default.probe_lease),
        timeout: length(reported.timeout_ms),
        max_concurrent: number(reported.max_concurrent, default.max_concurrent),
        fallback_max_concurrent: number(
            reported.fallback_max_concurrent,
            default.fallback_max_concurrent,
        ),
        bulkhead_full_is_failure: reported.bulkhead_full_is_failure.unwrap_or(true),
    }
}
