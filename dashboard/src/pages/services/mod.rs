//! The list of services: rate, errors, durations, instances with their last reports, and circuits that are not closed.

mod hour;
mod one;

use std::collections::HashMap;

use askama::Template;
use axum::extract::State;
use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::{CircuitView, RedStats, ServiceSummary, UnixNanos};
use fusebox_collector::query::{self, InstanceView, Liveness, Partial};

use crate::pages::Pages;
use crate::pages::frame::error::{PageError, PageResult};
use crate::pages::frame::page::{Chrome, Page, Section};
use crate::pages::frame::params::Params;
use crate::pages::instances::look;
use crate::pages::view::href::Href;
use crate::pages::view::range::Range;
use crate::pages::view::text;
use crate::pages::wall::Teach;
use crate::pages::words::Language;
use hour::Hour;
pub(crate) use one::show;
#[cfg(test)]
pub(crate) use one::{Peers, ServicePage};

/// Most services per page; the filter applies to all.
const ROWS_MAX: usize = 100;

/// Height of the hour in a row, in whole units: one digit keeps the page small.
const HOUR_HEIGHT: u64 = 9;

/// Serves the list.
pub(crate) async fn list(State(pages): State<Pages>, params: Params) -> PageResult<ServicesPage> {
    let filter = params.get("filter").unwrap_or_default();
    let number = params.number("page", 1).max(1);
    let from = (number - 1).saturating_mul(ROWS_MAX);
    let found = pages.query.services(filter, from, ROWS_MAX).await?;
    let wall = pages.query.circuits().wall(None).await?.value;
    let instances = pages.query.instances().await?.instances;
    let (filter, retention) = (filter.to_owned(), Range::of(pages.retention()));
    let teach = Teach::from(&pages);
    let now = UnixNanos::now().get();
    let page = aside(move || {
        let Partial { value, missing } = found;
        let (services, circuits) = (&value.services, &wall.circuits);
        let page = ServicesPage::new(services, circuits, &instances, now, retention, teach);
        let mut page = page.of(value.total, number, &filter);
        page.chrome = page.chrome.lacking(missing.as_ref(), now);
        page
    });
    Ok(Page(page.await?))
}

/// Builds a page on a blocking thread, because there may be thousands of breakers to process and drop.
async fn aside<T: Send + 'static>(
    build: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PageError> {
    Ok(query::aside(Language::carried(build)).await?)
}

/// Rate, errors and duration as words.
#[derive(Debug)]
pub(crate) struct Red {
    rate: String,
    errors: String,
    /// Whether there are failed calls to look at.
    fails: bool,
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
            fails: red.errors > 0,
            bad: share >= 1.0,
            p50: text::maybe_duration(red.p50_nanos),
            p90: text::maybe_duration(red.p90_nanos),
            p99: text::maybe_duration(red.p99_nanos),
        }
    }
}

/// Returns class and word of an instance, as its own page shows it; one that is no longer listed does not report.
fn liveness(listed: Option<&InstanceView>) -> (&'static str, &'static str) {
    let (class, word, _) = look(listed.map_or(Liveness::Silent, |one| one.liveness));
    (class, word)
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
    hour: Hour,
    operations: usize,
    live: usize,
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

    fn has_instances(&self) -> bool {
        self.instances > 0
    }

    fn has_open_circuits(&self) -> bool {
        self.not_closed > 0
    }
}

impl ServicesPage {
    pub(crate) fn new(
        services: &[ServiceSummary],
        circuits: &[CircuitView],
        instances: &[InstanceView],
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
        let mut instances_of: HashMap<&str, Vec<&InstanceView>> = HashMap::new();
        for one in instances.iter().filter(|i| i.liveness != Liveness::Ended) {
            instances_of.entry(&one.service).or_default().push(one);
        }
        let row = |service: &ServiceSummary| {
            let listed = instances_of.get(service.name.as_str());
            let listed = listed.map_or(&[][..], Vec::as_slice);
            let known = circuits_of.get(service.name.as_str());
            let (all, not_closed) = known.copied().unwrap_or_default();
            let seen = service.instances.iter().map(|i| i.last_seen);
            let last = seen.chain(listed.iter().map(|i| i.last_heard)).max();
            ServiceRow {
                href: Href::service(&service.name).to_string(),
                name: text::name(&service.name).into_owned(),
                red: Red::from(&service.red),
                hour: Hour::new(&service.minutes, HOUR_HEIGHT),
                operations: service.operations.len(),
                live: listed
                    .iter()
                    .filter(|i| i.liveness == Liveness::Live)
                    .count(),
                instances: listed.len(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::frame::page::draw;
    use crate::pages::tests::control;
    use crate::pages::tests::fixtures::{self, NOW, WEEK};

    /// *Guarantees*: an instance is live here while its own page says so, whatever it sends.
    #[test]
    fn instances_have_the_state_of_their_own_page() {
        let service = fixtures::services().remove(0);
        let one = |id, liveness| control::view(&service.name, id, liveness);
        let listed = [
            one("a", Liveness::Live),
            one("b", Liveness::Late),
            one("c", Liveness::Ended),
        ];
        let page = |listed: &[InstanceView]| {
            let (services, teach) = (std::slice::from_ref(&service), fixtures::teach());
            let page = ServicesPage::new(services, &[], listed, NOW, Range::of(WEEK), teach);
            draw(&page).unwrap()
        };
        assert!(page(&listed).contains("1 of 2 live"));
        assert!(page(&[]).contains("not reporting"));
    }

    #[test]
    fn a_page_of_very_many_services_has_a_bounded_size() {
        let service = fixtures::services().remove(0);
        let services = (0..100_000).map(|number| ServiceSummary {
            name: format!("service-{number:06}"),
            ..service.clone()
        });
        let services: Vec<_> = services.collect();
        let circuits = fixtures::big_wall(10_000).circuits;
        let retention = Range::of(WEEK);
        let teach = fixtures::teach();
        let page = ServicesPage::new(&services, &circuits, &[], NOW, retention, teach);
        let html = draw(&page.of(services.len(), 1, "")).unwrap();
        assert_eq!(html.matches("<th scope=\"row\"").count(), ROWS_MAX);
        assert!(html.contains("100000 services") || html.contains("100,000 services"));
        assert!(html.len() <= 300_000, "{} bytes", html.len());
    }
}
