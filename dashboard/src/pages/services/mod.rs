//! Services: how much each served, how well and how fast, by operation; which instances were heard of; which of
//! its circuits are not closed.

use std::borrow::Cow;
use std::collections::HashMap;

use askama::Template;
use axum::extract::{Path, State};
use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::{CircuitView, InstanceSeen, RedStats, ServiceSummary, UnixNanos};

use crate::pages::Pages;
use crate::pages::frame::error::{PageError, PageResult};
use crate::pages::frame::page::{Chrome, Page, Section};
use crate::pages::frame::params::Params;
use crate::pages::view::href::Href;
use crate::pages::view::moment;
use crate::pages::view::range::Range;
use crate::pages::view::text::{self, MINUTE, SECOND};
use crate::pages::wall::Teach;
use crate::pages::wall::card::Card;

/// An instance silent for longer is late: exporters send at least every 60 s by default.
const LATE_AFTER: u64 = 90 * SECOND;
/// An instance silent for longer is gone.
const GONE_AFTER: u64 = 10 * MINUTE;
/// Services on one page; the filter looks at all of them.
const ROWS_MAX: usize = 100;
/// Operations listed.
const OPERATIONS_MAX: usize = 200;

/// Serves the list.
pub(crate) async fn list(State(pages): State<Pages>, params: Params) -> PageResult<ServicesPage> {
    let filter = params.get("filter").unwrap_or_default();
    let number = params.number("page", 1).max(1);
    let from = (number - 1).saturating_mul(ROWS_MAX);
    let found = pages.query.services(filter, from, ROWS_MAX).await?;
    let wall = pages.query.circuits().wall(None).await?;
    let page = ServicesPage::new(
        &found.services,
        &wall.circuits,
        UnixNanos::now().get(),
        Range::of(pages.retention()),
        Teach::from(&pages),
    );
    Ok(Page(page.of(found.total, number, filter)))
}

/// Serves one service.
pub(crate) async fn show(
    State(pages): State<Pages>,
    Path(name): Path<String>,
) -> PageResult<ServicePage> {
    let unknown = || PageError::NotFound(format!("no service {} has been seen", text::name(&name)));
    let service = pages.query.service(&name).await?.ok_or_else(unknown)?;
    let mut circuits = pages.query.circuits().wall(None).await?.circuits;
    circuits.retain(|circuit| circuit.key.service == name);
    Ok(Page(ServicePage::new(
        service,
        circuits,
        UnixNanos::now().get(),
    )))
}

/// Rate, errors and duration as words.
#[derive(Debug)]
pub(crate) struct Red {
    rate: String,
    errors: String,
    bad: bool,
    p50: String,
    p90: String,
    p99: String,
}

impl From<&RedStats> for Red {
    fn from(red: &RedStats) -> Self {
        let share = red.errors as f64 * 100.0 / red.calls.max(1) as f64;
        Self {
            rate: text::rate(red.calls_per_second),
            errors: if red.calls == 0 {
                "—".to_owned()
            } else {
                format!("{} %", text::percent(share))
            },
            bad: share >= 1.0,
            p50: text::maybe_duration(red.p50_nanos),
            p90: text::maybe_duration(red.p90_nanos),
            p99: text::maybe_duration(red.p99_nanos),
        }
    }
}

/// How fresh an instance is.
fn freshness(instance: &InstanceSeen, now: u64) -> (&'static str, &'static str) {
    match now.saturating_sub(instance.last_seen.get()) {
        silent if silent <= LATE_AFTER => ("closed", "reporting"),
        silent if silent <= GONE_AFTER => ("half", "late"),
        _ => ("off", "gone"),
    }
}

/// The list of services.
#[derive(Debug, Template)]
#[template(path = "services/list.html")]
pub(crate) struct ServicesPage {
    chrome: Chrome,
    rows: Vec<ServiceRow>,
    /// Services on all pages.
    total: usize,
    /// Which page, from 1.
    number: usize,
    filter: String,
    retention: Range,
    teach: Teach,
}

#[derive(Debug)]
struct ServiceRow {
    href: String,
    name: String,
    red: Red,
    operations: usize,
    fresh: usize,
    instances: usize,
    seen: String,
    not_closed: usize,
    circuits: usize,
    failed: String,
}

impl ServiceRow {
    fn has_circuits(&self) -> bool {
        self.circuits > 0
    }

    fn has_open_circuits(&self) -> bool {
        self.not_closed > 0
    }
}

impl ServicesPage {
    /// Returns the page of these services.
    pub(crate) fn new(
        services: &[ServiceSummary],
        circuits: &[CircuitView],
        now: u64,
        retention: Range,
        teach: Teach,
    ) -> Self {
        let mut circuits_of: HashMap<&str, (usize, usize)> = HashMap::new();
        for circuit in circuits {
            let (all, not_closed) = circuits_of.entry(&circuit.key.service).or_default();
            *all += 1;
            *not_closed += usize::from(circuit.state != EffectiveState::Closed);
        }
        let row = |service: &ServiceSummary| {
            let known = circuits_of.get(service.name.as_str());
            let (all, not_closed) = known.copied().unwrap_or_default();
            let fresh = |i: &&InstanceSeen| freshness(i, now).1 == "reporting";
            let last = service.instances.iter().map(|i| i.last_seen).max();
            ServiceRow {
                href: Href::service(&service.name).to_string(),
                name: text::name(&service.name).into_owned(),
                red: Red::from(&service.red),
                operations: service.operations.len(),
                fresh: service.instances.iter().filter(fresh).count(),
                instances: service.instances.len(),
                seen: last.map_or_else(
                    || "—".to_owned(),
                    |at| format!("{} ago", text::age(now.saturating_sub(at.get()))),
                ),
                not_closed,
                circuits: all,
                failed: Href::new("/traces")
                    .with("service", &service.name)
                    .with("error", true)
                    .to_string(),
            }
        };
        Self {
            chrome: Chrome::new(Section::Services, "Services"),
            rows: services.iter().map(row).collect(),
            total: services.len(),
            number: 1,
            filter: String::new(),
            retention,
            teach,
        }
    }

    /// Makes it one page of several.
    fn of(self, total: usize, number: usize, filter: &str) -> Self {
        Self {
            total,
            number,
            filter: text::name(filter).into_owned(),
            ..self
        }
    }

    fn has_filter(&self) -> bool {
        !self.filter.is_empty() || self.total > ROWS_MAX
    }

    /// Returns the links to the pages beside this one, with their words.
    fn pages(&self) -> Vec<(String, &'static str)> {
        let link = |number: usize| {
            let filter = (!self.filter.is_empty()).then_some(&self.filter);
            let href = Href::new("/services").with_some("filter", filter);
            href.with("page", number).to_string()
        };
        let earlier = (self.number > 1).then(|| (link(self.number - 1), "Previous services"));
        let is_last = self.number.saturating_mul(ROWS_MAX) >= self.total;
        let later = (!is_last).then(|| (link(self.number + 1), "More services"));
        earlier.into_iter().chain(later).collect()
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.filter.is_empty()
    }

    fn summary(&self) -> String {
        let count = self.total;
        let services = text::plural(count, "service", "services");
        let retention = self.retention.words();
        format!("{count} {services} in the last {retention}; numbers of the last minutes")
    }
}

/// The page of one service.
#[derive(Debug, Template)]
#[template(path = "services/service.html")]
pub(crate) struct ServicePage {
    chrome: Chrome,
    service: ServiceSummary,
    circuits: Vec<CircuitView>,
    now: u64,
}

#[derive(Debug)]
struct OperationRow {
    name: String,
    title: String,
    href: String,
    failed: String,
    red: Red,
}

impl ServicePage {
    /// Returns the page of a service and its circuits.
    pub(crate) fn new(service: ServiceSummary, mut circuits: Vec<CircuitView>, now: u64) -> Self {
        circuits.sort_by_key(|c| (std::cmp::Reverse(c.state), c.key.name.clone()));
        Self {
            chrome: Chrome::new(Section::Services, &service.name),
            service,
            circuits,
            now,
        }
    }

    fn name(&self) -> Cow<'_, str> {
        text::name(&self.service.name)
    }

    fn red(&self) -> Red {
        Red::from(&self.service.red)
    }

    fn traces(&self) -> String {
        Href::new("/traces")
            .with("service", &self.service.name)
            .to_string()
    }

    fn operations(&self) -> Vec<OperationRow> {
        let search = |name: &str| {
            Href::new("/traces")
                .with("service", &self.service.name)
                .with("operation", name)
        };
        let row = |operation: &fusebox_collector::model::OperationStats| OperationRow {
            name: text::name(&operation.name).into_owned(),
            title: text::title(&operation.name).into_owned(),
            href: search(&operation.name).to_string(),
            failed: search(&operation.name).with("error", true).to_string(),
            red: Red::from(&operation.red),
        };
        self.service
            .operations
            .iter()
            .take(OPERATIONS_MAX)
            .map(row)
            .collect()
    }

    fn more_operations(&self) -> Option<usize> {
        let more = self.service.operations.len().checked_sub(OPERATIONS_MAX);
        more.filter(|more| *more > 0)
    }

    fn instances(&self) -> Vec<InstanceRow> {
        let instances = self.service.instances.iter();
        instances
            .map(|instance| InstanceRow::new(instance, self.now))
            .collect()
    }

    fn cards(&self) -> Vec<Card<'_>> {
        self.circuits
            .iter()
            .map(|circuit| Card::new(circuit, self.now, true, false))
            .collect()
    }
}

/// An instance of the service.
#[derive(Debug)]
struct InstanceRow {
    id: String,
    class: &'static str,
    word: &'static str,
    last_seen: String,
    /// A moment, as HTML.
    first_seen: String,
}

impl InstanceRow {
    fn new(instance: &InstanceSeen, now: u64) -> Self {
        let (class, word) = freshness(instance, now);
        let silent = now.saturating_sub(instance.last_seen.get());
        Self {
            id: match instance.id.as_str() {
                "" => "(no id)".to_owned(),
                id => text::name(id).into_owned(),
            },
            class,
            word,
            last_seen: format!("{} ago", text::age(silent)),
            first_seen: moment::short(instance.first_seen.get(), now),
        }
    }
}
