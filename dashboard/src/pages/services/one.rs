//! One service: its operations, instances, circuits, and the services that it calls and that call it.

use std::borrow::Cow;

use askama::Template;
use axum::extract::{Path, State};
use fusebox_collector::model::{
    CircuitView, DependencyLink, InstanceSeen, OperationStats, ServiceSummary, TimeRange, UnixNanos,
};
use fusebox_collector::query::InstanceView;

use super::{Hour, Red, aside, liveness};
use crate::pages::Pages;
use crate::pages::frame::error::{PageError, PageResult, lenient};
use crate::pages::frame::page::{Chrome, Page, Section};
use crate::pages::map::Edge;
use crate::pages::view::href::Href;
use crate::pages::view::moment;
use crate::pages::view::policies::{self, PolicyRow};
use crate::pages::view::text::{self, HOUR};
use crate::pages::wall::card::Card;

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

/// Height of the drawing of its last hour, in whole units.
const HOUR_HEIGHT: u64 = 40;

/// Serves one service.
pub(crate) async fn show(
    State(pages): State<Pages>,
    Path(name): Path<String>,
) -> PageResult<ServicePage> {
    let seen = pages.query.service(&name).await?;
    let sends_spans = seen.is_some();
    if !sends_spans && !is_named(&pages, &name).await? {
        let unknown = t!("no service {name} has been seen", name = text::name(&name));
        return Err(PageError::NotFound(unknown));
    }
    let now = UnixNanos::now();
    let service = seen.unwrap_or_else(|| pages.query.live().service(&name, now));
    let now = now.get();
    let lately = TimeRange {
        start: UnixNanos::new(now.saturating_sub(PEERS_RANGE)),
        end: UnixNanos::MAX,
    };
    let links = lenient(pages.query.dependencies(lately).await, Vec::new())?;
    let wall = pages.query.circuits().wall(None).await?.value;
    let around = pages.query.circuits().policies(Some(&name));
    let mut instances = pages.query.instances().await?.instances;
    instances.retain(|one| one.service == name);
    let page = aside(move || {
        let peers = Peers::new(links.value, &wall.circuits, &name);
        let mut circuits = wall.circuits;
        circuits.retain(|circuit| circuit.key.service == name);
        let mut page = ServicePage::new(service, circuits, peers, now);
        page.policies = policies::rows(&around, None);
        page.listed = instances;
        page.sends_spans = sends_spans;
        page.chrome = page.chrome.lacking(links.missing.as_ref(), now);
        page
    });
    Ok(Page(page.await?))
}

/// Returns whether a service that sends no spans is known otherwise: by circuits, by instances, or because it is called.
async fn is_named(pages: &Pages, name: &str) -> Result<bool, PageError> {
    let wall = pages.query.circuits().wall(None).await?.value;
    if wall
        .circuits
        .iter()
        .any(|circuit| circuit.key.service == name)
    {
        return Ok(true);
    }
    let found = pages.query.instances().await?;
    if found.instances.iter().any(|one| one.service == name) {
        return Ok(true);
    }
    let kept = TimeRange::until(UnixNanos::now(), pages.query.retention());
    let links = lenient(pages.query.dependencies(kept).await, Vec::new())?.value;
    Ok(links
        .iter()
        .any(|link| link.child == name || link.parent == name))
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
    /// Its instances as their own page lists them.
    listed: Vec<InstanceView>,
    /// Whether it is known by its own spans.
    sends_spans: bool,
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
            listed: Vec::new(),
            sends_spans: true,
            now,
        }
    }

    fn instances_href(&self) -> String {
        let instances = Href::new("/instances");
        instances.with("filter", &self.service.name).to_string()
    }

    fn name(&self) -> Cow<'_, str> {
        text::name(&self.service.name)
    }

    fn red(&self) -> Red {
        Red::from(&self.service.red)
    }

    fn hour(&self) -> Hour {
        Hour::new(&self.service.minutes, HOUR_HEIGHT)
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
        let row = |operation: &OperationStats| OperationRow {
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
        let listed = |id: &str| self.listed.iter().find(|one| one.id == id);
        instances
            .map(|instance| InstanceRow::new(instance, listed(&instance.id), self.now))
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
    fn new(instance: &InstanceSeen, listed: Option<&InstanceView>, now: u64) -> Self {
        let (class, word) = liveness(listed);
        let heard = listed.map_or(instance.last_seen, |one| one.last_heard);
        let silent = now.saturating_sub(heard.max(instance.last_seen).get());
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
    use fusebox_collector::model::CircuitKey;

    use super::*;
    use crate::pages::frame::page::draw;
    use crate::pages::tests::fixtures::{self, NOW};

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
