//! The journal: who changed which circuit, setting or log level, kept a trace or muted notifications, when, why, until
//! when, and with which result; and which instances registered, changed and left. For the retention.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Redirect;
use fusebox::control::{Action, Outcome, Subject};
use fusebox_collector::live::circuits::{JournalEntry, JournalFilter, JournalKind, Recorded};
use fusebox_collector::model::{
    EventKind, OperatorChange, OperatorEvent, RegistryEntry, RegistryEvent, TimeRange, UnixNanos,
};

use crate::pages::Pages;
use crate::pages::frame::error::PageResult;
use crate::pages::frame::page::{Chrome, Page, Section};
use crate::pages::frame::params::Params;
use crate::pages::view::href::Href;
use crate::pages::view::{action, moment, text};

/// Changes listed.
const CHANGES_MAX: usize = 200;
/// Delay after which the wall shows a change: polling instances report it within a second, and URLs have whole seconds.
const REPORTED_AFTER: Duration = Duration::from_secs(2);

/// Serves the journal.
pub(crate) async fn show(State(pages): State<Pages>, params: Params) -> PageResult<JournalPage> {
    let now = UnixNanos::now();
    let at = params.at()?;
    let end = at.map_or(now, UnixNanos::new);
    let text = |name| params.get(name).unwrap_or_default().to_owned();
    let filter = JournalFilter {
        service: text("service"),
        circuit: text("circuit"),
        instance: text("instance"),
        text: text("text"),
        kind: params.word("kind").and_then(JournalKind::parse),
        by: text("by"),
        without_registry: false,
    };
    let range = TimeRange::until(end, pages.query.retention());
    let control = pages.query.circuits().control();
    let entries = control.journal(range, filter.clone(), CHANGES_MAX).await?;
    Ok(Page(JournalPage::new(&entries, filter, at, now.get())))
}

/// Redirects the address at which registrations had a page of their own.
pub(crate) async fn of_registrations(params: Params) -> Redirect {
    let event = params.word("event").and_then(RegistryEvent::parse);
    let kind = event.map_or(JournalKind::Registration, JournalKind::of);
    let href = ["service", "instance", "text"].into_iter().fold(
        Href::new("/changes").with("kind", kind.as_str()),
        |href, name| href.with_some(name, params.get(name)),
    );
    Redirect::permanent(&href.to_string())
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "journal/page.html")]
pub(crate) struct JournalPage {
    chrome: Chrome,
    filter: JournalFilter,
    /// The time up to which it reads, if it is not now.
    at: Option<u64>,
    rows: Vec<Row>,
}

/// One change as listed.
#[derive(Debug)]
struct Row {
    /// When, as HTML.
    time: String,
    /// The link to the wall just after the change.
    wall: String,
    /// What it is about.
    target: String,
    href: String,
    what: String,
    /// What an instance said, or what was set.
    detail: String,
    by: String,
    reason: String,
    /// When it ended or ends, as HTML.
    until: String,
    /// For which instances.
    instances: String,
    /// The outcomes by instance.
    outcomes: String,
}

impl JournalPage {
    /// Returns the page of these changes.
    pub(crate) fn new(
        entries: &[JournalEntry],
        filter: JournalFilter,
        at: Option<u64>,
        now: u64,
    ) -> Self {
        Self {
            chrome: Chrome::new(Section::Changes, t!("Changes")),
            rows: entries.iter().map(|entry| Row::new(entry, now)).collect(),
            filter,
            at,
        }
    }

    fn is_filtered(&self) -> bool {
        self.filter != JournalFilter::default() || self.at.is_some()
    }

    fn time(&self) -> String {
        self.at.map(text::datetime_local).unwrap_or_default()
    }

    fn is_cut(&self) -> bool {
        self.rows.len() == CHANGES_MAX
    }

    fn service(&self) -> Cow<'_, str> {
        text::shown(&self.filter.service, 300)
    }

    fn circuit(&self) -> Cow<'_, str> {
        text::shown(&self.filter.circuit, 300)
    }

    fn instance(&self) -> Cow<'_, str> {
        text::shown(&self.filter.instance, 300)
    }

    fn by(&self) -> Cow<'_, str> {
        text::shown(&self.filter.by, 300)
    }

    /// Returns the kinds to choose from: value, word, whether it is selected.
    fn kinds(&self) -> Vec<(&'static str, &'static str, bool)> {
        let choice = |kind| {
            (
                JournalKind::as_str(kind),
                word(kind),
                Some(kind) == self.filter.kind,
            )
        };
        JournalKind::ALL.map(choice).to_vec()
    }

    fn text(&self) -> Cow<'_, str> {
        text::shown(&self.filter.text, 300)
    }
}

/// Returns an entry in words: what it is about, and what happened.
pub(crate) fn words(entry: &JournalEntry, now: u64) -> String {
    let row = Row::new(entry, now);
    format!("{}: {}", row.target, row.what)
}

impl Row {
    fn new(entry: &JournalEntry, now: u64) -> Self {
        let (time, expires) = entry.recorded.time();
        let (by, reason) = entry.recorded.by();
        let at = text::datetime_local((time + REPORTED_AFTER).get().min(now));
        let common = Self {
            time: moment::short(time.get(), now),
            wall: Href::new("/").with("at", at).to_string(),
            by: text::name(by).into_owned(),
            reason: text::shown(reason, 500).into_owned(),
            until: moment::some(expires, now),
            target: String::new(),
            href: String::new(),
            what: String::new(),
            detail: String::new(),
            instances: String::new(),
            outcomes: String::new(),
        };
        match &entry.recorded {
            Recorded::Change(change) => Self {
                outcomes: outcomes(entry),
                ..common.of_change(change)
            },
            Recorded::Event(event) => common.of_event(event),
            Recorded::Registry(entry) => common.of_registry(entry),
        }
    }

    fn of_change(self, change: &OperatorChange) -> Self {
        let key = &change.key;
        Self {
            target: format!("{} → {}", text::name(&key.service), text::name(&key.name)),
            href: match change.subject {
                Subject::Breaker | Subject::Settings => Href::circuit(key),
                Subject::Logger => Href::new("/instances").with("filter", &key.service),
            }
            .to_string(),
            what: action::what(change),
            until: match change.action {
                Action::Reset => String::new(),
                _ => self.until,
            },
            instances: match change.instances.as_slice() {
                [] => t!("all").to_owned(),
                [one] => text::name(one).into_owned(),
                some => t!("{n} picked", n = some.len()),
            },
            ..self
        }
    }

    fn of_event(self, event: &OperatorEvent) -> Self {
        let (service, circuit) = (&event.key.service, &event.key.name);
        Self {
            target: match (service.as_str(), circuit.as_str()) {
                ("", "") => t!("all").to_owned(),
                (service, "") => text::name(service).into_owned(),
                (service, circuit) => format!("{} → {}", text::name(service), text::name(circuit)),
            },
            href: match event.event {
                EventKind::KeepTrace | EventKind::RemoveTrace => {
                    format!("/traces/{}", event.object)
                }
                EventKind::Mute | EventKind::Unmute => "/notifications#mute".to_owned(),
                EventKind::EndSettings => Href::circuit(&event.key).to_string(),
            },
            what: match event.event {
                EventKind::Mute => t!("Notifications muted"),
                EventKind::Unmute => t!("Mute ended"),
                EventKind::KeepTrace => t!("Trace kept"),
                EventKind::RemoveTrace => t!("Kept trace removed"),
                EventKind::EndSettings => t!("Change of settings ended, as its instances are gone"),
            }
            .to_owned(),
            by: match event.event {
                EventKind::EndSettings => t!("the collector").to_owned(),
                _ if event.by.is_empty() => t!("unknown").to_owned(),
                _ => self.by,
            },
            ..self
        }
    }
}

impl Row {
    fn of_registry(self, entry: &RegistryEntry) -> Self {
        let (service, instance) = (text::name(&entry.service), text::name(&entry.instance));
        Self {
            target: format!("{service} → {instance}"),
            href: Href::instance(&entry.service, &entry.instance).to_string(),
            what: word_of_event(entry.event).to_owned(),
            detail: text::shown(&entry.detail, 200).into_owned(),
            ..self
        }
    }
}

/// Returns what happened to an instance, in words.
fn word_of_event(event: RegistryEvent) -> &'static str {
    match event {
        RegistryEvent::Registered => t!("registered"),
        RegistryEvent::Updated => t!("updated"),
        RegistryEvent::StatusChanged => t!("status changed"),
        RegistryEvent::StatusForced => t!("status set"),
        RegistryEvent::StatusReleased => t!("status released"),
        RegistryEvent::Left => t!("left"),
        RegistryEvent::Expired => t!("lease expired"),
        RegistryEvent::InfoChanged | RegistryEvent::EndpointsDetected | RegistryEvent::Repeated => {
            ""
        }
    }
}

fn word(kind: JournalKind) -> &'static str {
    match kind {
        JournalKind::Switch => t!("States"),
        JournalKind::Settings => t!("Settings"),
        JournalKind::Level => t!("Log levels"),
        JournalKind::Mute => t!("Mutes"),
        JournalKind::Trace => t!("Kept traces"),
        JournalKind::Registration => t!("Registrations"),
        JournalKind::Status => t!("Statuses"),
    }
}

/// Returns the numbers of instances by outcome of a change.
fn outcomes(entry: &JournalEntry) -> String {
    let outcomes = entry.outcomes.iter();
    // A later outcome of an instance replaces earlier ones.
    let last: HashMap<&str, Outcome> = outcomes
        .map(|one| (one.instance.as_str(), one.outcome))
        .collect();
    let words = [
        (Outcome::Applied, t!("acknowledged")),
        (Outcome::Waiting, t!("waiting")),
        (Outcome::Refused, t!("refused")),
    ];
    let count = |wanted| last.values().filter(|outcome| **outcome == wanted).count();
    let counted = words.map(|(outcome, word)| (count(outcome), word));
    let shown = counted.into_iter().filter(|(count, _)| *count > 0);
    let shown: Vec<_> = shown
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match shown.is_empty() {
        true => t!("no instance acknowledged it").to_owned(),
        false => shown.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use fusebox_collector::model::{ChangeOutcome, CircuitKey};

    use super::*;

    /// Guarantees: only the last outcome of each instance counts.
    #[test]
    fn an_instance_counts_once() {
        let key = CircuitKey {
            service: "shop".to_owned(),
            name: "stock".to_owned(),
        };
        let outcome = |instance: &str, outcome| ChangeOutcome {
            subject: Subject::Breaker,
            key: key.clone(),
            change: 1,
            instance: instance.to_owned(),
            time: UnixNanos::new(1),
            outcome,
            problem: String::new(),
            stored: None,
        };
        let mut entry = JournalEntry {
            kind: JournalKind::Switch,
            recorded: Recorded::Change(OperatorChange {
                subject: Subject::Breaker,
                id: 1,
                key: key.clone(),
                action: Action::ForceOpen,
                reason: "full".to_owned(),
                by: "Ada".to_owned(),
                time: UnixNanos::new(1),
                expires: Some(UnixNanos::new(2)),
                instances: Vec::new(),
                settings: None,
                stored: None,
            }),
            outcomes: vec![
                outcome("a", Outcome::Waiting),
                outcome("b", Outcome::Waiting),
                outcome("a", Outcome::Applied),
            ],
        };
        assert_eq!(outcomes(&entry), "1 acknowledged, 1 waiting");
        entry.outcomes.clear();
        assert_eq!(outcomes(&entry), "no instance acknowledged it");
    }
}
