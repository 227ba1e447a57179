//! Circuit events in logs: transitions with the causing call, settings with the current override.

use std::collections::BTreeMap;
use std::time::Duration;

use fusebox::circuit_breaker::{
    EffectiveState, OverrideKind, SettingOrigin, Settings, WindowSettings,
};
use fusebox::semconv;
use serde_json::{Map, Value};

use super::attributes::{Sender, bounded_text, moment, name, text};
use super::{EndReport, InstanceId, LogsBatch, SettingsReport};
use crate::model::{
    CircuitKey, CircuitSettings, CircuitTransition, LogRecord, OverrideView, Provenance, nanos,
    zero_is_none,
};

/// Largest settings document that is read, bytes; ours has about 400.
const MAX_SETTINGS_BYTES: usize = 16 * 1024;

/// A setting whose absence has a meaning.
const BULKHEAD_FULL_IS_FAILURE: &str = "bulkhead_full_is_failure";

const WINDOW_KEYS: [&str; 3] = ["duration", "buckets", "calls"];

/// Reads circuit events, which `read_logs` separates from other records.
pub fn read_events(events: &[LogRecord]) -> LogsBatch {
    let mut batch = LogsBatch::default();
    for event in events {
        if read_event(event, &mut batch).is_none() {
            batch.refused_records += 1;
        }
    }
    batch
}

/// Returns `None` if a value is missing or invalid.
fn read_event(event: &LogRecord, batch: &mut LogsBatch) -> Option<()> {
    let sender = sender(event)?;
    match event.event() {
        semconv::EVENT_TRANSITION => batch.transitions.push(transition(event, &sender)?),
        semconv::EVENT_SETTINGS => batch.settings.push(settings(event, &sender)?),
        semconv::EVENT_ENDED => batch.ended.push(EndReport {
            id: InstanceId {
                service: sender.service,
                instance: sender.instance,
            },
            time: event.time,
        }),
        _ => return None,
    }
    Some(())
}

/// Returns the sender; `None` if a name is too long.
fn sender(event: &LogRecord) -> Option<Sender> {
    let resource = &event.resource;
    Sender::named(|key| match key {
        "service.name" => Some(&resource.service_name),
        _ => Some(&resource.instance_id),
    })
}

fn key(event: &LogRecord, sender: &Sender) -> Option<CircuitKey> {
    Some(CircuitKey {
        service: sender.service.clone(),
        name: name(event, semconv::BREAKER_NAME)?.to_owned(),
    })
}

fn transition(event: &LogRecord, sender: &Sender) -> Option<CircuitTransition> {
    let state = |key| EffectiveState::parse(text(event, key)?);
    let to = state(semconv::TRANSITION_TO)?;
    let open_until = moment(event, semconv::OPEN_UNTIL);
    Some(CircuitTransition {
        key: key(event, sender)?,
        instance: sender.instance.clone(),
        time: event.time,
        from: state(semconv::TRANSITION_FROM)?,
        to,
        reason: bounded_text(event, semconv::TRANSITION_REASON),
        provenance: Provenance::Reported,
        open_until: open_until.filter(|_| to == EffectiveState::Open),
        trace_id: event.trace_id,
        span_id: event.span_id,
    })
}

fn settings(event: &LogRecord, sender: &Sender) -> Option<SettingsReport> {
    let document =
        text(event, semconv::SETTINGS).filter(|document| document.len() <= MAX_SETTINGS_BYTES)?;
    let group = name(event, semconv::BREAKER_GROUP);
    Some(SettingsReport {
        key: key(event, sender)?,
        instance: sender.instance.clone(),
        settings: CircuitSettings {
            origins: origins(event),
            ..reported(document, group.unwrap_or_default())?
        },
        forced: forced(event),
    })
}

/// Reads where settings come from; names and origins of a newer library are left out.
fn origins(event: &LogRecord) -> Option<BTreeMap<String, SettingOrigin>> {
    let document = text(event, semconv::SETTINGS_ORIGINS);
    let document = document.filter(|document| document.len() <= MAX_SETTINGS_BYTES)?;
    let all: BTreeMap<String, Value> = serde_json::from_str(document).ok()?;
    let known = Settings::names().filter_map(|name| {
        let origin = serde_json::from_value(all.get(name)?.clone()).ok()?;
        Some((name.to_owned(), origin))
    });
    Some(known.collect())
}

pub(crate) fn override_kind(word: &str) -> Option<OverrideKind> {
    use OverrideKind::{Disabled, ForcedClosed, ForcedOpen, MetricsOnly};
    let mut kinds = [ForcedOpen, ForcedClosed, Disabled, MetricsOnly].into_iter();
    kinds.find(|kind| kind.as_str() == word)
}

fn forced(event: &LogRecord) -> Option<OverrideView> {
    Some(OverrideView {
        kind: override_kind(text(event, semconv::OVERRIDE_KIND)?)?,
        reason: bounded_text(event, semconv::OVERRIDE_REASON),
        expires: moment(event, semconv::OVERRIDE_EXPIRES),
    })
}

/// Parses the settings document of an older or newer build.
fn reported(document: &str, group: &str) -> Option<CircuitSettings> {
    let mut document: Map<String, Value> = serde_json::from_str(document).ok()?;
    let known = serde_json::to_value(Settings::default()).ok()?;
    // The library rejects unknown keys, which in a program are typing errors; here they come from a newer
    // library.
    document.retain(|key, _| known.get(key).is_some());
    if let Some(Value::Object(kinds)) = document.get_mut("window") {
        let kinds = kinds.values_mut().filter_map(Value::as_object_mut);
        kinds.for_each(|kind| kind.retain(|key, _| WINDOW_KEYS.contains(&key.as_str())));
    }
    let is_reported = document.contains_key(BULKHEAD_FULL_IS_FAILURE);
    let settings: Settings = serde_json::from_value(Value::Object(document)).ok()?;
    let mut settings = view(&settings, group);
    // A build without this setting counted calls without a slot as failures, which is no longer the default.
    settings.bulkhead_full_is_failure = settings.bulkhead_full_is_failure.filter(|_| is_reported);
    Some(settings)
}

/// Destructures the settings, so that a new field does not compile until it is handled here.
fn view(settings: &Settings, group: &str) -> CircuitSettings {
    let Settings {
        window,
        minimum_calls,
        failure_rate_percent,
        slow_call_duration,
        slow_call_rate_percent,
        count_unfinished_slow_calls,
        open_duration,
        open_duration_factor,
        open_duration_max,
        open_duration_jitter_percent,
        automatic_half_open,
        half_open_max_duration,
        half_open_probes,
        probe_lease,
        timeout,
        max_concurrent,
        fallback_max_concurrent,
        bulkhead_full_is_failure,
    } = settings;
    let percent = |number| zero_is_none::some(number).filter(|number: &f64| number.is_finite());
    // Rounded up, because zero means off.
    let millis = |length: Duration| zero_is_none::some(nanos(length).div_ceil(1_000_000));
    let some = |number: u32| zero_is_none::some(u64::from(number));
    let (window_ms, window_buckets, window_calls) = match window {
        WindowSettings::Time { duration, buckets } => (millis(*duration), some(*buckets), None),
        WindowSettings::Count { calls } => (None, None, some(*calls)),
    };
    CircuitSettings {
        group: group.to_owned(),
        window_ms,
        window_buckets,
        window_calls,
        minimum_calls: some(*minimum_calls),
        failure_rate_percent: percent(*failure_rate_percent),
        slow_call_rate_percent: slow_call_duration.and_then(|_| percent(*slow_call_rate_percent)),
        slow_call_duration_ms: slow_call_duration.and_then(millis),
        count_unfinished_slow_calls: slow_call_duration.map(|_| *count_unfinished_slow_calls),
        open_duration_ms: millis(*open_duration),
        // A factor of 1 has no effect.
        open_duration_factor: percent(*open_duration_factor).filter(|factor| *factor != 1.0),
        open_duration_max_ms: open_duration_max.and_then(millis),
        open_duration_jitter_percent: percent(*open_duration_jitter_percent),
        automatic_half_open: Some(*automatic_half_open),
        half_open_max_duration_ms: half_open_max_duration.and_then(millis),
        half_open_probes: some(*half_open_probes),
        probe_lease_ms: millis(*probe_lease),
        timeout_ms: timeout.and_then(millis),
        max_concurrent: some(*max_concurrent),
        fallback_max_concurrent: some(*fallback_max_concurrent),
        bulkhead_full_is_failure: Some(*bulkhead_full_is_failure),
        origins: None,
    }
}
