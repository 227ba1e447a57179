//! Circuits on `/metrics`, under Micrometer's names for resilience4j, so that existing dashboards show
//! breakers of every library. `application` is the service; an unknown rate is -1.

use fusebox::circuit_breaker::EffectiveState;

use super::exposition::Exposition;
use super::services::write_histogram;
use crate::live::circuits::InstanceFigures;

/// resilience4j's group of a breaker without one.
const NO_GROUP: &str = "none";

pub(super) fn write(text: &mut Exposition, circuits: &[InstanceFigures]) {
    if circuits.is_empty() {
        return;
    }
    write_states(text, circuits);
    write_calls(text, circuits);
    write_windows(text, circuits);
    let name = "resilience4j_circuitbreaker_failure_rate";
    text.family(
        name,
        "gauge",
        "Failed calls in the window, percent; -1 without.",
    );
    for circuit in circuits {
        let rate = circuit.failure_percent.unwrap_or(-1.0);
        text.sample(name, &labels(circuit, &[]), rate);
    }
    let name = "resilience4j_circuitbreaker_slow_call_rate";
    text.family(
        name,
        "gauge",
        "Slow calls in the window, percent; -1 without.",
    );
    for circuit in circuits {
        let rate = circuit.slow_percent.unwrap_or(-1.0);
        text.sample(name, &labels(circuit, &[]), rate);
    }
}

fn write_states(text: &mut Exposition, circuits: &[InstanceFigures]) {
    let name = "resilience4j_circuitbreaker_state";
    text.family(name, "gauge", "1 for the state that a breaker is in.");
    for circuit in circuits {
        for state in EffectiveState::ALL {
            let labels = labels(circuit, &[("state", state.as_str())]);
            text.sample(name, &labels, u8::from(circuit.state == state));
        }
    }
}

fn write_calls(text: &mut Exposition, circuits: &[InstanceFigures]) {
    let name = "resilience4j_circuitbreaker_calls_seconds";
    text.family(
        name,
        "histogram",
        "Calls that were made, since the start of the collector.",
    );
    for circuit in circuits {
        let made = &circuit.made;
        for (kind, total) in [
            ("successful", &made.successful),
            ("failed", &made.failed),
            ("ignored", &made.ignored),
        ] {
            let labels = labels(circuit, &[("kind", kind)]);
            write_histogram(text, name, &labels, total, &[]);
        }
    }
    let name = "resilience4j_circuitbreaker_not_permitted_calls_total";
    text.family(
        name,
        "counter",
        "Calls that were refused, since the start of the collector.",
    );
    for circuit in circuits {
        let labels = labels(circuit, &[("kind", "not_permitted")]);
        text.sample(name, &labels, circuit.counted.rejected);
    }
}

fn write_windows(text: &mut Exposition, circuits: &[InstanceFigures]) {
    let name = "resilience4j_circuitbreaker_buffered_calls";
    text.family(name, "gauge", "Calls in the window.");
    for circuit in circuits {
        let calls = &circuit.window;
        let failed = calls.failure.saturating_add(calls.timeout);
        for (kind, count) in [("successful", calls.success), ("failed", failed)] {
            text.sample(name, &labels(circuit, &[("kind", kind)]), count);
        }
    }
    let name = "resilience4j_circuitbreaker_max_buffered_calls";
    text.family(
        name,
        "gauge",
        "Calls that the window has, if it has a number.",
    );
    for circuit in circuits {
        if let Some(calls) = circuit.window_calls {
            text.sample(name, &labels(circuit, &[]), calls);
        }
    }
    let name = "fusebox_circuit_call_duration_seconds";
    text.family(
        name,
        "summary",
        "Durations of executed calls in the window.",
    );
    for circuit in circuits {
        let latency = &circuit.latency;
        let quantiles = [
            ("0.5", latency.p50_nanos),
            ("0.9", latency.p90_nanos),
            ("0.99", latency.p99_nanos),
        ];
        for (quantile, nanos) in quantiles {
            if let Some(nanos) = nanos {
                let labels = labels(circuit, &[("quantile", quantile)]);
                text.sample(name, &labels, nanos as f64 / 1e9);
            }
        }
    }
}

pub(super) fn labels<'a>(
    circuit: &'a InstanceFigures,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let group = match circuit.group.as_str() {
        "" => NO_GROUP,
        group => group,
    };
    let mut labels = vec![
        ("application", circuit.key.service.as_str()),
        ("instance", circuit.instance.as_str()),
        ("name", circuit.key.name.as_str()),
        ("group", group),
    ];
    labels.extend_from_slice(more);
    labels
}
