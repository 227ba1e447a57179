//! One circuit as a card: turns a `CircuitView` into words, figures and drawings. Used by the wall, its stream and the
//! circuit's own page.

use std::borrow::Cow;

use askama::Template;
use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::{
    CircuitInstanceView, CircuitKey, CircuitView, Source, UnixNanos, format_duration,
};
use opentelemetry::TraceId;

use super::arranged::just_closed;
use super::instance_row::InstanceRow;
use crate::pages::hash::fnv1a;
use crate::pages::view::chart::{self, Path, Share, Stretch};
use crate::pages::view::href::Href;
use crate::pages::view::text::{self, MINUTE};
use crate::pages::view::{message, moment, state};

/// Bars of the sparkline if a view has none (the strip still needs a length).
const SPARK_BARS: usize = 60;

/// The card of a circuit at one moment.
#[derive(Debug, Template)]
#[template(path = "wall/card.html")]
pub(crate) struct Card<'a> {
    circuit: &'a CircuitView,
    now: u64,
    live: bool,
    with_instances: bool,
}

/// Percent of failed calls that count as many for a breaker whose own limit is not known: Hystrix's default.
const USUAL_LIMIT: f64 = 50.0;

/// A name, its figure and its title.
#[derive(Debug)]
pub(crate) struct Figure {
    /// What it is.
    pub(crate) name: &'static str,
    /// Its value.
    pub(crate) value: String,
    /// Its meaning, if the name needs an explanation.
    pub(crate) title: Option<&'static str>,
}

impl Figure {
    /// Returns a figure whose name needs no explanation.
    pub(crate) fn new(name: &'static str, value: String) -> Self {
        Self {
            name,
            value,
            title: None,
        }
    }
}

/// Returns the id of a circuit's card, which is also its anchor.
pub(crate) fn id(key: &CircuitKey) -> String {
    let text = format!("{}\0{}", key.service, key.name);
    format!("c-{:016x}", fnv1a(text.as_bytes()))
}

/// Returns the search for requests through a circuit.
pub(crate) fn requests(key: &CircuitKey, outcome: Option<&str>, at: Option<u64>) -> Href {
    let start = at.map(|at| at.saturating_sub(15 * MINUTE));
    let end = at.map(|at| at.saturating_add(MINUTE));
    Href::new("/traces")
        .with("service", &key.service)
        .with("circuit", &key.name)
        .with_some("outcome", outcome)
        .with_some("start", start.map(text::datetime_local))
        .with_some("end", end.map(text::datetime_local))
}

/// Returns the instances that decide the state: those that are not stale, or all if every one is.
pub(crate) fn reporting(circuit: &CircuitView) -> Vec<&CircuitInstanceView> {
    let all = circuit.instances.iter();
    let reporting: Vec<_> = all.clone().filter(|instance| !instance.stale).collect();
    match reporting.is_empty() {
        true => all.collect(),
        false => reporting,
    }
}

impl<'a> Card<'a> {
    /// Returns the card at `now`; in a `live` card ages are updated.
    pub(crate) fn new(
        circuit: &'a CircuitView,
        now: u64,
        live: bool,
        with_instances: bool,
    ) -> Self {
        Self {
            circuit,
            now,
            live,
            with_instances,
        }
    }

    pub(crate) fn circuit(&self) -> &'a CircuitView {
        self.circuit
    }

    /// Returns rate, errors and duration for a row: name and value.
    pub(crate) fn brief_figures(&self) -> [Figure; 3] {
        let latency = &self.circuit.latency;
        [
            Figure::new("p50", text::brief_duration(latency.p50_nanos)),
            Figure::new("p99", text::brief_duration(latency.p99_nanos)),
            Figure::new(t!("instances"), self.hosts()),
        ]
    }

    pub(crate) fn rate(&self) -> String {
        text::rate(self.circuit.calls_per_second)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.circuit.state == EffectiveState::Closed && !self.is_stale()
    }

    pub(crate) fn id(&self) -> String {
        id(&self.circuit.key)
    }

    pub(crate) fn class(&self) -> &'static str {
        state::class(self.circuit.state)
    }

    pub(crate) fn word(&self) -> &'static str {
        state::title(self.circuit.state)
    }

    pub(crate) fn symbol(&self) -> &'static str {
        state::symbol(self.circuit.state)
    }

    pub(crate) fn service(&self) -> Cow<'_, str> {
        text::name(&self.circuit.key.service)
    }

    pub(crate) fn name(&self) -> Cow<'_, str> {
        text::name(&self.circuit.key.name)
    }

    pub(crate) fn title(&self) -> String {
        let key = &self.circuit.key;
        text::title(&format!("{} → {}", key.service, key.name)).into_owned()
    }

    /// Returns the text for the filter, in lower case.
    pub(crate) fn haystack(&self) -> String {
        let circuit = self.circuit;
        let target = (circuit.target != circuit.key.name).then_some(&circuit.target);
        let words = [Some(&circuit.key.service), Some(&circuit.key.name), target];
        let words = words.into_iter().flatten().chain([&circuit.settings.group]);
        let words: Vec<_> = words.map(|word| text::name(word).to_lowercase()).collect();
        format!("{} {}", words.join(" "), state::word(self.circuit.state))
    }

    pub(crate) fn href(&self) -> String {
        let at = (!self.live).then_some(self.now);
        Href::circuit(&self.circuit.key)
            .with_some("at", at.map(text::datetime_local))
            .to_string()
    }

    /// Returns the name of the protected service, if it differs from the breaker's.
    fn target(&self) -> Option<Cow<'_, str>> {
        let circuit = self.circuit;
        let says_more = !circuit.target.is_empty() && circuit.target != circuit.key.name;
        says_more.then(|| text::name(&circuit.target))
    }

    /// Returns since when it is closed, forced or out; a probe does not restart the time.
    fn since(&self) -> UnixNanos {
        let circuit = self.circuit;
        let outage = circuit.outage.as_ref().filter(|_| self.is_out());
        outage.map_or(circuit.since, |outage| outage.since.min(circuit.since))
    }

    /// Returns whether it is known only from spans of its calls.
    fn is_from_spans(&self) -> bool {
        self.circuit.source == Source::Spans
    }

    /// Returns whether calls are rejected until a probe succeeds.
    fn is_out(&self) -> bool {
        use EffectiveState::{HalfOpen, Open};
        matches!(self.circuit.state, Open | HalfOpen)
    }

    /// Returns why it is forced or open.
    fn why(&self) -> Option<String> {
        let reason = match (&self.circuit.forced, &self.circuit.outage) {
            (Some(forced), _) => &forced.reason,
            (None, Some(outage)) if self.is_out() => &outage.reason,
            (None, _) if self.is_out() => &self.circuit.reason,
            _ => return None,
        };
        (!reason.is_empty()).then(|| message::shown(reason, 200).into_owned())
    }

    /// Returns the number of failed probes in the current outage.
    fn failed_probes(&self) -> Option<String> {
        let outage = self.circuit.outage.as_ref().filter(|_| self.is_out())?;
        let count = outage.failed_probes;
        (count > 0).then(|| tn!(count, "{n} probe failed", "{n} probes failed"))
    }

    /// Returns the time in its state as HTML, with its start in Unix milliseconds if it is updated.
    pub(crate) fn lasted(&self) -> String {
        let since = self.since();
        if since == UnixNanos::new(0) {
            return String::new();
        }
        if self.circuit.state == EffectiveState::Closed {
            return t!("since {when}", when = moment::short(since.get(), self.now));
        }
        t!(
            "for {age}",
            age = text::age(self.now.saturating_sub(since.get()))
        )
    }

    pub(crate) fn ticks_since(&self) -> Option<u64> {
        let circuit = self.circuit;
        let ticks = self.live && circuit.state != EffectiveState::Closed;
        let since = self.since();
        (ticks && since > UnixNanos::new(0)).then_some(since.millis())
    }

    pub(crate) fn ticks_until(&self) -> Option<u64> {
        let until = self.circuit.retry_at?;
        (self.live && until > UnixNanos::new(self.now)).then_some(until.millis())
    }

    /// Returns what happens next: when it tries again, how many probes are running.
    pub(crate) fn next(&self) -> Option<String> {
        match self.circuit.state {
            EffectiveState::Open => self.circuit.retry_at.map(|at| self.retry(at.get())),
            EffectiveState::HalfOpen => {
                let probes = self.circuit.in_flight;
                (probes > 0).then(|| t!("{n} probing", n = probes))
            }
            _ => None,
        }
    }

    fn retry(&self, at: u64) -> String {
        if at <= self.now {
            return t!("probe due").to_owned();
        }
        let wait = at - self.now + text::SECOND - 1;
        t!("tries again in {age}", age = text::age(wait))
    }

    /// Returns when the override ends, as HTML.
    fn forced_until(&self) -> Option<String> {
        let forced = self.circuit.forced.as_ref()?;
        Some(match forced.expires {
            Some(at) => t!("until {when}", when = moment::short(at.get(), self.now)),
            None => t!("no expiry").to_owned(),
        })
    }

    /// Returns whether no instance has reported recently.
    pub(crate) fn is_stale(&self) -> bool {
        let instances = &self.circuit.instances;
        !instances.is_empty() && instances.iter().all(|instance| instance.stale)
    }

    pub(crate) fn error(&self) -> Option<String> {
        self.circuit.error_percent.map(text::percent)
    }

    fn window(&self) -> String {
        format_duration(self.circuit.window_ms * 1_000_000)
    }

    pub(crate) fn error_class(&self) -> &'static str {
        let opens_at = self.circuit.settings.failure_rate_percent;
        match self.circuit.error_percent {
            Some(p) if p >= opens_at.unwrap_or(USUAL_LIMIT).max(1.0) => "open",
            Some(p) if p >= 5.0 => "half",
            None => "muted",
            _ => "",
        }
    }

    fn figures(&self) -> [Figure; 5] {
        let latency = &self.circuit.latency;
        let hosts = Figure {
            title: Some(t!("instances that are not closed, of those that report")),
            ..Figure::new(t!("instances"), self.hosts())
        };
        [
            Figure::new(t!("calls/s"), text::rate(self.circuit.calls_per_second)),
            Figure::new("p50", text::brief_duration(latency.p50_nanos)),
            Figure::new("p90", text::brief_duration(latency.p90_nanos)),
            Figure::new("p99", text::brief_duration(latency.p99_nanos)),
            hosts,
        ]
    }

    /// Returns how many of its instances are not closed; if all are closed, only their number.
    fn hosts(&self) -> String {
        let instances = reporting(self.circuit);
        let all = instances.len();
        let not_closed = instances.iter();
        let not_closed = not_closed
            .filter(|i| i.state != EffectiveState::Closed)
            .count();
        match self.circuit.state {
            EffectiveState::Closed => all.to_string(),
            _ => t!("{n} of {all}", n = not_closed, all = all),
        }
    }

    fn bars(&self) -> usize {
        self.circuit.spark.len().max(1)
    }

    fn spark(&self) -> Vec<Path> {
        chart::stacked(&self.circuit.spark, 4.0 * SPARK_BARS as f64, 46.0)
    }

    fn spark_label(&self) -> String {
        let calls = self
            .circuit
            .spark
            .iter()
            .fold(0, |sum, b| sum + b.calls.total());
        tn!(calls, "{n} call in two minutes", "{n} calls in two minutes")
    }

    fn strip(&self) -> Vec<Stretch> {
        chart::strip(&self.circuit.spark)
    }

    fn mix(&self) -> Vec<Stretch> {
        chart::mix(&self.circuit.calls)
    }

    fn legend(&self) -> Vec<Share> {
        let shares = chart::shares(&self.circuit.calls);
        shares.into_iter().filter(|share| share.calls > 0).collect()
    }

    fn share_href(&self, share: &Share) -> String {
        self.search(Some(share.outcome))
    }

    fn search(&self, outcome: Option<&str>) -> String {
        let at = (!self.live).then_some(self.now);
        requests(&self.circuit.key, outcome, at).to_string()
    }

    pub(crate) fn search_all(&self) -> String {
        self.search(None)
    }

    fn search_fallback(&self) -> String {
        self.search(Some("fallback"))
    }

    fn fallbacks(&self) -> Option<String> {
        let calls = &self.circuit.calls;
        let fallbacks = calls.fallback_success + calls.fallback_failure;
        (fallbacks > 0).then(|| text::count(fallbacks))
    }

    fn is_idle(&self) -> bool {
        self.circuit.calls.total() == 0
    }

    /// Returns the link to the call that opened it, until it has been closed for a minute.
    fn opened_by(&self) -> Option<String> {
        // A forced circuit was not opened by a call; earlier calls are in its history.
        let is_recent = self.is_out() || just_closed(self.circuit, self.now);
        if self.circuit.forced.is_some() || !is_recent {
            return None;
        }
        let outage = self.circuit.outage.as_ref();
        let first = outage.map_or(self.circuit.last_opened_by, |outage| outage.opened_by);
        first.map(|id| self.call(id))
    }

    /// Returns the link to the probe after which it opened again.
    fn last_probe(&self) -> Option<String> {
        let outage = self.circuit.outage.as_ref().filter(|_| self.is_out())?;
        let last = self
            .circuit
            .last_opened_by
            .filter(|_| outage.failed_probes > 0)?;
        Some(self.call(last))
    }

    fn call(&self, id: TraceId) -> String {
        Href::trace(id)
            .with("circuit", &self.circuit.key.name)
            .to_string()
    }

    fn has_errors(&self) -> bool {
        self.circuit.calls.errors(&self.circuit.settings) > 0
            || self.circuit.state == EffectiveState::Open
    }

    fn differs(&self) -> String {
        Href::circuit(&self.circuit.key)
            .with("differs", 1)
            .at("differs")
            .to_string()
    }

    fn lists_instances(&self) -> bool {
        self.with_instances && !self.circuit.instances.is_empty()
    }

    fn instances(&self) -> &[CircuitInstanceView] {
        &self.circuit.instances
    }
}
