//! The page that switches faults by hand, and its state.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard};

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use fusebox_collector::is_same_origin;
use fusebox_collector::sync::Mutex;
use serde::Deserialize;

use super::story::{FAULTY, fault_at, next_chapter};
use crate::pages::NavEntry;
use crate::pages::frame::page::{Chrome, Page, Section, framed};
use crate::shop::fault::FaultKind;

/// The faults set by hand and those in force; shared by the page and the fault loop.
#[derive(Debug)]
pub(super) struct ShopControl(Mutex<Switches>);

#[derive(Debug, Default)]
struct Switches {
    by_themselves: bool,
    switched: BTreeMap<&'static str, FaultKind>,
    in_force: BTreeMap<&'static str, FaultKind>,
    addresses: BTreeMap<&'static str, Vec<SocketAddr>>,
    second: u64,
}

/// The demo's entry in the navigation of every page.
pub(super) const NAV: &[NavEntry] = &[("/demo", || t!("Demo"))];

impl ShopControl {
    /// Starts with nothing switched by hand.
    pub(super) fn new(by_themselves: bool) -> Self {
        Self(Mutex::new(Switches {
            by_themselves,
            ..Switches::default()
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Switches> {
        self.0.lock()
    }

    /// Returns the fault that a service should have: the one set by hand, else that of the story.
    pub(super) fn fault(&self, service: &str, second: u64) -> FaultKind {
        let switches = self.lock();
        match switches.switched.get(service) {
            Some(kind) => *kind,
            None if switches.by_themselves => fault_at(service, second),
            None => FaultKind::None,
        }
    }

    pub(super) fn set_in_force(&self, service: &'static str, kind: FaultKind) {
        self.lock().in_force.insert(service, kind);
    }

    pub(super) fn set_addresses(&self, addresses: BTreeMap<&'static str, Vec<SocketAddr>>) {
        self.lock().addresses = addresses;
    }

    pub(super) fn set_second(&self, second: u64) {
        self.lock().second = second;
    }

    /// Applies a submitted form.
    fn switch(&self, change: &Change) -> Result<(), String> {
        let mut switches = self.lock();
        if change.service == STORY_FIELD {
            switches.by_themselves = match change.kind.as_str() {
                "on" => true,
                "off" => false,
                _ => return Err("kind: of the story only on and off are known".to_owned()),
            };
            switches.switched.clear();
            return Ok(());
        }
        let mut services = FAULTY.into_iter();
        let service = services.find(|service| *service == change.service);
        let service = service
            .ok_or_else(|| format!("service: none of {STORY_FIELD}, {}", FAULTY.join(", ")))?;
        let kinds = FaultKind::ALL.map(FaultKind::as_str).join(", ");
        let mut known = FaultKind::ALL.into_iter();
        let kind = known.find(|kind| kind.as_str() == change.kind);
        let kind = kind.ok_or_else(|| format!("kind: none of {kinds}"))?;
        switches.switched.insert(service, kind);
        Ok(())
    }
}

/// The value of the form's service field that turns the story itself on or off.
const STORY_FIELD: &str = "story";

/// A submitted form: a service and its new fault, or `story` and `on` or `off`.
#[derive(Debug, Deserialize)]
struct Change {
    service: String,
    kind: String,
}

/// Returns the demo's own routes.
pub(super) fn router(control: Arc<ShopControl>) -> Router {
    let routes = Router::new()
        .route("/demo", get(show))
        .route("/demo/faults", post(change))
        .with_state(control);
    framed(routes, NAV)
}

async fn show(State(control): State<Arc<ShopControl>>) -> Page<DemoPage> {
    Page(DemoPage::new(&control.lock()))
}

async fn change(
    State(control): State<Arc<ShopControl>>,
    headers: HeaderMap,
    Form(change): Form<Change>,
) -> Response {
    if !is_same_origin(&headers) {
        return (
            axum::http::StatusCode::FORBIDDEN,
            "this form works from its own page only",
        )
            .into_response();
    }
    match control.switch(&change) {
        Ok(()) => Redirect::to("/demo").into_response(),
        Err(problem) => (axum::http::StatusCode::BAD_REQUEST, problem).into_response(),
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "demo/page.html")]
struct DemoPage {
    chrome: Chrome,
    by_themselves: bool,
    by_hand: bool,
    next: String,
    services: Vec<ServiceRow>,
}

#[derive(Debug)]
struct ServiceRow {
    name: &'static str,
    address: String,
    in_force: FaultKind,
    switched: bool,
}

impl DemoPage {
    fn new(switches: &Switches) -> Self {
        let services = FAULTY
            .into_iter()
            .map(|name| ServiceRow::new(name, switches))
            .collect();
        Self {
            chrome: Chrome::new(Section::Added("/demo"), t!("Demo shop")),
            by_themselves: switches.by_themselves,
            by_hand: !switches.switched.is_empty(),
            next: next_words(switches.second),
            services,
        }
    }
}

impl DemoPage {
    fn is_story_on(&self) -> bool {
        self.by_themselves && !self.by_hand
    }

    fn is_story_off(&self) -> bool {
        !self.by_themselves && !self.by_hand
    }
}

/// Describes the next event of the story.
fn next_words(second: u64) -> String {
    let (service, kind, wait) = next_chapter(second);
    match kind {
        FaultKind::None => t!("{service} recovers in {n} s", service = service, n = wait),
        FaultKind::Slow => t!(
            "{service} becomes slow in {n} s",
            service = service,
            n = wait
        ),
        FaultKind::Failing => t!(
            "{service} begins to fail in {n} s",
            service = service,
            n = wait
        ),
        FaultKind::Killed => t!("{service} is killed in {n} s", service = service, n = wait),
    }
}

impl ServiceRow {
    fn new(name: &'static str, switches: &Switches) -> Self {
        let addresses = switches
            .addresses
            .get(name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        Self {
            name,
            address: addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
            in_force: switches.in_force.get(name).copied().unwrap_or_default(),
            switched: switches.switched.contains_key(name),
        }
    }

    /// Returns the faults to choose from: value, word, and whether it is in force.
    fn kinds(&self) -> [(&'static str, &'static str, bool); 4] {
        FaultKind::ALL.map(|kind| {
            let word = match kind {
                FaultKind::None => t!("no fault"),
                FaultKind::Slow => t!("slow"),
                FaultKind::Failing => t!("failing"),
                FaultKind::Killed => t!("killed"),
            };
            (kind.as_str(), word, kind == self.in_force)
        })
    }

    /// Returns class and word of the fault in force.
    fn mark(&self) -> (&'static str, &'static str) {
        match self.in_force {
            FaultKind::None => ("closed", t!("healthy")),
            FaultKind::Slow => ("half", t!("slow")),
            FaultKind::Failing => ("open", t!("failing")),
            FaultKind::Killed => ("off", t!("killed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(service: &str, kind: &str) -> Change {
        Change {
            service: service.to_owned(),
            kind: kind.to_owned(),
        }
    }

    #[test]
    fn a_wrong_value_is_named_and_changes_nothing() {
        let control = ShopControl::new(true);
        let wrong = control.switch(&change("cellar", "slow")).unwrap_err();
        assert!(
            wrong.starts_with("service: none of story, inventory"),
            "{wrong}"
        );
        let wrong = control.switch(&change("price", "on fire")).unwrap_err();
        assert_eq!(wrong, "kind: none of none, slow, failing, killed");
        assert!(control.switch(&change("story", "maybe")).is_err());
        assert_eq!(control.fault("inventory", 8), FaultKind::Failing);
        assert_eq!(control.fault("price", 0), FaultKind::None);
    }

    #[test]
    fn a_switch_by_hand_lasts_until_the_story_is_switched() {
        let control = ShopControl::new(true);
        control.switch(&change("price", "slow")).unwrap();
        assert_eq!(control.fault("price", 0), FaultKind::Slow);
        control.switch(&change("story", "on")).unwrap();
        assert_eq!(control.fault("price", 0), FaultKind::None);
    }
}
