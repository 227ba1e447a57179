//! Metrics of fusebox, resilience4j (through Micrometer), Polly and the mapping, combined to one observation per
//! breaker instance. Metrics and points may come in any order, and several metrics with one name are normal. They are read
//! from the bytes of the request; metrics that are not about breakers are only counted.

use std::borrow::Cow;
use std::collections::HashMap;

use fusebox::circuit_breaker::{EffectiveState, FallbackOutcome, Outcome};
use fusebox::semconv;

use super::attributes::Sender;
use super::fact::{Fact, Own, count, own_figure};
use super::labels::{Labels, checked, each};
use super::mapping::{Mapping, Rule};
use super::points::{Point, is_data, point_count, visit_points};
use super::policies::{self, Measure};
use super::{Count, CountPoint, MetricsBatch, Observation, PolicyReport, Temporality};
use crate::codec::otlp::DecodeError;
use crate::codec::otlp::wire::{Reader, length_key};
use crate::model::{CircuitKey, Source, UnixNanos, format_timestamp};

const R4J: &str = "resilience4j.circuitbreaker.";
const POLLY_EVENTS: &str = "resilience.polly.strategy.events";

/// `ExportMetricsServiceRequest.resource_metrics`; then the resource, its scopes and their metrics.
const RESOURCE_METRICS: u32 = length_key(1);
const RESOURCE: u32 = length_key(1);
const SCOPE_METRICS: u32 = length_key(2);
const METRICS: u32 = length_key(2);
/// Fields of a metric beside its data.
const NAME: u32 = length_key(1);
const UNIT: u32 = length_key(3);
const METRIC_FIELDS: u32 = 0b1110_1010_1010;

/// What the observations of a request may take in memory: three times as many breakers as are tracked.
pub(crate) const DECODED_BYTES_MAX: usize = 64 << 20;
/// An observation without its counts: its struct and five names, the longest of which has 256 bytes.
const OBSERVATION_BYTES: usize = 2 << 10;

/// A policy's number: its struct and three names, the longest of which has 256 bytes.
const POLICY_BYTES: usize = 1 << 10;

/// Decodes every circuit point of an `ExportMetricsServiceRequest`; other metrics are counted, not checked.
///
/// # Errors
/// If it is malformed, or a text of a circuit's point is not UTF-8.
pub fn decode_metrics(request: &[u8], mapping: &Mapping) -> Result<MetricsBatch, DecodeError> {
    let mut batch = MetricsBatch::default();
    let (mut point, mut bytes) = (Point::default(), 0);
    each(Reader::new(request), RESOURCE_METRICS, |block| {
        decode_block(block, mapping, &mut point, (&mut batch, &mut bytes))
    })?;
    Ok(batch)
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

fn decode_block<'a>(
    block: Reader<'a>,
    mapping: &Mapping,
    point: &mut Point<'a>,
    (batch, bytes): (&mut MetricsBatch, &mut usize),
) -> Result<(), DecodeError> {
    let mut labels = Labels::default();
    each(block, RESOURCE, |resource| labels.read_resource(resource))?;
    let mut gathered = Gathered::beside(*bytes);
    let sender = labels.sender();
    let before = batch.policies.len();
    each(block, SCOPE_METRICS, |scope| {
        each(scope, METRICS, |metric| match &sender {
            Some(sender) => decode_metric(metric, (mapping, sender), point, &mut gathered, batch),
            None => count_points(metric, &mut batch.refused_points),
        })
    })?;
    *bytes = gathered.bytes;
    if let Some(sender) = sender {
        let by_resource = instance(&sender, &gathered.list, &batch.policies[before..]);
        for policy in &mut batch.policies[before..] {
            policy.instance.clone_from(&by_resource);
        }
        batch
            .observations
            .extend(gathered.of(&sender, &by_resource));
    }
    Ok(())
}

/// How the points of a metric are read.
#[derive(Clone, Copy)]
enum Reading<'a> {
    Known(Source, Meaning),
    Policies(Measure),
    /// By the first of the mapping's rules that is for the point.
    Mapped(&'a [Rule]),
}

fn reading<'a>(metric: &str, mapping: &'a Mapping) -> Option<Reading<'a>> {
    if let Some((source, meaning)) = meaning(metric) {
        return Some(Reading::Known(source, meaning));
    }
    if let Some(measure) = policies::measure(metric) {
        return Some(Reading::Policies(measure));
    }
    let rules = mapping.rules(metric);
    (!rules.is_empty()).then_some(Reading::Mapped(rules))
}

/// Reads the points of a metric, if they are of a breaker.
fn decode_metric<'a>(
    metric: Reader<'a>,
    (mapping, sender): (&Mapping, &Sender),
    point: &mut Point<'a>,
    gathered: &mut Gathered,
    batch: &mut MetricsBatch,
) -> Result<(), DecodeError> {
    let (mut name, mut unit) = (&[][..], &[][..]);
    each_field(metric, |field, bytes| {
        match field {
            NAME => name = bytes.rest(),
            UNIT => unit = bytes.rest(),
            _ => {}
        }
        Ok(())
    })?;
    let name = std::str::from_utf8(checked(name)?).unwrap_or_default();
    let Some(reading) = reading(name, mapping) else {
        return count_points(metric, &mut batch.ignored_points);
    };
    each_field(metric, |field, data| match is_data(field) {
        true => visit_points((field, data), unit, point, |point| {
            match reading {
                Reading::Known(source, meaning) => gather(point, source, meaning, gathered, batch),
                Reading::Mapped(rules) => gather_mapped(point, rules, gathered, batch),
                Reading::Policies(measure) => {
                    gathered.bytes += POLICY_BYTES;
                    keep_policy(policies::report(measure, point, sender), batch);
                }
            }
            gathered.is_within_bounds()
        }),
        false => Ok(()),
    })
}

fn keep_policy(report: Option<PolicyReport>, batch: &mut MetricsBatch) {
    match report {
        Some(report) => {
            batch.circuit_points += 1;
            batch.policies.push(report);
        }
        None => batch.refused_points += 1,
    }
}

/// Counts the points of a metric without a look at them.
fn count_points(metric: Reader<'_>, count: &mut u64) -> Result<(), DecodeError> {
    each_field(metric, |field, data| {
        *count += point_count(field, data)?;
        Ok(())
    })
}

/// Visits the fields of a metric that have a length.
fn each_field<'a>(
    mut metric: Reader<'a>,
    mut visit: impl FnMut(u32, Reader<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    while let Some(key) = metric.key()? {
        if key == NAME || key == UNIT || is_data(key) {
            visit(key, metric.message()?)?;
        } else {
            metric.skip_unknown(key, METRIC_FIELDS)?;
        }
    }
    Ok(())
}

/// The observations of one resource. Metrics list the same breakers in the same order, so that of the last point or the
/// one after it is nearly always that of the next.
#[derive(Default)]
struct Gathered {
    list: Vec<Observation>,
    numbers: HashMap<(&'static str, String), usize>,
    last: usize,
    /// What all observations of the request take in memory.
    bytes: usize,
}

impl Gathered {
    /// Begins those of a resource, beside others that take so many bytes.
    fn beside(bytes: usize) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    fn is_within_bounds(&self) -> Result<(), DecodeError> {
        if self.bytes <= DECODED_BYTES_MAX {
            return Ok(());
        }
        Err(DecodeError::Protobuf {
            offset: 0,
            what: "more than 64 MiB when decoded (breakers and their data points)",
        })
    }

    /// Returns the observation of a breaker.
    fn of_breaker(&mut self, source: Source, name: &str) -> &mut Observation {
        let is_of = |one: &Observation| one.key.name == name && one.source == source;
        let following = [self.last, self.last + 1, 0];
        let guess = following
            .into_iter()
            .find(|at| self.list.get(*at).is_some_and(is_of));
        self.last = guess.unwrap_or_else(|| self.number(source, name));
        &mut self.list[self.last]
    }

    fn number(&mut self, source: Source, name: &str) -> usize {
        let number = self.numbers.entry((source.as_str(), name.to_owned()));
        *number.or_insert_with(|| {
            self.bytes += OBSERVATION_BYTES;
            self.list.push(empty(source, name));
            self.list.len() - 1
        })
    }

    /// Returns them by source and name, as what they are of that sender.
    fn of(mut self, sender: &Sender, by_resource: &String) -> Vec<Observation> {
        for observation in &mut self.list {
            observation.key.service.clone_from(&sender.service);
            observation.instance.clone_from(match observation.source {
                // Its events carry no counts, so both must go by the resource alone.
                Source::Fusebox => &sender.instance,
                _ => by_resource,
            });
        }
        let place = |one: &Observation| one.source.as_str();
        self.list
            .sort_by(|a, b| (place(a), &a.key.name).cmp(&(place(b), &b.key.name)));
        self.list
    }
}

fn gather(
    point: &Point<'_>,
    source: Source,
    meaning: Meaning,
    gathered: &mut Gathered,
    batch: &mut MetricsBatch,
) {
    let read = breaker_name(&point.labels, source)
        .and_then(|name| Some((name, fact(point, source, meaning)?)));
    keep(read, source, point, gathered, batch);
}

fn gather_mapped(
    point: &Point<'_>,
    rules: &[Rule],
    gathered: &mut Gathered,
    batch: &mut MetricsBatch,
) {
    let Some(rule) = rules.iter().find(|rule| rule.is_for(point)) else {
        batch.ignored_points += 1;
        return;
    };
    let read = rule
        .breaker(point)
        .and_then(|name| Some((name.into(), rule.fact(point)?)));
    keep(read, rule.source, point, gathered, batch);
}

fn keep(
    read: Option<(Cow<'_, str>, Fact)>,
    source: Source,
    point: &Point<'_>,
    gathered: &mut Gathered,
    batch: &mut MetricsBatch,
) {
    match read {
        Some((_, Fact::OtherEvent)) => batch.ignored_points += 1,
        Some((name, fact)) => {
            batch.circuit_points += 1;
            if let Fact::Count(count) = &fact {
                let buckets = size_of_val(count.latency.buckets());
                gathered.bytes += 2 * size_of::<CountPoint>() + buckets;
            }
            add(gathered.of_breaker(source, &name), fact, point);
        }
        None => batch.refused_points += 1,
    }
}

/// Returns the breaker's name; a Polly pipeline may have several strategies, so its name is built from both.
fn breaker_name<'a>(labels: &Labels<'a>, source: Source) -> Option<Cow<'a, str>> {
    match source {
        Source::Fusebox => labels.name(semconv::BREAKER_NAME).map(Cow::Borrowed),
        Source::Resilience4j => labels.name("name").map(Cow::Borrowed),
        // No metric that is read without the mapping is of them.
        Source::Spans
        | Source::Opossum
        | Source::Pybreaker
        | Source::Gobreaker
        | Source::FailsafeGo
        | Source::Sentinel
        | Source::Other => None,
        Source::Polly => {
            let pipeline = labels.name("pipeline.name");
            let strategy = labels.name("strategy.name");
            match (pipeline, strategy) {
                (Some(pipeline), Some(strategy)) => Some(format!("{pipeline}/{strategy}").into()),
                (one, other) => one.or(other).map(Cow::Borrowed),
            }
        }
        // Hystrix streams are not OTLP metrics.
        Source::Hystrix => None,
    }
}

/// Reads one point; `None` if a value is missing or impossible.
fn fact(point: &Point<'_>, source: Source, meaning: Meaning) -> Option<Fact> {
    let attribute = |key| point.labels.text(key);
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

fn empty(source: Source, name: &str) -> Observation {
    Observation {
        key: CircuitKey {
            service: String::new(),
            name: name.to_owned(),
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
        let group = point.labels.name(semconv::BREAKER_GROUP);
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
/// may start within the same second; the counts of policies only if breakers have none.
fn instance(sender: &Sender, gathered: &[Observation], policies: &[PolicyReport]) -> String {
    if !sender.instance.is_empty() {
        return sender.instance.clone();
    }
    let counts = gathered.iter().flat_map(|observation| &observation.counts);
    let of_breakers = counts
        .filter(|count| count.temporality == Temporality::Cumulative)
        .map(|count| count.start);
    let of_policies = || policies.iter().filter_map(PolicyReport::began);
    let is_known = |start: &UnixNanos| *start > UnixNanos::new(0);
    let oldest = of_breakers.filter(is_known).min();
    oldest
        .or_else(|| of_policies().filter(is_known).min())
        .map(|start| format!("started {}", format_timestamp(start)))
        .unwrap_or_default()
}
