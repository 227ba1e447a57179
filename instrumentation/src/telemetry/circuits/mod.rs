//! Exports the registered breakers, pools and policies over OTLP from one thread: counts once a second as cumulative
//! metrics, and each transition and change of settings immediately as a log event. Breakers put events into a bounded
//! queue; calls never wait for an export.

mod events;
mod exporter;
mod inbox;
mod metrics;
mod policies;
mod pools;
mod shared;

pub(super) use exporter::CircuitExporter;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};

use crate::semconv;

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn identity(name: &str, group: &str) -> Vec<KeyValue> {
    vec![
        text(semconv::BREAKER_NAME, name),
        text(semconv::BREAKER_GROUP, group),
    ]
}

pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: u64) -> KeyValue {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    attribute(key, Value::IntValue(value))
}

pub(super) fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

pub(super) fn unix_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
