//! The page that switches faults by hand, and what it switches.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use serde::Deserialize;

use super::faults::FAULTY;
use crate::pages::origin::is_same_origin;
use crate::pages::page::{Chrome, Page};
use crate::shop::fault::FaultKind;

/// What people switched and what is in force; shared by the page and the fault loop.
#[derive(Debug)]
pub(super) struct ShopControl(Mutex<Switches>);

#[derive(Debug, Default)]
struct Switches {
    by_themselves: bool,
    switched: BTreeMap<&'static str, FaultKind>,
    in_force: BTreeMap<&'static str, FaultKind>,
    addresses: BTreeMap<&'static str, Vec<SocketAddr>>,
}

impl ShopControl {
    /// Starts with nothing switched by hand.
    pub(super) fn new(by_themselves: bool) -> Self {
        Self(Mutex::new(Switches {
            by_themselves,
            ..Switches::default()
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Switches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether faults come and go by themselves.
    pub(super) fn by_themselves(&self) -> bool {
        self.lock().by_themselves
    }

    /// Returns what a person switched for that service.
    pub(super) fn switched(&self, service: &str) -> Option<FaultKind> {
        self.lock().switched.get(service).copied()
    }

    /// Remembers what a service has now.
    pub(super) fn set_in_force(&self, service: &'static str, kind: FaultKind) {
        self.lock().in_force.insert(service, kind);
    }

    /// Remembers where the services are.
    pub(super) fn set_addresses(&self, addresses: BTreeMap<&'static str, Vec<SocketAddr>>) {
        self.lock().addresses = addresses;
    }

    fn switch(&self, change: &Change) -> Option<()> {
        let mut switches = self.lock();
        if change.service == "story" {
            switches.by_themselves = change.kind == "on";
            switches.switched.clear();
            return Some(());
        }
        let service = FAULTY
            .into_iter()
            .find(|service| *service == change.service)?;
        let kind = FaultKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == change.kind)?;
        switches.switched.insert(service, kind);
        Some(())
    }
}

/// What the form sends: a service and its new fault, or `story` and `on` or `off`.
#[derive(Debug, Deserialize)]
struct Change {
    service: String,
    kind: String,
}

/// Returns the demo's own routes.
pub(super) fn router(control: Arc<ShopControl>) -> Router {
    Router::new()
        .route("/demo", get(show))
        .route("/demo/faults", post(change))
        .with_state(control)
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
        Some(()) => Redirect::to("/demo").into_response(),
        None => (
            axum::http::StatusCode::BAD_REQUEST,
            "service or kind: not one of the shop's",
        )
            .into_response(),
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "demo.html")]
struct DemoPage {
    chrome: Chrome,
    by_themselves: bool,
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
            chrome: Chrome::new("Demo", "The shop"),
            by_themselves: switches.by_themselves,
            services,
        }
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

    fn kinds(&self) -> [FaultKind; 4] {
        FaultKind::ALL
    }
}
