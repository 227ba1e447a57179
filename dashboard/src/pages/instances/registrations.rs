//! The journal of the registry: who registered, changed and left, and what was done to them by hand; for the retention.

use std::borrow::Cow;

use askama::Template;
use axum::extract::State;
use fusebox_collector::live::registry::RegistryFilter;
use fusebox_collector::model::{RegistryEntry, RegistryEvent, TimeRange, UnixNanos};

use crate::pages::Pages;
use crate::pages::frame::error::PageResult;
use crate::pages::frame::page::{Chrome, Page, Section};
use crate::pages::frame::params::Params;
use crate::pages::view::{moment, text};

/// Entries listed.
const ENTRIES_MAX: usize = 200;

/// Serves the journal.
pub(crate) async fn show(
    State(pages): State<Pages>,
    params: Params,
) -> PageResult<RegistrationsPage> {
    let now = UnixNanos::now();
    let end = params.at()?.map_or(now, UnixNanos::new);
    let text = |name| params.get(name).unwrap_or_default().to_owned();
    let filter = RegistryFilter {
        service: text("service"),
        instance: text("instance"),
        event: params.word("event").and_then(RegistryEvent::parse),
        text: text("text"),
    };
    let range = TimeRange::until(end, pages.query.retention());
    let registry = pages.query.circuits().registry();
    let entries = registry.journal(range, filter.clone(), ENTRIES_MAX).await?;
    Ok(Page(RegistrationsPage::new(&entries, filter, now.get())))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "instances/registrations.html")]
pub(crate) struct RegistrationsPage {
    chrome: Chrome,
    filter: RegistryFilter,
    rows: Vec<Row>,
}

/// One entry as listed.
#[derive(Debug)]
struct Row {
    /// When, as HTML.
    time: String,
    service: String,
    instance: String,
    href: String,
    word: &'static str,
    detail: String,
    by: String,
    reason: String,
}

impl RegistrationsPage {
    /// Returns the page of these entries.
    pub(crate) fn new(entries: &[RegistryEntry], filter: RegistryFilter, now: u64) -> Self {
        Self {
            chrome: Chrome::new(Section::Instances, t!("Registrations")),
            rows: entries.iter().map(|entry| Row::new(entry, now)).collect(),
            filter,
        }
    }

    fn is_filtered(&self) -> bool {
        self.filter != RegistryFilter::default()
    }

    fn is_cut(&self) -> bool {
        self.rows.len() == ENTRIES_MAX
    }

    fn service(&self) -> Cow<'_, str> {
        text::shown(&self.filter.service, 300)
    }

    fn instance(&self) -> Cow<'_, str> {
        text::shown(&self.filter.instance, 300)
    }

    fn text(&self) -> Cow<'_, str> {
        text::shown(&self.filter.text, 300)
    }

    /// Returns the events to choose from: value, word, whether it is selected.
    fn events(&self) -> Vec<(&'static str, &'static str, bool)> {
        let chosen = |event| self.filter.event == Some(event);
        let choice = |event: RegistryEvent| (event.as_str(), word_of_event(event), chosen(event));
        RegistryEvent::LISTED.map(choice).to_vec()
    }
}

impl Row {
    fn new(entry: &RegistryEntry, now: u64) -> Self {
        Self {
            time: moment::short(entry.time.get(), now),
            service: text::name(&entry.service).into_owned(),
            instance: text::name(&entry.instance).into_owned(),
            href: super::href(&entry.service, &entry.instance).to_string(),
            word: word_of_event(entry.event),
            detail: text::shown(&entry.detail, 200).into_owned(),
            by: text::name(&entry.by).into_owned(),
            reason: text::shown(&entry.reason, 500).into_owned(),
        }
    }
}

/// Returns what happened to an instance, in words.
pub(crate) fn word_of_event(event: RegistryEvent) -> &'static str {
    match event {
        RegistryEvent::Registered => t!("registered"),
        RegistryEvent::Updated => t!("updated"),
        RegistryEvent::StatusChanged => t!("status changed"),
        RegistryEvent::StatusForced => t!("status set"),
        RegistryEvent::StatusReleased => t!("status released"),
        RegistryEvent::Left => t!("left"),
        RegistryEvent::Expired => t!("lease expired"),
        RegistryEvent::Repeated => "",
    }
}
