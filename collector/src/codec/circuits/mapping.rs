//! Which metrics of other libraries are about circuit breakers, and what they say: a table that ships with the collector
//! (`mapping.json`) and a file of the settings that adds to it. Both are read here, and checked whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use fusebox::circuit_breaker::{EffectiveState, Outcome};
use serde::Deserialize;

use super::Count;
use super::attributes::MAX_NAME_BYTES;
use super::fact::{Fact, Own, count, own_figure};
use super::points::Point;
use crate::model::Source;

/// Metrics of one file.
const METRICS_MAX: usize = 1_000;
/// Attributes that may name a breaker.
const BREAKER_ATTRIBUTES_MAX: usize = 16;
/// Words, or numbers, of one metric.
const WORDS_MAX: usize = 100;
/// What metrics begin with that are read without a mapping.
const READ_ALREADY: [&str; 3] = ["fusebox.", "resilience4j.", "resilience.polly."];

/// The table that ships with the collector.
static SHIPPED: LazyLock<Arc<Mapping>> = LazyLock::new(|| {
    let mapping = Mapping::parse(include_str!("mapping.json"), None);
    Arc::new(mapping.expect("a test reads it"))
});

/// Which metrics are about circuit breakers, by their names.
#[derive(Debug, Default)]
pub struct Mapping {
    rules: HashMap<String, Vec<Rule>>,
}

/// Why a mapping cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// It is no JSON of this form.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A metric cannot be read so.
    #[error("metric {number} ({metric}): {problem}")]
    Metric {
        /// Which, from 1.
        number: usize,
        /// Its name.
        metric: String,
        /// What is wrong.
        problem: String,
    },
    /// There are too many.
    #[error("metrics: at most {METRICS_MAX} are possible")]
    TooMany,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    metrics: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    metric: String,
    library: Option<String>,
    breaker: Vec<String>,
    #[serde(default, rename = "where")]
    has: Vec<String>,
    counts: Option<Counts>,
    state: Option<State>,
    gauge: Option<Gauge>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Counts {
    all: Option<Word>,
    attribute: Option<String>,
    #[serde(default)]
    words: BTreeMap<String, Word>,
}

/// What a count counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Success,
    Failure,
    Timeout,
    Rejected,
    BulkheadFull,
    Ignored,
    Cancelled,
    FallbackSuccess,
    FallbackFailure,
    Opened,
    HalfOpened,
    Closed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    attribute: Option<String>,
    #[serde(default)]
    words: BTreeMap<String, EffectiveState>,
    #[serde(default)]
    numbers: BTreeMap<String, EffectiveState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Gauge {
    InFlight,
    FailurePercent,
    FailureRatio,
    SlowPercent,
    SlowRatio,
    WindowCalls,
}

/// How the points of a metric are read.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) source: Source,
    breaker: Vec<String>,
    has: Vec<String>,
    says: Says,
}

/// What the points of a metric say.
#[derive(Debug, Clone)]
enum Says {
    Count(Word),
    /// By the value of an attribute; other values are of no breaker.
    Counts(String, BTreeMap<String, Word>),
    /// The value of an attribute is a state, and the point says whether it is the one in force.
    StateIs(String, BTreeMap<String, EffectiveState>),
    /// The point is the number of a state.
    StateNumber(BTreeMap<i64, EffectiveState>),
    Gauge(Gauge),
}

impl Mapping {
    /// Returns the table that ships with the collector.
    pub fn shipped() -> Arc<Self> {
        Arc::clone(&SHIPPED)
    }

    /// Reads a file; what it says of a metric takes the place of what ships with the collector.
    ///
    /// # Errors
    /// When it is no JSON of this form, or says something that cannot be done.
    pub fn read(text: &str) -> Result<Self, MappingError> {
        Self::parse(text, Some(&SHIPPED))
    }

    fn parse(json: &str, shipped: Option<&Arc<Self>>) -> Result<Self, MappingError> {
        let document: Document = serde_json::from_str(json)?;
        if document.metrics.len() > METRICS_MAX {
            return Err(MappingError::TooMany);
        }
        let mut rules: HashMap<String, Vec<Rule>> = HashMap::new();
        for (number, entry) in (1..).zip(document.metrics) {
            let metric = entry.metric.clone();
            let rule = Rule::of(entry).map_err(|problem| MappingError::Metric {
                number,
                metric: crate::model::cut(&metric, 64).to_owned(),
                problem,
            })?;
            rules.entry(plain(&metric)).or_default().push(rule);
        }
        for (metric, known) in shipped.iter().flat_map(|shipped| &shipped.rules) {
            rules.entry(metric.clone()).or_insert_with(|| known.clone());
        }
        Ok(Self { rules })
    }

    /// Returns how the points of a metric may be read; none where it is about no breaker.
    pub(super) fn rules(&self, metric: &str) -> &[Rule] {
        self.rules.get(&plain(metric)).map_or(&[], Vec::as_slice)
    }
}

/// Returns a name as its writers agree on it: Prometheus knows no dots, and its counters end with `_total`.
pub(super) fn plain(metric: &str) -> String {
    let metric = metric.replace(['.', '-'], "_");
    match metric.strip_suffix("_total") {
        Some(plain) => plain.to_owned(),
        None => metric,
    }
}

impl Rule {
    fn of(entry: Entry) -> Result<Self, String> {
        let has_length = |text: &String| (1..=MAX_NAME_BYTES).contains(&text.len());
        if !has_length(&entry.metric) {
            return Err(format!("metric: must have 1 to {MAX_NAME_BYTES} bytes"));
        }
        if READ_ALREADY
            .iter()
            .any(|read| entry.metric.starts_with(read))
        {
            return Err("metric: it is read without a mapping".to_owned());
        }
        let attributes = entry.breaker.iter().chain(&entry.has);
        let count = entry.breaker.len().max(entry.has.len());
        if entry.breaker.is_empty()
            || count > BREAKER_ATTRIBUTES_MAX
            || !attributes.clone().all(has_length)
        {
            return Err(format!(
                "breaker, where: must name 1 to {BREAKER_ATTRIBUTES_MAX} attributes"
            ));
        }
        let says = match (entry.counts, entry.state, entry.gauge) {
            (Some(counts), None, None) => counts.says()?,
            (None, Some(state), None) => state.says()?,
            (None, None, Some(gauge)) => Says::Gauge(gauge),
            _ => return Err("it must have one of counts, state and gauge".to_owned()),
        };
        Ok(Self {
            source: library(entry.library.as_deref())?,
            breaker: entry.breaker,
            has: entry.has,
            says,
        })
    }

    /// Returns whether a point has the attributes that this rule needs.
    pub(super) fn is_for(&self, point: &Point<'_>) -> bool {
        let mut needed = self.has.iter();
        needed.all(|key| point.labels.text(key).is_some())
    }

    /// Returns the breaker that a point is about: the values of the attributes that it has, joined.
    pub(super) fn breaker(&self, point: &Point<'_>) -> Option<String> {
        let names = self.breaker.iter();
        let names = names.filter_map(|key| point.labels.name(key));
        let joined = names.collect::<Vec<_>>().join("/");
        (!joined.is_empty() && joined.len() <= MAX_NAME_BYTES).then_some(joined)
    }

    /// Reads one point; `None` if a value is missing or impossible.
    pub(super) fn fact(&self, point: &Point<'_>) -> Option<Fact> {
        match &self.says {
            Says::Count(word) => count(point, word.counted()).map(Fact::Count),
            Says::Counts(attribute, words) => match words.get(point.labels.text(attribute)?) {
                Some(word) => count(point, word.counted()).map(Fact::Count),
                None => Some(Fact::OtherEvent),
            },
            Says::StateIs(attribute, words) => {
                let word = point.labels.text(attribute)?;
                let state = words.get(word).copied().or_else(|| state_of(word))?;
                Some(Fact::State((point.value? >= 0.5).then_some(state)))
            }
            Says::StateNumber(numbers) => {
                let number = point.value?.round() as i64;
                Some(Fact::State(Some(*numbers.get(&number)?)))
            }
            Says::Gauge(gauge) => gauge.fact(point.value?),
        }
    }
}

/// Returns the library of a name; without one it is another.
fn library(name: Option<&str>) -> Result<Source, String> {
    let Some(name) = name else {
        return Ok(Source::Other);
    };
    let known = Source::parse(name).filter(|source| source.is_mapped());
    known.ok_or_else(|| {
        let names: Vec<_> = Source::MAPPED
            .iter()
            .map(|source| source.as_str())
            .collect();
        format!("library: must be one of {}", names.join(", "))
    })
}

/// Reads a state as libraries write it: in any case, with `-` or a blank for `_`.
fn state_of(word: &str) -> Option<EffectiveState> {
    let word = word.to_ascii_lowercase().replace(['-', ' '], "_");
    match word.as_str() {
        "halfopen" => Some(EffectiveState::HalfOpen),
        "isolated" => Some(EffectiveState::ForcedOpen),
        word => EffectiveState::parse(word),
    }
}

impl Counts {
    fn says(self) -> Result<Says, String> {
        match (self.all, self.attribute) {
            (Some(word), None) if self.words.is_empty() => Ok(Says::Count(word)),
            (None, Some(attribute)) if (1..=WORDS_MAX).contains(&self.words.len()) => {
                Ok(Says::Counts(attribute, self.words))
            }
            _ => Err(format!(
                "counts: must have either all, or attribute and 1 to {WORDS_MAX} words"
            )),
        }
    }
}

impl State {
    fn says(self) -> Result<Says, String> {
        let counts = [self.words.len(), self.numbers.len()];
        match self.attribute {
            Some(attribute) if self.numbers.is_empty() && counts[0] <= WORDS_MAX => {
                Ok(Says::StateIs(attribute, self.words))
            }
            None if self.words.is_empty() && (1..=WORDS_MAX).contains(&counts[1]) => {
                let number = |(number, state): (String, EffectiveState)| {
                    number.parse().map(|number: i64| (number, state))
                };
                let numbers: Result<_, _> = self.numbers.into_iter().map(number).collect();
                let whole = |_| "state: numbers must be whole".to_owned();
                Ok(Says::StateNumber(numbers.map_err(whole)?))
            }
            _ => {
                Err("state: must have either attribute, perhaps with words, or numbers".to_owned())
            }
        }
    }
}

impl Word {
    fn counted(self) -> Count {
        match self {
            Self::Success => Count::Outcome(Outcome::Success),
            Self::Failure => Count::Outcome(Outcome::Failure),
            Self::Timeout => Count::Outcome(Outcome::Timeout),
            Self::Rejected => Count::Outcome(Outcome::Rejected),
            Self::BulkheadFull => Count::Outcome(Outcome::BulkheadFull),
            Self::Ignored => Count::Outcome(Outcome::Ignored),
            Self::Cancelled => Count::Outcome(Outcome::Cancelled),
            Self::FallbackSuccess => Count::Fallback { answered: true },
            Self::FallbackFailure => Count::Fallback { answered: false },
            Self::Opened => Count::Entered(EffectiveState::Open),
            Self::HalfOpened => Count::Entered(EffectiveState::HalfOpen),
            Self::Closed => Count::Entered(EffectiveState::Closed),
        }
    }
}

impl Gauge {
    fn fact(self, value: f64) -> Option<Fact> {
        match self {
            Self::InFlight => {
                let is_possible = (0.0..=f64::from(u32::MAX)).contains(&value);
                is_possible.then_some(Fact::InFlight(value as u32))
            }
            Self::FailurePercent => own_figure(Own::FailureRate, value),
            Self::FailureRatio => own_figure(Own::FailureRate, percent(value)),
            Self::SlowPercent => own_figure(Own::SlowRate, value),
            Self::SlowRatio => own_figure(Own::SlowRate, percent(value)),
            Self::WindowCalls => own_figure(Own::Calls, value),
        }
    }
}

/// Returns a ratio as percent; below zero it stays what says that there are too few calls.
fn percent(ratio: f64) -> f64 {
    if ratio < 0.0 { ratio } else { ratio * 100.0 }
}
