//! Turns a record into one or two points, and points into requests. Pure: the same records give the same
//! lines.
//!
//! Tags are bounded (`Names`), so several names may share one tag value. Such a point carries the names
//! (`NAMES`) and is shifted by up to a millisecond by their hash, so that points do not overwrite each other.

use std::collections::{HashMap, HashSet, VecDeque};

use super::SHIFT;
use super::text::{json, stable_hash};
use crate::model::policy::PolicyRecord;
use crate::model::{CircuitKey, CircuitSettings, CircuitTransition, Provenance, UnixNanos, nanos};
use crate::store::influxdb::names::{Names, Owned};
use crate::store::influxdb::schema::{
    CIRCUIT_EVENT, CIRCUIT_HOUR, CIRCUIT_SETTINGS, CIRCUIT_STATE, COLLECTOR, INSTANCE_SEEN,
    Measurement, NAMES, POLICY, state_number,
};
use crate::store::influxdb::ship::lane::{BATCH_BYTES_MAX, BATCH_POINTS_MAX, Batch};
use crate::store::influxdb::wire::line::{Fields, Lines, tag_value};
use crate::store::series::{InstanceRecord, Rollup, SeriesRecord, SettingsRecord, Standing};

/// Space reserved in a request for the last point.
const POINT_BYTES_MAX: usize = 128 << 10;
/// Changes in the same moment are distinguished within a microsecond: ten by order of arrival, each with a
/// hundred slots for those in another request.
const EVENT_SHIFT_NANOS: u64 = 1_000;
const EVENT_PLACES: u64 = 100;

/// Returns tags as they are written. Sums are keyed by them: names that no tag distinguishes (beyond the
/// longest tag, or by a control character) then share one point instead of overwriting each other.
pub(super) fn written<const N: usize>(tags: [&str; N]) -> [String; N] {
    tags.map(|tag| tag_value(tag).into_owned())
}

/// Builds points and cuts them into requests.
#[derive(Debug)]
pub(super) struct Points<'a> {
    own: &'a str,
    names: &'a Names,
    lines: Lines,
    batches: VecDeque<Batch>,
    /// Used times of points whose tags hide names.
    taken: HashSet<(&'static str, u64)>,
    /// Changes seen per instance and time.
    changes: HashMap<(CircuitKey, String, UnixNanos), u64>,
}

/// A point's tags except `c`, sorted by key, and the names behind them.
#[derive(Debug)]
pub(super) struct Tagged<'a, const N: usize> {
    tags: [&'a str; N],
    /// The names as JSON, if a tag does not show its name.
    hidden: Option<String>,
}

impl<'a, const N: usize> Tagged<'a, N> {
    pub(super) fn new(tags: [&'a str; N], names: [&'a str; N]) -> Self {
        let mut pairs = tags.iter().zip(&names);
        let plain = pairs.all(|(tag, name)| tag_value(tag) == *name);
        Self {
            tags,
            hidden: (!plain).then(|| json(&names.as_slice())),
        }
    }

    /// Tags that need no names beside them.
    pub(super) fn plain(tags: [&'a str; N]) -> Self {
        Self { tags, hidden: None }
    }
}

impl<'a> Points<'a> {
    pub(super) fn new(own: &'a str, names: &'a Names) -> Self {
        Self {
            own,
            names,
            lines: Lines::default(),
            batches: VecDeque::new(),
            taken: HashSet::new(),
            changes: HashMap::new(),
        }
    }

    pub(super) fn into_batches(mut self) -> VecDeque<Batch> {
        self.cut();
        self.batches
    }

    pub(super) fn breaker<'k>(&self, key: &'k CircuitKey) -> [&'k str; 2] {
        let service = self.names.service(&key.service);
        let name = self.names.owned(Owned::Breaker, service, &key.name);
        [name, service]
    }

    pub(super) fn breaker_instance<'k>(
        &self,
        key: &'k CircuitKey,
        instance: &'k str,
    ) -> Tagged<'k, 3> {
        let [name, service] = self.breaker(key);
        let tag = self.names.owned(Owned::Instance, service, instance);
        Tagged::new([tag, name, service], [instance, &key.name, &key.service])
    }

    pub(super) fn operation<'k>(&self, service: &'k str, name: &'k str) -> [&'k str; 2] {
        let service = self.names.service(service);
        [self.names.owned(Owned::Operation, service, name), service]
    }

    pub(super) fn peer<'k>(&self, name: &'k str) -> &'k str {
        self.names.peer(name)
    }

    pub(super) fn point<const N: usize>(
        &mut self,
        measurement: &Measurement,
        tagged: &Tagged<'_, N>,
    ) -> Fields<'_> {
        let is_full = self.lines.count() >= BATCH_POINTS_MAX
            || self.lines.bytes() + POINT_BYTES_MAX > BATCH_BYTES_MAX;
        if is_full {
            self.cut();
        }
        let keys = &measurement.tags[1..];
        assert_eq!(keys.len(), N, "the schema names as many tags");
        let point = self.lines.point(measurement).tag(COLLECTOR, self.own);
        let pairs = keys.iter().zip(tagged.tags);
        let point = pairs.fold(point, |point, (key, value)| point.tag(key, value));
        let tells_names = measurement.fields.iter().any(|field| field.0 == NAMES);
        match &tagged.hidden {
            Some(names) if tells_names => point.fields().string(NAMES, names),
            _ => point.fields(),
        }
    }

    /// Returns the time of a point: that of its record, or a free slot in the following millisecond if tags
    /// hide names.
    pub(super) fn time_of<const N: usize>(
        &mut self,
        measurement: &Measurement,
        tagged: &Tagged<'_, N>,
        time: UnixNanos,
    ) -> u64 {
        let Some(names) = &tagged.hidden else {
            return time.get();
        };
        let hash = stable_hash(&[names]);
        let shift = nanos(SHIFT);
        let places = (0..shift).map(|step| time.get() + (hash + step) % shift);
        let mut free = places.filter(|place| self.taken.insert((measurement.name, *place)));
        free.next().unwrap_or(time.get())
    }

    fn cut(&mut self) {
        if self.lines.count() == 0 {
            return;
        }
        let points = self.lines.count() as u64;
        let lines = self.lines.take();
        self.batches.push_back(Batch {
            lines,
            points,
            ..Batch::default()
        });
    }

    /// Adds the points of a single record; kinds that only windows aggregate give none.
    pub(super) fn record(&mut self, record: &SeriesRecord) {
        match record {
            SeriesRecord::Transition(transition) => self.transition(transition),
            SeriesRecord::Settings(settings) => self.settings(settings),
            SeriesRecord::Standing(standing) => self.standing(standing),
            SeriesRecord::Rollup(rollup) => self.rollup(rollup),
            SeriesRecord::Instance(instance) => self.instance(instance),
            SeriesRecord::Policy(policy) => self.policy(policy),
            SeriesRecord::Sample(_)
            | SeriesRecord::Red(_)
            | SeriesRecord::Dependency(_)
            | SeriesRecord::Control(_)
            | SeriesRecord::Registry(_)
            | SeriesRecord::Address(_) => {}
        }
    }

    fn transition(&mut self, transition: &CircuitTransition) {
        let tagged = self.breaker_instance(&transition.key, &transition.instance);
        let (from, to) = (transition.from.as_str(), transition.to.as_str());
        let trace = transition.trace_id.map(|id| id.to_string());
        let trace = trace.as_deref().unwrap_or_default();
        let hidden = tagged.hidden.as_deref().unwrap_or_default();
        let exact = transition.time.get();
        let hash = stable_hash(&[from, to, &transition.reason, trace, hidden]);
        let place = self.order_of(transition) * EVENT_PLACES + hash % EVENT_PLACES;
        let time = exact - exact % EVENT_SHIFT_NANOS + place % EVENT_SHIFT_NANOS;
        let mut event = self
            .point(&CIRCUIT_EVENT, &tagged)
            .string("at", &exact.to_string())
            .bool("derived", transition.provenance == Provenance::Derived)
            .string("from", from)
            .string("reason", &transition.reason)
            .int("state", state_number(transition.to))
            .string("tid", trace)
            .string("to", to);
        if let Some(until) = transition.open_until {
            event = event.string("open_until", &until.get().to_string());
        }
        if let Some(span) = transition.span_id {
            event = event.string("sid", &span.to_string());
        }
        event.at(time);
        let opens = transition.to == fusebox::circuit_breaker::EffectiveState::Open;
        let mut state = self
            .point(&CIRCUIT_STATE, &tagged)
            .string("opened_by", if opens { trace } else { "" })
            .string("reason", &transition.reason);
        if let Some(until) = transition.open_until {
            state = state.count("retry_at", until.millis());
        }
        state
            .count("since", exact / 1_000_000)
            .int("state", state_number(transition.to))
            .string("state_name", to)
            .at(time);
    }

    /// Returns how many earlier changes the instance had at that time.
    fn order_of(&mut self, transition: &CircuitTransition) -> u64 {
        let key = transition.key.clone();
        let id = (key, transition.instance.clone(), transition.time);
        let count = self.changes.entry(id).or_default();
        *count += 1;
        *count - 1
    }

    fn standing(&mut self, standing: &Standing) {
        let tagged = self.breaker_instance(&standing.key, &standing.instance);
        let time = self.time_of(&CIRCUIT_STATE, &tagged, standing.time);
        let opened_by = standing.opened_by.map(|id| id.to_string());
        // Counters are left out: only the collector that received the reports can continue them.
        let stored = Standing {
            totals: None,
            ..standing.clone()
        };
        let mut state = self
            .point(&CIRCUIT_STATE, &tagged)
            .string("j", &json(&stored))
            .string("opened_by", opened_by.as_deref().unwrap_or_default())
            .string("reason", &standing.reason);
        if let Some(retry_at) = standing.retry_at {
            state = state.count("retry_at", retry_at.millis());
        }
        state
            .count("since", standing.since.millis())
            .int("state", state_number(standing.state))
            .string("state_name", standing.state.as_str())
            .at(time);
    }

    fn settings(&mut self, record: &SettingsRecord) {
        let tagged = self.breaker_instance(&record.key, &record.instance);
        let time = self.time_of(&CIRCUIT_SETTINGS, &tagged, record.time);
        let point = self.point(&CIRCUIT_SETTINGS, &tagged);
        limits(point, &record.settings, &json(record)).at(time);
    }

    fn rollup(&mut self, rollup: &Rollup) {
        let tagged = Tagged::plain(self.breaker(&rollup.key));
        let text = json(rollup);
        // A call counted just after the end of an hour makes a second record of that hour.
        let place = stable_hash(&[&text]) % nanos(SHIFT);
        self.point(&CIRCUIT_HOUR, &tagged)
            .string("j", &text)
            .at(rollup.hour.get() + place);
    }

    fn instance(&mut self, record: &InstanceRecord) {
        let service = self.names.service(&record.service);
        let instance = self.names.owned(Owned::Instance, service, &record.id);
        let tagged = Tagged::new([instance, service], [&record.id, &record.service]);
        let time = self.time_of(&INSTANCE_SEEN, &tagged, record.last_seen);
        let (first, last) = (record.first_seen.get(), record.last_seen.get());
        self.point(&INSTANCE_SEEN, &tagged)
            .string("exact", &format!("{first} {last}"))
            .count("first", first / 1_000_000)
            .string("id", &record.id)
            .count("last", last / 1_000_000)
            .at(time);
    }

    fn policy(&mut self, record: &PolicyRecord) {
        let [name, service] = self.breaker(&record.key);
        let instance = self.names.owned(Owned::Instance, service, &record.instance);
        let (kind, key) = (&*record.kind, &record.key);
        let names = [&*record.instance, kind, &*key.name, &*key.service];
        let tagged = Tagged::new([instance, kind, name, service], names);
        let time = self.time_of(&POLICY, &tagged, record.time);
        let value = |word: &str| {
            let count = record.counts.get(word).map(|count| count.total);
            count.or_else(|| record.values.get(word).map(|value| value.now))
        };
        let mut point = self.point(&POLICY, &tagged);
        for (field, _) in POLICY.fields {
            if *field == "j" {
                point = point.string(field, &json(record));
            } else if let Some(number) = value(field) {
                point = point.count(field, number);
            }
        }
        point.at(time);
    }
}

/// Adds the settings that panels show, sorted by field name, and all of them as JSON.
fn limits<'a>(point: Fields<'a>, settings: &CircuitSettings, all: &str) -> Fields<'a> {
    let count = |point: Fields<'a>, (name, value): (&'static str, Option<u64>)| match value {
        Some(value) => point.count(name, value),
        None => point,
    };
    let percent = |point: Fields<'a>, (name, value): (&'static str, Option<f64>)| match value {
        Some(value) => point.float(name, value),
        None => point,
    };
    let point = percent(point, ("failure_threshold", settings.failure_rate_percent));
    let point = count(point, ("half_open_probes", settings.half_open_probes));
    let counts = [
        ("max_concurrent", settings.max_concurrent),
        ("minimum_calls", settings.minimum_calls),
        ("open_ms", settings.open_duration_ms),
        ("slow_call_ms", settings.slow_call_duration_ms),
    ];
    let point = counts.into_iter().fold(point.string("j", all), count);
    let point = percent(point, ("slow_threshold", settings.slow_call_rate_percent));
    let counts = [
        ("timeout_ms", settings.timeout_ms),
        ("window_calls", settings.window_calls),
        ("window_ms", settings.window_ms),
    ];
    counts.into_iter().fold(point, count)
}

/// Adds the rates at which a breaker opens.
pub(super) fn thresholds<'a>(mut point: Fields<'a>, settings: &CircuitSettings) -> Fields<'a> {
    if let Some(percent) = settings.failure_rate_percent {
        point = point.float("failure_threshold", percent);
    }
    if let Some(percent) = settings.slow_call_rate_percent {
        point = point.float("slow_threshold", percent);
    }
    point
}
