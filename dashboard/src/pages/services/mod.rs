//! Services: rate, errors and durations by operation, instances with their last reports, and the circuits that are not
//! closed.

use std::borrow::Cow;
use std::collections::HashMap;

use askama::Template;
use axum::extract::{Path, State};
use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::{
    CircuitView, DependencyLink, InstanceSeen, RedStats, ServiceSummary, TimeRange, UnixNanos,
};
use fusebox_collector::query::Partial;

use crate::pages::Pages;
use crate::pages::frame::error::{PageError, PageResult, lenient};
use crate::pages::frame::page::{Chrome, Page, Section};
use crate::pages::frame::params::Params;
use crate::pages::map::Edge;
use crate::pages::view::href::Href;
use crate::pages::view::moment;
use crate::pages::view::policies::{self, PolicyRow};
use crate::pages::view::range::Range;
use crate::pages::view::text::{self, HOUR, MINUTE, SECOND};
use crate::pages::wall::Teach;
use crate::pages::wall::card::Card;
use crate::pages::words::Language;

/// An instance without a report for longer is late; exporters send at least every 60 s by default.
const LATE_AFTER: u64 = 90 * SECOND;
/// An instance without a report for longer is gone.
const GONE_AFTER: u64 = 10 * MINUTE;
/// Most services per page; the filter applies to all.
const ROWS_MAX: usize = 100;
/// Operations listed.
const OPERATIONS_MAX: usize = 200;
/// Instances listed.
const INSTANCES_MAX: usize = 100;
/// Most callers, and callees, listed: those with most calls.
const PEERS_MAX: usize = 50;
/// The range in which callers and callees are searched.
const PEERS_RANGE: u64 = HOUR;
/// Most cards of circuits on the page of a service, some 5 KB each; the wall has all of them.
const CARDS_MAX: usize = 30;

/// Serves the list.
pub(crate) async fn list(State(pages): State<Pages>, params: Params) -> PageResult<ServicesPage> {
    let filter = params.get("filter").unwrap_or_default();
    let number = params.number("page", 1).max(1);
    let from = (number - 1).saturating_mul(ROWS_MAX);
    let found = pages.query.services(filter, from, ROWS_MAX).await?;
    let wall = pages.query.circuits().wall(None).await?.value;
    let (filter, retention) = (filter.to_owned(), Range::of(pages.retention()));
    let teach = Teach::from(&pages);
    let now = UnixNanos::now().get();
    let page = aside(move || {
        let Partial { value, missing } = found;
        let page = ServicesPage::new(&value.services, &wall.circuits, now, retention, teach);
        let mut page = page.of(value.total, number, &filter);
        page.chrome = page.chrome.lacking(missing.as_ref(), now);
        page
    });
    Ok(Page(page.await?))
}

/// Serves one service.
pub(crate) async fn show(
    State(pages): State<Pages>,
    Path(name): Path<String>,
) -> PageResult<ServicePage> {
    let unknown = || {
        PageError::NotFound(t!(
            "no service {name} has been seen",
            name = text::name(&name)
        ))
    };
    let service = pages.query.service(&name).await?.ok_or_else(unknown)?;
    let now = UnixNanos::now().get();
    let lately = TimeRange {
        start: UnixNanos::new(now.saturating_sub(PEERS_RANGE)),
        end: UnixNanos::MAX,
    };
    let links = lenient(pages.query.dependencies(lately).await, Vec::new())?;
    let wall = pages.query.circuits().wall(None).await?.value;
    let around = pages.query.circuits().policies(Some(&name));
    let page = aside(move || {
        let peers = Peers::new(links.value, &wall.circuits, &name);
        let mut circuits = wall.circuits;
        circuits.retain(|circuit| circuit.key.service == name);
        let mut page = ServicePage::new(service, circuits, peers, now);
        page.policies = policies::rows(&around, None);
        page.chrome = page.chrome.lacking(links.missing.as_ref(), now);
        page
    });
    Ok(Page(page.await?))
}

/// Builds a page on a blocking thread, because there may be thousands of breakers to process and drop.
async fn aside<T: Send + 'static>(
    build: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PageError> {
    let built = tokio::task::spawn_blocking(Language::carried(build)).await;
    built.map_err(|_| PageError::Overloaded)
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

/// Returns how recent the last report of an instance is.
fn freshness(instance: &InstanceSeen, now: u64) -> (&'static str, &'static str) {
    match now.saturating_sub(instance.last_seen.get()) {
        silent if silent <= LATE_AFTER => ("closed", t!("reporting")),
        silent if silent <= GONE_AFTER => ("half", t!("late")),
        _ => ("off", t!("gone")),
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
    /// The number of the page, from 1.
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
            let fresh = |i: &&InstanceSeen| freshness(i, now).0 == "closed";
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
                    |at| t!("{age} ago", age = text::age(now.saturating_sub(at.get()))),
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
            chrome: Chrome::new(Section::Services, t!("Services")),
            rows: services.iter().take(ROWS_MAX).map(row).collect(),
            total: services.len(),
            number: 1,
            filter: String::new(),
            retention,
            teach,
        }
    }

    /// Makes it one of several pages.
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

    /// Returns the links to the previous and next page, with their words.
    fn pages(&self) -> Vec<(String, &'static str)> {
        let link = |number: usize| {
            let filter = (!self.filter.is_empty()).then_some(&self.filter);
            let href = Href::new("/services").with_some("filter", filter);
            href.with("page", number).to_string()
        };
        let earlier = (self.number > 1).then(|| (link(self.number - 1), t!("Previous services")));
        let is_last = self.number.saturating_mul(ROWS_MAX) >= self.total;
        let later = (!is_last).then(|| (link(self.number + 1), t!("More services")));
        earlier.into_iter().chain(later).collect()
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.filter.is_empty()
    }

    fn summary(&self) -> String {
        let count = self.total;
        tn!(
            count,
            "{n} service in the last {range}; numbers of the last minutes",
            "{n} services in the last {range}; numbers of the last minutes",
            range = self.retention.words()
        )
    }
}

/// The services around one.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    callers: Vec<Edge>,
    callees: Vec<Edge>,
}

impl Peers {
    /// Returns the callers and callees of a service, most calls first.
    pub(crate) fn new(
        mut links: Vec<DependencyLink>,
        circuits: &[CircuitView],
        service: &str,
    ) -> Self {
        links.sort_by_key(|link| std::cmp::Reverse(link.call_count));
        let listed = |is_wanted: &dyn Fn(&&DependencyLink) -> bool| {
            let wanted = links.iter().filter(is_wanted).take(PEERS_MAX);
            wanted.map(|link| Edge::listed(link, circuits)).collect()
        };
        Self {
            callers: listed(&|link| link.child == service),
            callees: listed(&|link| link.parent == service),
        }
    }
}

/// The page of one service.
#[derive(Debug, Template)]
#[template(path = "services/service.html")]
pub(crate) struct ServicePage {
    chrome: Chrome,
    service: ServiceSummary,
    /// The circuits that are shown, worst first.
    circuits: Vec<CircuitView>,
    /// The total number of circuits.
    circuits_total: usize,
    /// The policies of the service.
    policies: Vec<PolicyRow>,
    peers: Peers,
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
    pub(crate) fn new(
        service: ServiceSummary,
        mut circuits: Vec<CircuitView>,
        peers: Peers,
        now: u64,
    ) -> Self {
        circuits.sort_by_cached_key(|c| (std::cmp::Reverse(c.state), c.key.name.clone()));
        let circuits_total = circuits.len();
        circuits.truncate(CARDS_MAX);
        Self {
            chrome: Chrome::new(Section::Services, &service.name),
            service,
            circuits,
            circuits_total,
            policies: Vec::new(),
            peers,
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

    fn more_instances(&self) -> Option<usize> {
        let more = self.service.instances.len().checked_sub(INSTANCES_MAX);
        more.filter(|more| *more > 0)
    }

    fn more_circuits(&self) -> Option<usize> {
        let more = self.circuits_total - self.circuits.len();
        (more > 0).then_some(more)
    }

    /// Returns the wall, filtered by the service.
    fn wall(&self) -> String {
        Href::new("/")
            .with("filter", &self.service.name)
            .to_string()
    }

    fn instances(&self) -> Vec<InstanceRow> {
        let instances = self.service.instances.iter().take(INSTANCES_MAX);
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
    /// When it was first seen, as HTML.
    first_seen: String,
}

impl InstanceRow {
    fn new(instance: &InstanceSeen, now: u64) -> Self {
        let (class, word) = freshness(instance, now);
        let silent = now.saturating_sub(instance.last_seen.get());
        Self {
            id: match instance.id.as_str() {
                "" => t!("(no id)").to_owned(),
                id => text::name(id).into_owned(),
            },
            class,
            word,
            last_seen: t!("{age} ago", age = text::age(silent)),
            first_seen: moment::short(instance.first_seen.get(), now),
        }
    }
}

#[cfg(test)]
mod tests {
    use fusebox_collector::model::{CircuitKey, OperationStats};

    use super::*;
    use crate::pages::frame::page::draw;
    use crate::pages::tests::fixtures::{self, NOW, WEEK};

    const BREAKERS: usize = 10_000;

    /// As many breakers as the largest service may have.
    fn breakers() -> Vec<CircuitView> {
        let mut circuits = fixtures::big_wall(BREAKERS).circuits;
        for circuit in &mut circuits {
            circuit.key = CircuitKey {
                service: "shop & co".to_owned(),
                ..circuit.key.clone()
            };
        }
        circuits
    }

    #[test]
    fn a_page_of_very_many_services_has_a_bounded_size() {
        let service = fixtures::services().remove(0);
        let services = (0..100_000).map(|number| ServiceSummary {
            name: format!("service-{number:06}"),
            ..service.clone()
        });
        let services: Vec<_> = services.collect();
        let circuits = fixtures::big_wall(BREAKERS).circuits;
        let retention = Range::of(WEEK);
        let page = ServicesPage::new(&services, &circuits, NOW, retention, fixtures::teach());
        let html = draw(&page.of(services.len(), 1, "")).unwrap();
        assert_eq!(html.matches("<th scope=\"row\"").count(), ROWS_MAX);
        assert!(html.contains("100000 services") || html.contains("100,000 services"));
        assert!(html.len() <= 300_000, "{} bytes", html.len());
    }

    /// *Guarantees*: the page of a service lists its callers and callees, with the breakers between them.
    #[test]
    fn the_page_of_a_service_has_its_callers_and_callees() {
        let mut service = fixtures::services().remove(0);
        service.name = "review".to_owned();
        let circuits = fixtures::wall().circuits;
        let key = circuits[0].key.clone();
        let link = |parent: &str, child: &str, keys: &[CircuitKey]| DependencyLink {
            parent: parent.to_owned(),
            child: child.to_owned(),
            child_is_virtual: false,
            call_count: 40,
            error_count: 4,
            circuits: keys.to_vec(),
        };
        let links = vec![
            link("gateway", "review", std::slice::from_ref(&key)),
            link("review", "legacy", &[]),
            link("gateway", "price", &[]),
        ];
        let peers = Peers::new(links, &circuits, "review");
        let html = draw(&ServicePage::new(service, Vec::new(), peers, NOW)).unwrap();
        let (_, callers) = html.split_once("Called by").expect("callers");
        let (callers, callees) = callers.split_once("<h2>Calls").expect("callees");
        assert!(callers.contains("/services/gateway") && callers.contains("10 %"));
        assert!(
            callers.contains(&Href::circuit(&key).to_string()),
            "{callers}"
        );
        assert!(callees.contains("/services/legacy") && !html.contains("/services/price"));
    }

    #[test]
    fn the_page_of_a_service_with_very_many_of_everything_has_a_bounded_size() {
        let mut service = fixtures::services().remove(0);
        service.name = "shop & co".to_owned();
        let operation = |number: usize| OperationStats {
            name: format!("GET /{number}"),
            ..service.operations[0].clone()
        };
        service.operations = (0..5_000).map(operation).collect();
        let instance = |number: usize| InstanceSeen {
            id: format!("shop-{number}"),
            ..service.instances[0].clone()
        };
        service.instances = (0..5_000).map(instance).collect();
        let html = draw(&ServicePage::new(
            service,
            breakers(),
            Peers::default(),
            NOW,
        ))
        .unwrap();
        assert_eq!(
            html.matches("<th scope=\"row\"").count(),
            OPERATIONS_MAX + INSTANCES_MAX
        );
        assert_eq!(html.matches("<article").count(), CARDS_MAX);
        assert!(
            html.contains("href=\"/?filter=shop+%26+co\">9970 more<")
                || html.contains("href=\"/?filter=shop%20%26%20co\">9970 more<"),
            "{html}"
        );
        assert!(html.len() <= 300_000, "{} bytes", html.len());
    }
}
