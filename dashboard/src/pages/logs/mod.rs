//! The page of log records: by service, severity, text and attribute, newest first, with live updates.

pub(crate) mod form;

use std::borrow::Cow;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use fusebox_collector::model::{LogPage, LogRecord, Severity, UnixNanos};

use crate::pages::Pages;
use crate::pages::frame::error::{PageError, lenient};
use crate::pages::frame::page::{Chrome, Page, Pill, Section};
use crate::pages::frame::params::Params;
use crate::pages::trace::logs::LogLine;
use crate::pages::view::message::{self, PROBLEM_CHARS};
use crate::pages::view::palette::Palette;
use crate::pages::view::text;
use form::LogForm;

/// Most services to choose from; any other can be given in the URL.
const SERVICES_LISTED_MAX: usize = 1_000;

/// Serves the page; an invalid field is described beside it, with the status 400.
pub(crate) async fn show(
    State(pages): State<Pages>,
    params: Params,
) -> Result<(StatusCode, Page<LogsPage>), PageError> {
    let now = UnixNanos::now().get();
    let mut form = LogForm::read(&params, pages.retention());
    let query = form.query(now);
    let names = pages.query.service_names().await;
    let mut services = lenient(names, Vec::new())?;
    services.value.truncate(SERVICES_LISTED_MAX);
    let found = match form.problems.is_empty() {
        true => pages.query.logs(query).await?,
        false => LogPage::default(),
    };
    let status = match form.problems.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::BAD_REQUEST,
    };
    let (services, missing) = (services.value, services.missing);
    let mut page = LogsPage::new(form, &found, services, now, &pages.palette);
    page.chrome = page.chrome.lacking(missing.as_ref(), now);
    Ok((status, Page(page)))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "logs/page.html")]
pub(crate) struct LogsPage {
    chrome: Chrome,
    form: LogForm,
    services: Vec<String>,
    lines: Vec<LogLine>,
    next: Option<String>,
    missing: Option<String>,
}

/// A value that a field may have.
struct Choice<'a> {
    value: Cow<'a, str>,
    word: Cow<'a, str>,
    chosen: bool,
}

impl LogsPage {
    /// Returns the page with the results of a search.
    pub(crate) fn new(
        form: LogForm,
        found: &LogPage,
        services: Vec<String>,
        now: u64,
        palette: &Palette,
    ) -> Self {
        let records = found.records.iter();
        palette.give(records.clone().map(LogRecord::service));
        let lines = records.map(|record| LogLine::new(record, palette.class(record.service())));
        let pill = match form.is_live() {
            true => Pill::Live(form.fixed(now).href(None).to_string()),
            false => Pill::None,
        };
        Self {
            chrome: Chrome::new(Section::Logs, t!("Logs")).pill(pill),
            lines: lines.collect(),
            services,
            next: found
                .next
                .map(|cursor| form.fixed(now).href(Some(&cursor)).to_string()),
            missing: found
                .missing
                .as_deref()
                .map(|why| message::shown(why, PROBLEM_CHARS).into_owned()),
            form,
        }
    }

    fn summary(&self) -> String {
        let count = self.lines.len();
        match self.next.is_some() {
            true => tn!(count, "the newest {n} record", "the newest {n} records"),
            false => tn!(count, "{n} record", "{n} records"),
        }
    }

    fn service_choices(&self) -> Vec<Choice<'_>> {
        let chosen = &self.form.service;
        let strange = !chosen.is_empty() && !self.services.contains(chosen);
        let names = self.services.iter().chain(strange.then_some(chosen));
        let choice = |name: &'_ String| Choice {
            value: Cow::Owned(name.clone()),
            word: Cow::Owned(text::name(name).into_owned()),
            chosen: name == chosen,
        };
        names.map(choice).collect()
    }

    fn severities(&self) -> Vec<Choice<'_>> {
        let choice = |word: &'static str| Choice {
            value: Cow::Borrowed(word),
            word: match word {
                "fatal" => Cow::Borrowed(word),
                word => Cow::Owned(t!("{severity} and worse", severity = word)),
            },
            chosen: self.form.severity == word,
        };
        Severity::words().map(choice).into()
    }

    fn ranges(&self) -> Vec<Choice<'_>> {
        let choice = |(value, word): (String, String)| Choice {
            chosen: value == self.form.range,
            value: Cow::Owned(value),
            word: Cow::Owned(word),
        };
        self.form.range_choices().into_iter().map(choice).collect()
    }
}
