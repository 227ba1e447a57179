//! Metrics about what is around breakers: pools, collapsers, caches and the policies of `resilience`, and those
//! of resilience4j.

use fusebox::circuit_breaker::LatencyHistogram;
use fusebox::resilience::{EventKind, Kind};
use fusebox::semconv;

use super::Temporality;
use super::attributes::Sender;
use super::points::Point;
use super::resilience4j::{self, Measured};
use crate::model::UnixNanos;
use crate::model::policy::{COLLAPSER, POOL, REQUEST_CACHE};

/// A policy of one instance of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId {
    /// The kind, a constant of `model::policy`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

/// What a number measures.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// A current value.
    Now(&'static str),
    /// A count of events.
    Count(&'static str),
    /// The calls of that breaker that a pool rejected.
    Caller(String),
}

/// A number and its temporality.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// A current value.
    Value(u64),
    /// A cumulative count or an increase, with the sizes of what is counted.
    Count {
        /// Whether it is cumulative.
        temporality: Temporality,
        /// When the count began, Unix nanoseconds of the instance's clock; 0 if unknown.
        start: UnixNanos,
        /// When it was read.
        time: UnixNanos,
        /// The count, cumulative or since the last report.
        count: u64,
        /// Sizes; one second stands for one call.
        sizes: LatencyHistogram,
    },
    /// A count within the sender's own last ten seconds, with the sizes of what is counted.
    Window(u64, LatencyHistogram),
}

/// One number of a policy of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyReport {
    /// The service.
    pub service: String,
    /// The instance of the service.
    pub instance: String,
    /// The policy.
    pub id: PolicyId,
    /// What the number measures.
    pub figure: Figure,
    /// The number.
    pub reading: Reading,
}

impl PolicyReport {
    /// Returns when its count began, if it is cumulative.
    pub(super) fn began(&self) -> Option<UnixNanos> {
        match self.reading {
            Reading::Count {
                temporality: Temporality::Cumulative,
                start,
                ..
            } => Some(start),
            _ => None,
        }
    }
}

/// The words of current values and of counts other than events.
const WORDS: [&str; 15] = [
    "active",
    "available",
    "batches",
    "calls",
    "completed",
    "delay_ms",
    "executed",
    "largest",
    "limit",
    "queue_limit",
    "queued",
    "rejected",
    "size",
    "size_max",
    "waiting",
];

/// Returns the kind of policies of this name.
pub(crate) fn kind(name: &str) -> Option<&'static str> {
    let known = [POOL, COLLAPSER, REQUEST_CACHE].into_iter();
    let mut kinds = known.chain(Kind::ALL.into_iter().map(Kind::as_str));
    kinds.find(|kind| *kind == name)
}

/// Returns the words of all figures.
pub(crate) fn words() -> impl Iterator<Item = &'static str> {
    let events = EventKind::ALL.into_iter().map(EventKind::as_str);
    WORDS.into_iter().chain(events)
}

/// Returns the word of a figure; `None` if this build does not know it.
pub(crate) fn word(name: &str) -> Option<&'static str> {
    words().find(|word| *word == name)
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Measure {
    Pool(Says),
    Caller,
    Collapser(Says),
    Cached,
    Events,
    Policy(&'static str),
    Resilience4j(Measured),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Says {
    Now(&'static str),
    Count(&'static str),
}

/// Returns what a metric measures; `None` if it is not about policies.
pub(super) fn measure(metric: &str) -> Option<Measure> {
    use Says::{Count, Now};
    Some(match metric {
        semconv::POOL_ACTIVE => Measure::Pool(Now("active")),
        semconv::POOL_QUEUED => Measure::Pool(Now("queued")),
        semconv::POOL_SIZE => Measure::Pool(Now("size")),
        semconv::POOL_LARGEST => Measure::Pool(Now("largest")),
        semconv::POOL_QUEUE_LIMIT => Measure::Pool(Now("queue_limit")),
        semconv::POOL_EXECUTED => Measure::Pool(Count("executed")),
        semconv::POOL_COMPLETED => Measure::Pool(Count("completed")),
        semconv::POOL_REJECTED => Measure::Pool(Count("rejected")),
        semconv::POOL_CALLER_REJECTED => Measure::Caller,
        semconv::COLLAPSER_BATCH_SIZE => Measure::Collapser(Count("batches")),
        semconv::COLLAPSER_CALLS => Measure::Collapser(Count("calls")),
        semconv::COLLAPSER_BATCH_SIZE_MAX => Measure::Collapser(Now("size_max")),
        semconv::COLLAPSER_DELAY => Measure::Collapser(Now("delay_ms")),
        semconv::CACHED => Measure::Cached,
        semconv::POLICY_EVENTS => Measure::Events,
        semconv::POLICY_AVAILABLE => Measure::Policy("available"),
        semconv::POLICY_LIMIT => Measure::Policy("limit"),
        semconv::POLICY_WAITING => Measure::Policy("waiting"),
        _ => Measure::Resilience4j(resilience4j::measured(metric)?),
    })
}

/// Decodes a point; `None` if a name or a number is missing or invalid.
pub(super) fn report(measure: Measure, point: &Point<'_>, sender: &Sender) -> Option<PolicyReport> {
    let (id, figure) = match measure {
        Measure::Resilience4j(measured) => of_resilience4j(measured, point)?,
        _ => own(measure, point)?,
    };
    let reading = match figure {
        // Reserved permits of a rate limiter make it negative.
        Figure::Now(_) if point.value? < 0.0 => Reading::Value(0),
        Figure::Now(_) => Reading::Value(point.count()?),
        Figure::Count(_) | Figure::Caller(_) => Reading::Count {
            temporality: point.temporality,
            start: point.start,
            time: point.time,
            count: point.count()?,
            sizes: point.latency(),
        },
    };
    Some(PolicyReport {
        service: sender.service.clone(),
        instance: sender.instance.clone(),
        id,
        figure,
        reading,
    })
}

/// Returns the policy and the figure of a point of the library `fusebox`.
fn own(measure: Measure, point: &Point<'_>) -> Option<(PolicyId, Figure)> {
    let named = |key| point.labels.name(key).map(str::to_owned);
    let (kind, key, figure) = match measure {
        Measure::Pool(says) => (POOL, semconv::POOL_NAME, says.figure()),
        Measure::Caller => (
            POOL,
            semconv::POOL_NAME,
            Figure::Caller(named(semconv::BREAKER_NAME)?),
        ),
        Measure::Collapser(says) => (COLLAPSER, semconv::BREAKER_NAME, says.figure()),
        Measure::Cached => (
            REQUEST_CACHE,
            semconv::BREAKER_NAME,
            Figure::Count("from_cache"),
        ),
        Measure::Events => (
            policy_kind(point)?,
            semconv::POLICY_NAME,
            Figure::Count(event(point)?),
        ),
        Measure::Policy(word) => (policy_kind(point)?, semconv::POLICY_NAME, Figure::Now(word)),
        Measure::Resilience4j(_) => return None,
    };
    let name = named(key)?;
    Some((PolicyId { kind, name }, figure))
}

fn of_resilience4j(measured: Measured, point: &Point<'_>) -> Option<(PolicyId, Figure)> {
    let (kind, word) = measured.words(point)?;
    let figure = match measured {
        Measured::Now(..) => Figure::Now(word),
        Measured::Ends(_) => Figure::Count(word),
    };
    let name = point.labels.name("name")?.to_owned();
    Some((PolicyId { kind, name }, figure))
}

impl Says {
    fn figure(self) -> Figure {
        match self {
            Self::Now(word) => Figure::Now(word),
            Self::Count(word) => Figure::Count(word),
        }
    }
}

fn policy_kind(point: &Point<'_>) -> Option<&'static str> {
    let word = point.labels.text(semconv::POLICY_KIND)?;
    let mut kinds = Kind::ALL.into_iter().map(Kind::as_str);
    kinds.find(|kind| *kind == word)
}

fn event(point: &Point<'_>) -> Option<&'static str> {
    let word = point.labels.text(semconv::POLICY_EVENT)?;
    let mut events = EventKind::ALL.into_iter().map(EventKind::as_str);
    events.find(|event| *event == word)
}
