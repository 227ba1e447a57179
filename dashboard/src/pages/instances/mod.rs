//! Instances: the processes of each service, whether they are alive, since when, the states of their circuits, and their
//! registrations.

mod actuator;
pub(crate) mod breaker;
mod breaker_form;
mod group;
pub(crate) mod one;
pub(crate) mod status;
mod status_form;

use std::borrow::Cow;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use fusebox_collector::api;
use fusebox_collector::live::circuits::Way;
use fusebox_collector::model::UnixNanos;
use fusebox_collector::query::{InstanceView, Instances, Liveness, RegistrationView};

use self::group::Group;

use crate::pages::Pages;
use crate::pages::frame::error::{PageError, PageResult};
use crate::pages::frame::page::{Chrome, Page, Section};
use crate::pages::frame::params::Params;
use crate::pages::view::href::Href;
use crate::pages::view::{moment, text};

/// Most instances per page; the filter applies to all.
const ROWS_MAX: usize = 500;

/// Serves the list: as a page, or to clients of Spring Boot Admin's API.
pub(crate) async fn show(
    State(pages): State<Pages>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, PageError> {
    if api::is_for_json(&headers) {
        return Ok(api::admin_instances(&pages.query, params.get("name")));
    }
    Ok(list(&pages, &params).await?.into_response())
}

async fn list(pages: &Pages, params: &Params) -> PageResult<InstancesPage> {
    let filter = params.get("filter").unwrap_or_default();
    let instances = pages.query.instances().await?;
    let now = UnixNanos::now().get();
    Ok(Page(InstancesPage::new(instances, filter, now)))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "instances/page.html")]
pub(crate) struct InstancesPage {
    chrome: Chrome,
    filter: String,
    /// Those with heartbeats, whose absence is meaningful.
    with_heartbeat: usize,
    /// The numbers by liveness, in words.
    sums: String,
    silent_at_once: Option<usize>,
    /// Registrations that are kept although their leases are over.
    preserved: usize,
    groups: Vec<Group>,
    is_cut: bool,
}

/// One instance as listed.
#[derive(Debug)]
struct Row {
    service: String,
    service_href: String,
    id: String,
    /// The link to its page, if it has an id.
    href: Option<String>,
    class: &'static str,
    word: &'static str,
    /// The meaning of the word, if it needs one.
    title: Cow<'static, str>,
    /// Its address and version, if it registered them.
    address: String,
    version: String,
    /// The parts of its health: those that are not up, else how many are.
    health: String,
    since: String,
    uptime: Uptime,
    heard: String,
    control: &'static str,
    circuits: usize,
    not_closed: usize,
    rate: String,
    error: String,
}

impl InstancesPage {
    /// Returns the page of the instances whose service or id contains `filter`.
    pub(crate) fn new(found: Instances, filter: &str, now: u64) -> Self {
        let Instances {
            instances,
            silent_at_once,
            preserved,
        } = found;
        let wanted = filter.to_lowercase();
        let contains = |text: &str| text.to_lowercase().contains(&wanted);
        let matching = |one: &&InstanceView| contains(&one.service) || contains(&one.id);
        let has_heartbeat =
            |one: &&InstanceView| !matches!(one.liveness, Liveness::Silent | Liveness::Ended);
        let shown: Vec<_> = instances.iter().filter(matching).collect();
        Self {
            chrome: Chrome::new(Section::Instances, t!("Instances")),
            filter: text::shown(filter, 300).into_owned(),
            with_heartbeat: instances.iter().filter(has_heartbeat).count(),
            sums: sums(&shown),
            silent_at_once,
            preserved,
            groups: Group::all(&shown, ROWS_MAX, now),
            is_cut: shown.len() > ROWS_MAX,
        }
    }

    fn silent_percent(&self) -> Option<usize> {
        let silent = self.silent_at_once?;
        Some(silent * 100 / self.with_heartbeat.max(1))
    }
}

/// Returns the numbers of instances by liveness, in words.
fn sums(instances: &[&InstanceView]) -> String {
    let states = [
        Liveness::Live,
        Liveness::Late,
        Liveness::Down,
        Liveness::OutOfService,
        Liveness::Starting,
        Liveness::Silent,
        Liveness::Ended,
    ];
    let count = |liveness| instances.iter().filter(|i| i.liveness == liveness).count();
    let counted = states.map(|liveness| (count(liveness), look(liveness).1));
    let shown = counted.into_iter().filter(|(count, _)| *count > 0);
    let shown: Vec<_> = shown
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    shown.join(" · ")
}

/// Returns class, word and meaning of a liveness.
pub(super) fn look(liveness: Liveness) -> (&'static str, &'static str, &'static str) {
    match liveness {
        Liveness::Live => ("closed", t!("live"), ""),
        Liveness::Late => ("half", t!("late"), t!("it missed a heartbeat")),
        Liveness::Down => ("open", t!("down"), t!("it missed three heartbeats")),
        Liveness::OutOfService => (
            "forced",
            t!("out of service"),
            t!("it must not get requests"),
        ),
        Liveness::Starting => ("half", t!("starting"), t!("it is not ready yet")),
        Liveness::Ended => (
            "off",
            t!("ended"),
            t!("it announced its end, as when a deployment replaces it"),
        ),
        Liveness::Silent => (
            "off",
            t!("not reporting"),
            t!("it sends spans only and has sent none for a minute: it may be idle or gone"),
        ),
    }
}

/// Returns class, word and meaning of the liveness of an instance.
fn look_of(one: &InstanceView) -> (&'static str, &'static str, Cow<'static, str>) {
    let (class, word, meaning) = look(one.liveness);
    let registration = one.registration.as_ref();
    let health = registration.and_then(|registration| registration.health.as_ref());
    let is_down = |registration: &RegistrationView| registration.is_down();
    match health {
        Some(health) if !health.reason.is_empty() && one.liveness == Liveness::Down => (
            class,
            word,
            text::shown(&health.reason, 300).into_owned().into(),
        ),
        _ if one.liveness == Liveness::Down && registration.is_some_and(is_down) => {
            (class, word, t!("it reports that it is down").into())
        }
        _ => (class, word, meaning.into()),
    }
}

/// Returns the parts of the health of an instance in words, if its actuator is read.
fn health(registration: &RegistrationView) -> Option<String> {
    let parts = &registration.health.as_ref()?.components;
    let is_up = |(_, status): &&(String, String)| status == "UP";
    let others = parts.iter().filter(|part| !is_up(part));
    let others: Vec<_> = others
        .map(|(name, status)| format!("{} {}", text::shown(name, 60), text::shown(status, 30)))
        .collect();
    match (parts.len(), others.is_empty()) {
        (0, _) => None,
        (all, true) => Some(t!("{n} parts up", n = all)),
        (_, false) => Some(others.join(", ")),
    }
}

/// Returns the page of an instance.
pub(crate) fn href(service: &str, id: &str) -> Href {
    Href::instance(service, id)
}

/// How long an instance has been running.
#[derive(Debug)]
struct Uptime {
    words: Option<String>,
    /// What the words mean, if that needs words.
    title: &'static str,
}

impl Uptime {
    fn of(one: &InstanceView, now: u64) -> Self {
        let age = |since: UnixNanos| text::age(now.saturating_sub(since.get()));
        let is_over = matches!(one.liveness, Liveness::Down | Liveness::Ended);
        let (words, title) = match (one.started, one.since) {
            _ if is_over => (None, ""),
            (Some(started), _) => (Some(age(started)), ""),
            (None, Some(since)) if one.liveness == Liveness::Live => (
                Some(format!("≥ {}", age(since))),
                t!("since its first report; it does not say when it started"),
            ),
            _ => (None, ""),
        };
        Self { words, title }
    }
}

impl Row {
    fn has_circuits(&self) -> bool {
        self.circuits > 0
    }

    fn has_open_circuits(&self) -> bool {
        self.not_closed > 0
    }

    fn new(one: &InstanceView, now: u64) -> Self {
        let (class, word, title) = look_of(one);
        let registration = one.registration.as_ref();
        let ago = |at: UnixNanos| text::age(now.saturating_sub(at.get()));
        Self {
            service: text::name(&one.service).into_owned(),
            service_href: Href::service(&one.service).to_string(),
            id: match one.id.as_str() {
                "" => Cow::Borrowed(t!("(no id)")),
                id => text::name(id),
            }
            .into_owned(),
            href: (!one.id.is_empty()).then(|| href(&one.service, &one.id).to_string()),
            class,
            word,
            title,
            address: match registration {
                Some(registration) => text::name(&registration.address).into_owned(),
                None => String::new(),
            },
            version: match registration {
                Some(registration) => text::name(&registration.version).into_owned(),
                None => String::new(),
            },
            health: registration.and_then(health).unwrap_or_default(),
            since: match one.since {
                Some(since) => moment::short(since.get(), now),
                None => "—".to_owned(),
            },
            uptime: Uptime::of(one, now),
            heard: ago(one.last_heard),
            control: match one.way.filter(|_| one.has_channel) {
                Some(Way::Channel) => t!("yes"),
                Some(Way::Actuator) => t!("through its actuator"),
                None => t!("no"),
            },
            circuits: one.breakers,
            not_closed: one.not_closed,
            rate: match one.breakers {
                0 => "—".to_owned(),
                _ => text::rate(one.calls_per_second),
            },
            error: match one.error_percent {
                Some(percent) => format!("{} %", text::percent(percent)),
                None => "—".to_owned(),
            },
        }
    }
}
