//! Metrics of fusebox, resilience4j (through Micrometer), Polly and the mapping, combined to one observation per
//! breaker instance. Metrics and points may come in any order, and several metrics with one name are normal.

use std::collections::BTreeMap;

use fusebox::circuit_breaker::{EffectiveState, FallbackOutcome, Outcome};
use fusebox::semconv;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics};

use super::attributes::{Sender, name, text};
use super::fact::{Fact, Own, count, own_figure};
use super::mapping::Mapping;
use super::decoded_points::{Point, point_count, points};
use super::policies::{self, Measure};
use super::{Count, MetricsBatch, Observation, Temporality};
use crate::model::{CircuitKey, Source, UnixNanos, format_timestamp};

const R4J: &str = "resilience4j.circuitbreaker.";
const POLLY_EVENTS: &str = "resilience.polly.strategy.events";

/// Decodes every circuit point of a request.
pub fn decode_metrics(request: &ExportMetricsServiceRequest, mapping: &Mapping) -> MetricsBatch {
    let mut batch = MetricsBatch::default();
    for block in &request.resource_metrics {
        decode_block(block, mapping, &mut batch);
    }
    batch
}

#[derive(Debug, Clone, Copy)]
enum Meaning {
    Calls,
    Refused,
    State,
    InFlight,
    Fallbacks,
    Entered,
    /// A figure that the library computes over its own window.
    Own(Own),
    /// Repeats what another metric reports.
    Redundant,
}

fn meaning(metric: &str) -> Option<(Source, Meaning)> {
    let (source, meaning) = match metric {
        semconv::CALL_DURATION => (Source::Fusebox, Meaning::Calls),
        semconv::STATE => (Source::Fusebox, Meaning::State),
        semconv::INFLIGHT => (Source::Fusebox, Meaning::InFlight),
        semconv::FALLBACKS => (Source::Fusebox, Meaning::Fallbacks),
        POLLY_EVENTS => (Source::Polly, Meaning::Entered),
        _ => (
            Source::Resilience4j,
            resilience4j(metric.strip_prefix(R4J)?)?,
        ),
    };
    Some((source, meaning))
}

fn resilience4j(metric: &str) -> Option<Meaning> {
    match metric {
        "calls" => Some(Meaning::Calls),
        "not.permitted.calls" => Some(Meaning::Refused),
        "state" => Some(Meaning::State),
        "failure.rate" => Some(Meaning::Own(Own::FailureRate)),
        "slow.call.rate" => Some(Meaning::Own(Own::SlowRate)),
        "buffered.calls" => Some(Meaning::Own(Own::Calls)),
        "slow.calls" => Some(Meaning::Redundant),
        _ => None,
    }
}

fn decode_block(block: &ResourceMetrics, mapping: &Mapping, batch: &mut MetricsBatch) {
    let metrics = || block.scope_metrics.iter().flat_map(|scope| &scope.metrics);
    let Some(sender) = Sender::of(block.resource.as_ref()) else {
        batch.refused_points += metrics().map(point_count).sum::<u64>();
        return;
    };
    let mut gathered = BTreeMap::new();
    for metric in metrics() {
        match meaning(&metric.name) {
            Some((source, meaning)) => gather(metric, source, meaning, &mut gathered, batch),
            None => match policies::measure(&metric.name) {
                Some(measure) => gather_policies(metric, measure, &sender, batch),
                None => gather_mapped(metric, mapping, &mut gathered, batch),
            },
        }
    }
    let instance = instance(&sender, &gathered);
    batch
        .observations
        .extend(gathered.into_iter().map(|((_, name), observation)| {
            let service = sender.service.clone();
            Observation {
                key: CircuitKey { service, name },
                instance: match observation.source {
                    // Its events have no counts, so both are identified by the resource alone.
                    Source::Fusebox => sender.instance.clone(),
                    _ => instance.clone(),
                },
                ..observation
            }
        }));
}

fn gather_policies(metric: &Metric, measure: Measure, sender: &Sender, batch: &mut MetricsBatch) {
    for point in points(metric) {
        match policies::report(measure, &point, sender) {
            Some(report) => {
                batch.circuit_points += 1;
                batch.policies.push(report);
            }
            None => batch.refused_points += 1,
        }
    }
}

type Gathered = BTreeMap<(&'static str, String), Observation>;

fn gather(
    metric: &Metric,
    source: Source,
    meaning: Meaning,
    gathered: &mut Gathered,
    batch: &mut MetricsBatch,
) {
    for point in points(metric) {
        let read = breaker_name(&point, source)
            .and_then(|name| Some((name, fact(&point, source, meaning)?)));
        keep(read, source, &point, gathered, batch);
    }
}

/// Gathers the points of a metric that the mapping has, each by the first rule that is for it.
fn gather_mapped(
    metric: &Metric,
    mapping: &Mapping,
    gathered: &mut Gathered,
    batch: &mut MetricsBatch,
) {
    let rules = mapping.rules(&metric.name);
    if rules.is_empty() {
        batch.ignored_points += point_count(metric);
        return;
    }
    for point in points(metric) {
        let Some(rule) = rules.iter().find(|rule| rule.is_for(&point)) else {
            batch.ignored_points += 1;
            continue;
        };
        let read = rule
            .breaker(&point)
            .and_then(|name| Some((name, rule.fact(&point)?)));
        keep(read, rule.source, &point, gathered, batch);
    }
}

fn keep(
    read: Option<(String, Fact)>,
    source: Source,
    point: &Point<'_>,
    gathered: &mut Gathered,
    batch: &mut MetricsBatch,
) {
    match read {
        Some((_, Fact::OtherEvent)) => batch.ignored_points += 1,
        Some((name, fact)) => {
            batch.circuit_points += 1;
            let observation = gathered
                .entry((source.as_str(), name))
                .or_insert_with(|| empty(source));
            add(observation, fact, point);
        }
        None => batch.refused_points += 1,
    }
}

/// Returns the breaker's name; a Polly pipeline may have several strategies, so its name is built from both.
fn breaker_name(point: &Point<'_>, source: Source) -> Option<String> {
    match source {
        Source::Fusebox => name(point.attributes, semconv::BREAKER_NAME).map(str::to_owned),
        Source::Resilience4j => name(point.attributes, "name").map(str::to_owned),
        // No metric that is read without the mapping is of them.
        Source::Spans
        | Source::Opossum
        | Source::Pybreaker
        | Source::Gobreaker
        | Source::FailsafeGo
        | Source::Sentinel
        | Source::Other => None,
        Source::Polly => {
            let pipeline = name(point.attributes, "pipeline.name");
            let strategy = name(point.attributes, "strategy.name");
            match (pipeline, strategy) {
                (Some(pipeline), Some(strategy)) => Some(format!("{pipeline}/{strategy}")),
                (one, other) => one.or(other).map(str::to_owned),
            }
        }
        // Hystrix streams are not OTLP metrics.
        Source::Hystrix => None,
    }
}

/// Reads one point; `None` if a value is missing or impossible.
fn fact(point: &Point<'_>, source: Source, meaning: Meaning) -> Option<Fact> {
    let attribute = |key| text(point.attributes, key);
    let counted = |what| count(point, what).map(Fact::Count);
    match meaning {
        Meaning::Calls if source == Source::Fusebox => {
            let outcome = attribute(semconv::BREAKER_OUTCOME).and_then(Outcome::parse)?;
            counted(Count::Outcome(outcome))
        }
        Meaning::Calls => counted(Count::Outcome(match attribute("kind")? {
            "successful" => Outcome::Success,
            "failed" => Outcome::Failure,
            "ignored" => Outcome::Ignored,
            _ => return None,
        })),
        Meaning::Refused => counted(Count::Outcome(Outcome::Rejected)),
        Meaning::Fallbacks => {
            let outcome = FallbackOutcome::parse(attribute(semconv::FALLBACK_OUTCOME)?)?;
            let answered = outcome == FallbackOutcome::Success;
            counted(Count::Fallback { answered })
        }
        Meaning::State => {
            let key = match source {
                Source::Fusebox => semconv::BREAKER_STATE,
                _ => "state",
            };
            let state = EffectiveState::parse(attribute(key)?)?;
            Some(Fact::State((point.value? >= 0.5).then_some(state)))
        }
        Meaning::InFlight => {
            let running = point.count()?;
            Some(Fact::InFlight(u32::try_from(running).unwrap_or(u32::MAX)))
        }
        Meaning::Entered => match attribute("event.name")? {
            "OnCircuitOpened" => counted(Count::Entered(EffectiveState::Open)),
            "OnCircuitHalfOpened" => counted(Count::Entered(EffectiveState::HalfOpen)),
            "OnCircuitClosed" => counted(Count::Entered(EffectiveState::Closed)),
            _ => Some(Fact::OtherEvent),
        },
        Meaning::Own(own) => own_figure(own, point.value?),
        Meaning::Redundant => Some(Fact::Nothing),
    }
}

fn empty(source: Source) -> Observation {
    Observation {
        key: CircuitKey {
            service: String::new(),
            name: String::new(),
        },
        instance: String::new(),
        source,
        group: String::new(),
        time: UnixNanos::new(0),
        points: 0,
        counts: Vec::new(),
        state: None,
        in_flight: None,
        own_window: None,
    }
}

fn add(observation: &mut Observation, fact: Fact, point: &Point<'_>) {
    observation.points += 1;
    observation.time = observation.time.max(point.time);
    if observation.group.is_empty() {
        let group = name(point.attributes, semconv::BREAKER_GROUP);
        observation.group = group.unwrap_or_default().to_owned();
    }
    match fact {
        Fact::Count(count) => observation.counts.push(count),
        // Exactly one should be set; of several the worst counts.
        Fact::State(state) => observation.state = observation.state.max(state),
        Fact::InFlight(running) => observation.in_flight = Some(running),
        Fact::Own(own, value) => {
            let window = observation.own_window.get_or_insert_default();
            match own {
                Own::FailureRate => window.failure_percent = value,
                Own::SlowRate => window.slow_percent = value,
                Own::Calls => {
                    let more = value.map_or(0, |calls| calls as u64);
                    window.calls = Some(window.calls.unwrap_or(0).saturating_add(more));
                }
            }
        }
        Fact::Nothing | Fact::OtherEvent => {}
    }
}

/// Returns the instance. Micrometer reports none, and two replicas would look like one that restarts with
/// every report. There the exact start of the oldest count identifies it, because replicas deployed together
/// may start within the same second.
fn instance(sender: &Sender, gathered: &Gathered) -> String {
    if !sender.instance.is_empty() {
        return sender.instance.clone();
    }
    let counts = gathered
        .values()
        .flat_map(|observation| &observation.counts);
    counts
        .filter(|count| count.temporality == Temporality::Cumulative)
        .map(|count| count.start)
        .filter(|start| *start > UnixNanos::new(0))
        .min()
        .map(|start| format!("started {}", format_timestamp(start)))
        .unwrap_or_default()
}
