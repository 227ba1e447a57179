//! One circuit: its current state and figures, its history, every transition with the call that caused it, the requests
//! that went through it, the differences of failed ones, its instances and settings.

pub(crate) mod changes;
mod columns;
pub(crate) mod differs;
mod outage_list;
mod outages;
pub(crate) mod range;
mod settings;
mod step;
mod view;

use std::borrow::Cow;
use std::time::Duration;

use askama::Template;
use axum::extract::{Path, State};
use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::live::circuits::ChangeStatus;
use fusebox_collector::model::{
    CircuitCalls, CircuitInstanceView, CircuitKey, CircuitTransition, CircuitView, Source,
    StateSpan, TimeRange, TracePage, UnixNanos,
};
use fusebox_collector::query::Partial;

use crate::pages::Pages;
use crate::pages::frame::error::{PageError, PageResult, lenient};
use crate::pages::frame::page::{Chrome, Page, Pill, Section};
use crate::pages::frame::params::Params;
use crate::pages::traces::{TraceRow, rows};
use crate::pages::view::chart::{self, Share, Stretch};
use crate::pages::view::href::Href;
use crate::pages::view::palette::Palette;
use crate::pages::view::policies::{self, PolicyRow};
use crate::pages::view::range::Range;
use crate::pages::view::text::{self, MINUTE};
use crate::pages::view::{action, message, moment, state};
use crate::pages::wall::card::{Card, Figure, reporting, requests};
use crate::pages::wall::instance_row::InstanceRow;
use changes::ShownChange;
use columns::Column;
use differs::Differs;
use outage_list::OutageRow;
use range::{Line, Shown};
use step::Step;
pub(crate) use view::View;
use view::{TABS, tab_word};

/// Most transitions read; those of a breaker that flaps all night are one line.
const TRANSITIONS_MAX: usize = 2_000;
/// Transitions listed in the log.
const LOG_MAX: usize = 50;

/// Serves a circuit.
pub(crate) async fn show(
    State(pages): State<Pages>,
    Path((service, name)): Path<(String, String)>,
    params: Params,
) -> PageResult<CircuitPage> {
    let now = UnixNanos::now().get();
    let (key, mut view) = (CircuitKey { service, name }, View::read(&params)?);
    let retention = Range::of(pages.retention());
    let circuit = find(&pages, &key, &mut view).await?;
    let missing = circuit.missing;
    let circuit = circuit.value.ok_or_else(|| unknown(&key, retention))?;
    let end = view.at.unwrap_or(now);
    let kept = TimeRange {
        start: UnixNanos::new(end.saturating_sub(retention.length())),
        end: UnixNanos::new(end),
    };
    let until_now = TimeRange {
        end: UnixNanos::new(end.saturating_add(1)),
        ..kept
    };
    let asked = params.range(&range::ranges(pages.retention()))?;
    let shown = range::history(&pages, &key, asked, end, view.at.is_none()).await?;
    let transitions = pages
        .query
        .circuits()
        .transitions(Some(&key), until_now, TRANSITIONS_MAX)
        .await;
    let transitions = lenient(transitions, Vec::new())?;
    let missing = missing.or(transitions.missing);
    let missing = missing.or_else(|| shown.missing.clone());
    let known = Known {
        transitions: transitions.value,
        requests: pages.query.search(view.query(&key, kept)).await?,
        differs: match view.differs {
            true => Some(differs::ask(&pages.query, &key, kept).await?),
            false => None,
        },
        changes: changes::all(pages.query.circuits().control(), &circuit, now),
        circuit,
        retention,
    };
    let is_now = view.at.is_none();
    let (circuits, service) = (pages.query.circuits(), Some(&*key.service));
    let around = match view.at {
        None => circuits.policies(service).into(),
        Some(at) => {
            let past = circuits.policies_at(service, UnixNanos::new(at)).await;
            lenient(past, Vec::new())?
        }
    };
    let missing = missing.or(around.missing);
    let mut page = CircuitPage::new(known, view, shown, now, &pages.palette);
    if is_now {
        page.is_switchable = circuits.control().is_switchable(&page.known.circuit);
    }
    page.policies = policies::rows(&around.value, Some(&key.name));
    page.chrome = page.chrome.lacking(missing.as_ref(), now);
    Ok(Page(page))
}

/// Returns the circuit as of the time in the view, which becomes a later one if it was heard of only then.
async fn find(
    pages: &Pages,
    key: &CircuitKey,
    view: &mut View,
) -> Result<Partial<Option<CircuitView>>, PageError> {
    let circuits = pages.query.circuits();
    let Some(at) = view.at.map(UnixNanos::new) else {
        return Ok(circuits.circuit(key, None).await?);
    };
    let found = circuits.circuit_around(key, at).await?;
    Ok(found.map(|found| {
        let (circuit, heard) = found?;
        if heard != at {
            view.unheard_at = view.at.replace(heard.get());
        }
        Some(circuit)
    }))
}

fn unknown(key: &CircuitKey, retention: Range) -> PageError {
    let (service, name) = (text::name(&key.service), text::name(&key.name));
    PageError::NotFound(t!(
        "{service} has reported no circuit {circuit} in the last {range}",
        service = service,
        circuit = name,
        range = retention.words()
    ))
}

/// The data of the page.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) circuit: CircuitView,
    /// Its transitions, newest first.
    pub(crate) transitions: Vec<CircuitTransition>,
    /// Requests through it.
    pub(crate) requests: TracePage,
    /// The changes that operators made and that are in force.
    pub(crate) changes: Vec<ChangeStatus>,
    /// The differences, if they were requested.
    pub(crate) differs: Option<Differs>,
    /// How long data is kept, which limits the listed transitions and requests.
    pub(crate) retention: Range,
}

/// The page of a circuit.
#[derive(Debug, Template)]
#[template(path = "circuit/page.html")]
pub(crate) struct CircuitPage {
    chrome: Chrome,
    known: Known,
    view: View,
    shown: Shown,
    now: u64,
    rows: Vec<TraceRow>,
    /// The policies around the circuit.
    policies: Vec<PolicyRow>,
    is_switchable: bool,
}

impl CircuitPage {
    /// Returns the page; `shown` is the content of the chart.
    pub(crate) fn new(known: Known, view: View, shown: Shown, now: u64, palette: &Palette) -> Self {
        let key = &known.circuit.key;
        let live = Href::circuit(key).to_string();
        let title = format!("{} → {}", key.service, key.name);
        let pill = if view.at.is_some() {
            Pill::Paused(live)
        } else {
            Pill::None
        };
        Self {
            chrome: Chrome::new(Section::Circuits, &title)
                .pill(pill)
                .scripts(&["chart.js"]),
            rows: rows(&known.requests.traces, now, palette),
            is_switchable: known.circuit.source == Source::Fusebox,
            known,
            view,
            shown,
            now,
            policies: Vec::new(),
        }
    }

    fn key(&self) -> &CircuitKey {
        &self.known.circuit.key
    }

    fn at(&self) -> u64 {
        self.view.at.unwrap_or(self.now)
    }

    fn service(&self) -> Cow<'_, str> {
        text::name(&self.key().service)
    }

    fn name(&self) -> Cow<'_, str> {
        text::name(&self.key().name)
    }

    fn service_href(&self) -> String {
        Href::service(&self.key().service).to_string()
    }

    fn wall_href(&self) -> String {
        let at = self.view.at.map(text::datetime_local);
        Href::new("/").with_some("at", at).to_string()
    }

    fn refreshes(&self) -> bool {
        self.view.at.is_none()
    }

    fn card(&self) -> Card<'_> {
        Card::new(
            &self.known.circuit,
            self.at(),
            self.view.at.is_none(),
            false,
        )
    }

    /// Returns the requested time and the later one that is shown, if the circuit was not heard of yet.
    fn unheard(&self) -> Option<(String, String)> {
        let time = |at| moment::short(at, self.now);
        Some((time(self.view.unheard_at?), time(self.at())))
    }

    fn class(&self) -> &'static str {
        state::class(self.known.circuit.state)
    }

    fn word(&self) -> &'static str {
        state::title(self.known.circuit.state)
    }

    fn symbol(&self) -> &'static str {
        state::symbol(self.known.circuit.state)
    }

    fn facts(&self) -> String {
        let circuit = &self.known.circuit;
        let instances = reporting(circuit);
        let all = instances.len();
        let same = instances.iter();
        let same = same.filter(|i| i.state == circuit.state).count();
        let instances = t!(
            "{n} of {all} instances {state}",
            n = same,
            all = all,
            state = state::word(circuit.state)
        );
        let rates = t!(
            "{calls} calls/s · {refused} rejected/s",
            calls = text::rate(circuit.calls_per_second),
            refused = text::rate(circuit.rejected_per_second)
        );
        format!("{instances} · {rates}")
    }

    fn reason(&self) -> Cow<'_, str> {
        message::shown(&self.known.circuit.reason, 300)
    }

    fn bars(&self) -> Vec<chart::Path> {
        chart::stacked(&self.shown.history.buckets, columns::WIDTH, 100.0)
    }

    fn columns(&self) -> Vec<Column> {
        columns::columns(self.key(), &self.shown.history, self.shown.time, self.now)
    }

    /// Returns the search in which an area dragged in the chart sets the times.
    fn search_href(&self) -> String {
        requests(self.key(), None, None).to_string()
    }

    /// Returns the times of the chart's ends, Unix nanoseconds.
    fn ends(&self) -> (u64, u64) {
        (self.shown.time.start.get(), self.shown.time.end.get())
    }

    fn highest(&self) -> Option<String> {
        columns::highest(&self.shown.history)
    }

    fn retention_words(&self) -> String {
        self.known.retention.words()
    }

    /// Returns the ranges to choose from: word, link, whether it is shown.
    fn ranges(&self) -> Vec<(String, String, bool)> {
        let choice = |range: Range| {
            let view = View {
                range: Some(range.value()),
                ..self.view.clone()
            };
            let href = view.href(self.key(), &view.outcome, view.differs);
            (range.words(), href.to_string(), range == self.shown.range)
        };
        let ranges = range::ranges(self.known.retention.length());
        ranges.iter().map(choice).collect()
    }

    fn lines(&self) -> Vec<Line> {
        range::lines(self.shown.time)
    }

    fn states(&self) -> Vec<Stretch> {
        chart::states(&self.shown.history.states, self.shown.time)
    }

    fn legend(&self) -> Vec<Share> {
        let mut calls = CircuitCalls::default();
        for bucket in &self.shown.history.buckets {
            calls.add(&bucket.calls);
        }
        let shares = chart::shares(&calls).into_iter();
        shares.filter(|share| share.calls > 0).collect()
    }

    /// Returns the share of the known time in which it refused calls, percent.
    fn open_share(&self) -> Option<String> {
        let length = |span: &StateSpan| span.end - span.start;
        let states = &self.shown.history.states;
        let known: Duration = states.iter().map(length).sum();
        let is_open =
            |s: &&StateSpan| matches!(s.state, EffectiveState::Open | EffectiveState::ForcedOpen);
        let open: Duration = states.iter().filter(is_open).map(length).sum();
        (!known.is_zero()).then(|| text::percent(open.div_duration_f64(known) * 100.0))
    }

    fn transitions(&self) -> Vec<Step> {
        self.known
            .transitions
            .iter()
            .take(LOG_MAX)
            .map(|t| Step::new(t, self.now))
            .collect()
    }

    fn outages(&self) -> Vec<OutageRow> {
        let is_out = self.known.circuit.state.refuses();
        let lines = outages::lines(outages::outages(&self.known.transitions));
        outage_list::rows(&lines, is_out, self.at())
    }

    fn log_words(&self) -> String {
        let count = self.known.transitions.len();
        match count > LOG_MAX {
            true => t!(
                "Log: the newest {n} of {all} transitions",
                n = LOG_MAX,
                all = text::count(count as u64)
            ),
            false => tn!(count, "Log: {n} transition", "Log: {n} transitions"),
        }
    }

    fn tabs(&self) -> Vec<(&'static str, String, bool)> {
        let tab = |outcome: &'static str| {
            let href = self.view.href(self.key(), outcome, self.view.differs);
            let href = href.at("requests").to_string();
            (tab_word(outcome), href, outcome == self.view.outcome)
        };
        TABS.into_iter().map(tab).collect()
    }

    fn all_requests(&self) -> String {
        let outcome = (!self.view.outcome.is_empty()).then_some(self.view.outcome.as_str());
        let at = self.view.at.map(|at| at.saturating_add(MINUTE));
        let href = requests(self.key(), outcome, at);
        let href = if at.is_none() {
            href.with("range", self.known.retention.value())
        } else {
            href
        };
        href.to_string()
    }

    fn compare_href(&self) -> String {
        self.view
            .href(self.key(), &self.view.outcome, true)
            .at("differs")
            .to_string()
    }

    fn instances(&self) -> Vec<(&CircuitInstanceView, String)> {
        let seen = |i: &CircuitInstanceView| text::age(self.at().saturating_sub(i.last_seen.get()));
        self.known
            .circuit
            .instances
            .iter()
            .map(|i| (i, seen(i)))
            .collect()
    }

    fn forced(&self) -> Option<(&'static str, String, String)> {
        let forced = self.known.circuit.forced.as_ref()?;
        let word = state::title(EffectiveState::from(forced.kind));
        let until = match forced.expires {
            Some(at) => t!(
                "expires at {when}",
                when = moment::short(at.get(), self.now)
            ),
            None => t!("no expiry").to_owned(),
        };
        Some((
            word,
            message::shown(&forced.reason, 1_000).into_owned(),
            until,
        ))
    }

    fn settings(&self) -> Vec<Figure> {
        settings::rows(&self.known.circuit.settings)
    }

    /// Returns what its telemetry cannot tell, and why.
    fn unanswered(&self) -> Option<&'static str> {
        match self.known.circuit.source {
            Source::Fusebox => None,
            Source::Resilience4j
            | Source::Polly
            | Source::Opossum
            | Source::Pybreaker
            | Source::Gobreaker
            | Source::FailsafeGo
            | Source::Sentinel
            | Source::Other => Some(t!(
                "Its metrics carry neither settings nor traces: requests are found only where spans have circuit_breaker.name."
            )),
            Source::Hystrix => Some(t!(
                "Its stream carries no traces: requests are found only where spans have circuit_breaker.name."
            )),
            Source::Spans => Some(t!(
                "Spans carry no settings, and calls that sampling left out are not counted: send its metrics to know both."
            )),
        }
    }

    /// Returns whether the page offers changes: only for the present, and if the library accepts changes.
    fn can_switch(&self) -> bool {
        self.view.at.is_none() && self.is_switchable
    }

    fn takes_settings(&self) -> bool {
        self.known.circuit.source == Source::Fusebox
    }

    fn changes(&self) -> Vec<ShownChange> {
        let shown = |status| ShownChange::new(status, self.now);
        self.known.changes.iter().map(shown).collect()
    }

    fn switches(&self) -> Vec<(&'static str, String)> {
        changes::links(self.key(), action::of_library(self.known.circuit.source))
    }

    fn settings_href(&self) -> String {
        Href::circuit(self.key()).segment("settings").to_string()
    }

    fn journal_href(&self) -> String {
        let key = self.key();
        let journal = Href::new("/changes").with("service", &key.service);
        journal.with("circuit", &key.name).to_string()
    }

    fn source(&self) -> &'static str {
        match self.known.circuit.source {
            Source::Spans => t!("spans of its calls alone: its service sends no metrics of it"),
            source => source.as_str(),
        }
    }
}
