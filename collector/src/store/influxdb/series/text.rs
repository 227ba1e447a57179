//! Exact values as compact JSON in string fields; reading restores them unchanged.

use opentelemetry::TraceId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{CircuitCalls, CircuitKey, CircuitSample, SECOND, UnixNanos, nanos};
use crate::store::influxdb::schema::{state_number, state_of};

/// A second: its number in the window, state, calls by outcome (without trailing zeros), running calls, and
/// durations by bucket.
type Second = (u64, i64, Vec<u64>, u32, Vec<(i32, u64)>);

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain structs of ours are always JSON")
}

/// `None` for text that we did not write.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

pub(super) fn seconds<'a>(
    window: UnixNanos,
    samples: impl Iterator<Item = &'a CircuitSample>,
) -> String {
    let seconds: Vec<Second> = samples.map(|sample| second(window, sample)).collect();
    json(&seconds)
}

fn second(window: UnixNanos, sample: &CircuitSample) -> Second {
    let number = (sample.time - window).as_secs();
    let mut calls = sample.calls.in_order().to_vec();
    let used = calls.iter().rposition(|count| *count > 0);
    calls.truncate(used.map_or(0, |last| last + 1));
    let buckets = sample.latency_buckets.clone();
    let state = state_number(sample.state);
    (number, state, calls, sample.in_flight, buckets)
}

pub(super) fn read_seconds(
    text: &str,
    window: UnixNanos,
    key: &CircuitKey,
    instance: &str,
) -> Option<Vec<CircuitSample>> {
    let seconds: Vec<Second> = parse(text)?;
    let samples = seconds.into_iter().map(|second| {
        let (number, state, calls, in_flight, latency_buckets) = second;
        Some(CircuitSample {
            key: key.clone(),
            instance: instance.to_owned(),
            time: UnixNanos::new(
                window
                    .get()
                    .checked_add(number.checked_mul(nanos(SECOND))?)?,
            ),
            state: state_of(state)?,
            calls: calls_of(&calls),
            in_flight,
            latency_buckets,
        })
    });
    samples.collect()
}

fn calls_of(counts: &[u64]) -> CircuitCalls {
    let count = |at: usize| counts.get(at).copied().unwrap_or(0);
    CircuitCalls {
        success: count(0),
        failure: count(1),
        timeout: count(2),
        rejected: count(3),
        bulkhead_full: count(4),
        ignored: count(5),
        cancelled: count(6),
        fallback_success: count(7),
        fallback_failure: count(8),
    }
}

pub(super) fn trace_id(text: Option<&str>) -> Option<TraceId> {
    TraceId::from_hex(text?).ok()
}

/// A hash that never changes: times of points depend on it.
pub(super) fn stable_hash(texts: &[&str]) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update(&[0]);
    }
    u64::from(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fusebox::circuit_breaker::EffectiveState;
    use proptest::prelude::*;

    use super::*;

    const WINDOW: UnixNanos = UnixNanos::of_window(70, SECOND);

    prop_compose! {
        fn any_sample(window: UnixNanos)(
            second in 0..10_u64,
            state in 0..7_usize,
            counts in prop::array::uniform9(prop_oneof![Just(0), any::<u64>()]),
            in_flight in any::<u32>(),
            latency_buckets in prop::collection::vec((-240..135_i32, any::<u64>()), 0..9),
        ) -> CircuitSample {
            CircuitSample {
                key: CircuitKey { service: "shop".to_owned(), name: "cart".to_owned() },
                instance: "a".to_owned(),
                time: window + Duration::from_secs(second),
                state: EffectiveState::ALL[state],
                calls: calls_of(&counts),
                in_flight,
                latency_buckets,
            }
        }
    }

    proptest! {
        #[test]
        fn seconds_come_back_as_they_were(samples in prop::collection::vec(any_sample(WINDOW), 1..5)) {
            let text = seconds(WINDOW, samples.iter());
            let read = read_seconds(&text, WINDOW, &samples[0].key, "a");
            prop_assert_eq!(read, Some(samples));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,60}") {
            let key = CircuitKey { service: String::new(), name: String::new() };
            let _read = read_seconds(&text, UnixNanos::MAX, &key, "");
        }
    }
}
