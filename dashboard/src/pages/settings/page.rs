//! The page with the form, as its template prints it.

use std::borrow::Cow;
use std::time::Duration;

use askama::Template;
use fusebox_collector::live::circuits::{ControlError, Origin, Preview, SettingInForce};
use fusebox_collector::model::{CircuitInstanceView, CircuitView, OperatorChange, Source, nanos};

use super::preview::PreviewRow;
use super::version::VersionRow;
use super::{ENDLESS, Entered};
use crate::pages::frame::operator;
use crate::pages::frame::page::{Chrome, Section};
use crate::pages::view::href::Href;
use crate::pages::view::range::Range;
use crate::pages::view::{moment, text};
use crate::pages::wall::instance_row::InstanceRow;

/// The durations to choose from, seconds.
const LIFETIMES: [u64; 5] = [900, 3_600, 14_400, 43_200, 86_400];

/// The data of the page.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) circuit: CircuitView,
    pub(crate) settings: Vec<SettingInForce>,
    pub(crate) versions: Versions,
    /// What the entered settings would have done.
    pub(crate) preview: Option<Preview>,
}

/// The versions, latest first, and for how long they are kept.
#[derive(Debug)]
pub(crate) struct Versions {
    pub(crate) changes: Vec<OperatorChange>,
    pub(crate) kept_for: Duration,
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "settings/page.html")]
pub(crate) struct SettingsPage {
    chrome: Chrome,
    known: Known,
    entered: Entered,
    error: Option<ControlError>,
    now: u64,
}

/// A setting as a row of the form.
#[derive(Debug)]
struct Row<'a> {
    name: &'static str,
    value: &'a str,
    /// The value of the service, which holds while the field is empty.
    own: &'a str,
    origin: &'static str,
    entered: Cow<'a, str>,
}

impl SettingsPage {
    /// Returns the page with the entered values and their problem.
    pub(crate) fn new(
        known: Known,
        entered: Entered,
        error: Option<ControlError>,
        now: u64,
    ) -> Self {
        let key = &known.circuit.key;
        let title = t!(
            "Settings of {service} → {circuit}",
            service = key.service,
            circuit = key.name
        );
        Self {
            chrome: Chrome::new(Section::Circuits, &title),
            known,
            entered,
            error,
            now,
        }
    }

    fn service(&self) -> Cow<'_, str> {
        text::name(&self.known.circuit.key.service)
    }

    fn name(&self) -> Cow<'_, str> {
        text::name(&self.known.circuit.key.name)
    }

    fn circuit_href(&self) -> String {
        Href::circuit(&self.known.circuit.key).to_string()
    }

    fn href(&self) -> String {
        let circuit = Href::circuit(&self.known.circuit.key);
        circuit.segment("settings").to_string()
    }

    fn other_library(&self) -> Option<&'static str> {
        let source = self.known.circuit.source;
        (source != Source::Fusebox).then(|| source.as_str())
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let row = |setting| self.row(setting);
        self.known.settings.iter().map(row).collect()
    }

    fn row<'a>(&'a self, setting: &'a SettingInForce) -> Row<'a> {
        let changed = setting.changed.as_deref().unwrap_or_default();
        let entered = match &self.entered.values {
            Some(values) => values.get(setting.name).map_or("", String::as_str),
            None => changed,
        };
        let is_pending = !changed.is_empty() && changed != setting.value;
        Row {
            name: setting.name,
            value: &setting.value,
            own: setting.own.as_deref().unwrap_or(&setting.value),
            origin: match setting.origin {
                _ if is_pending => t!("pending"),
                Origin::Default => t!("default of the library"),
                Origin::Service => t!("the service: its code or its file"),
                Origin::Code => t!("the service: its code"),
                Origin::Properties => t!("the service: its properties of this circuit"),
                Origin::CommonProperties => t!("the service: its properties of all circuits"),
                Origin::Collector => t!("changed here"),
            },
            entered: text::shown(entered, 200),
        }
    }

    /// Returns the durations: seconds, words, whether it is selected.
    fn lifetimes(&self) -> Vec<(u64, String, bool)> {
        let endless = t!("until it is changed again").to_owned();
        let mut choices = vec![(ENDLESS, endless, self.entered.operator.is_endless())];
        choices.extend(self.entered.operator.lifetimes(&LIFETIMES));
        choices
    }

    fn instances(&self) -> Vec<(&CircuitInstanceView, bool)> {
        operator::choices(&self.known.circuit, &self.entered.instances)
    }

    fn versions(&self) -> Vec<VersionRow> {
        let versions = self.known.versions.changes.iter().enumerate();
        versions
            .map(|(place, change)| VersionRow::new(change, place == 0, self.now))
            .collect()
    }

    /// Returns the number of the latest change, so that no change is replaced that was not seen.
    fn latest(&self) -> u64 {
        let latest = self.known.versions.changes.first();
        latest.map_or(0, |change| change.id)
    }

    fn kept_words(&self) -> String {
        Range::of(nanos(self.known.versions.kept_for)).words()
    }

    fn preview(&self) -> Option<Vec<PreviewRow>> {
        let preview = self.known.preview.as_ref()?;
        let row = |instance| PreviewRow::new(instance, self.now);
        Some(preview.instances.iter().map(row).collect())
    }

    /// Returns the range of the preview: from when, until when, as HTML.
    fn preview_range(&self) -> (String, String) {
        let preview = self.known.preview.as_ref();
        let range = preview.map(|it| (it.start.get(), it.end.get()));
        let (start, end) = range.unwrap_or_default();
        (moment::short(start, self.now), moment::short(end, self.now))
    }

    fn left_out(&self) -> usize {
        self.known.preview.as_ref().map_or(0, |it| it.left_out)
    }

    /// Returns the settings whose effect the counts cannot tell.
    fn not_replayed(&self) -> String {
        let preview = self.known.preview.as_ref();
        preview
            .map(|it| it.not_replayed.join(", "))
            .unwrap_or_default()
    }

    /// Returns the problem of this field.
    fn problem(&self, field: &str) -> Option<Cow<'_, str>> {
        operator::field_problem(self.error.as_ref(), field)
    }

    /// Returns the problem that belongs to no field.
    fn conflict(&self) -> Option<String> {
        operator::conflict(self.error.as_ref())
    }
}
