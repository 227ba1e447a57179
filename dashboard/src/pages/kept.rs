//! Traces kept beyond the retention: the form that keeps one, their list, and the button that removes one. The
//! collector copies the trace; this module has only the pages.

use std::borrow::Cow;

use askama::Template;
use axum::extract::{Form, Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use fusebox_collector::model::{Trace, UnixNanos};
use fusebox_collector::query::{
    KEPT_TRACE_BYTES_MAX, KeepError, KeepOrder, Kept, NOTE_CHARS_MAX, read_trace_id,
};
use fusebox_collector::{is_same_origin, user_name};
use opentelemetry::TraceId;
use serde::Deserialize;

use super::Pages;
use super::frame::error::{PageError, PageResult};
use super::frame::page::{Chrome, Page, Section};
use super::trace::{KeptRow, not_stored};
use super::view::href::Href;
use super::view::message::{self, PROBLEM_CHARS};
use super::view::text;

/// Bytes of the form: a note and a name of 500 characters each.
pub(crate) const FORM_BYTES_MAX: usize = 16 << 10;

/// The values entered in the form.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Entered {
    #[serde(default)]
    note: String,
    #[serde(default)]
    by: String,
}

/// Serves the form.
pub(crate) async fn ask(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> PageResult<KeepPage> {
    let trace = pages.query.trace_by_text(&id).await?;
    let trace = trace.ok_or_else(|| not_stored(&id))?;
    let order = KeepOrder::default();
    Ok(Page(KeepPage::new(
        &trace,
        order,
        user_name(&headers),
        None,
    )))
}

/// Keeps a trace and redirects back to it.
pub(crate) async fn keep(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(entered): Form<Entered>,
) -> Result<Response, PageError> {
    if !is_same_origin(&headers) {
        return Err(PageError::Forbidden);
    }
    let trace = pages.query.trace_by_text(&id).await?;
    let trace = trace.ok_or_else(|| not_stored(&id))?;
    let user = user_name(&headers);
    let order = KeepOrder {
        by: user.clone().unwrap_or(entered.by),
        note: entered.note,
    };
    let kept = pages.query.kept();
    match kept
        .keep(trace.clone(), order.clone(), UnixNanos::now())
        .await
    {
        Ok(_) => Ok(Redirect::to(&Href::trace(trace.id).to_string()).into_response()),
        Err(KeepError::Store(error)) => Err(error.into()),
        Err(error) => {
            let status = error.status();
            let page = KeepPage::new(&trace, order, user, Some(error));
            Ok((status, Page(page)).into_response())
        }
    }
}

/// Serves the list.
pub(crate) async fn list(State(pages): State<Pages>) -> Page<KeptPage> {
    Page(KeptPage::new(pages.query.kept(), UnixNanos::now().get()))
}

/// Removes a trace; it is not an error if it is already removed.
pub(crate) async fn remove(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Redirect, PageError> {
    if !is_same_origin(&headers) {
        return Err(PageError::Forbidden);
    }
    let trace = read_trace_id(&id).ok_or_else(|| not_stored(&id))?;
    let kept = pages.query.kept();
    kept.remove(trace, user_name(&headers)).await?;
    Ok(Redirect::to("/kept"))
}

/// The page with the form.
#[derive(Debug, Template)]
#[template(path = "kept/form.html")]
pub(crate) struct KeepPage {
    chrome: Chrome,
    id: TraceId,
    /// Number of its spans.
    spans: usize,
    order: KeepOrder,
    /// Whether the request identifies its user.
    is_known: bool,
    error: Option<KeepError>,
}

impl KeepPage {
    /// Returns the form for this trace; `user` is the user of the request.
    pub(crate) fn new(
        trace: &Trace,
        order: KeepOrder,
        user: Option<String>,
        error: Option<KeepError>,
    ) -> Self {
        let is_known = user.is_some();
        let by = user.unwrap_or_else(|| order.by.clone());
        Self {
            chrome: Chrome::new(Section::Traces, t!("Keep this trace")),
            id: trace.id,
            spans: trace.spans.len(),
            order: KeepOrder { by, ..order },
            is_known,
            error,
        }
    }

    fn trace_href(&self) -> String {
        Href::trace(self.id).to_string()
    }

    fn spans(&self) -> String {
        text::count(self.spans as u64)
    }

    /// Returns the limit of a copy.
    fn copy_mib(&self) -> usize {
        KEPT_TRACE_BYTES_MAX >> 20
    }

    fn note(&self) -> Cow<'_, str> {
        text::shown(&self.order.note, 2 * NOTE_CHARS_MAX)
    }

    fn by(&self) -> Cow<'_, str> {
        text::shown(&self.order.by, 2 * NOTE_CHARS_MAX)
    }

    /// Returns the problem of this field.
    fn field_problem(&self, field: &str) -> Option<Cow<'_, str>> {
        match &self.error {
            Some(KeepError::Invalid { parameter, problem }) if *parameter == field => {
                Some(message::shown(problem, PROBLEM_CHARS))
            }
            _ => None,
        }
    }

    /// Returns the problem that belongs to no field.
    fn conflict(&self) -> Option<String> {
        let mib = |bytes: u64| text::rate(bytes as f64 / (1 << 20) as f64);
        Some(match self.error.as_ref()? {
            KeepError::Invalid { .. } => return None,
            KeepError::Full {
                needed,
                taken,
                bytes_max,
            } => t!(
                "There is no room: this trace needs {needed} MiB, and kept traces take {taken} of {max} MiB. Remove some first.",
                needed = mib(*needed),
                taken = mib(*taken),
                max = mib(*bytes_max)
            ),
            KeepError::Already => t!("This trace is kept already.").to_owned(),
            KeepError::Arriving { seconds } => t!(
                "Spans of this trace are still arriving. Try again in {n} s.",
                n = seconds
            ),
            KeepError::TooLarge => t!(
                "This trace is too large to be kept: its copy would exceed {n} MiB.",
                n = self.copy_mib()
            ),
            error => message::shown(&error.to_string(), PROBLEM_CHARS).into_owned(),
        })
    }
}

/// The list.
#[derive(Debug, Template)]
#[template(path = "kept/list.html")]
pub(crate) struct KeptPage {
    chrome: Chrome,
    rows: Vec<KeptRow>,
    taken: String,
    room: String,
}

impl KeptPage {
    /// Returns the list of kept traces.
    pub(crate) fn new(kept: &Kept, now: u64) -> Self {
        let (taken, room) = kept.room();
        let mib = |bytes: u64| text::rate(bytes as f64 / (1 << 20) as f64);
        Self {
            chrome: Chrome::new(Section::Traces, t!("Kept traces")),
            rows: kept
                .list()
                .iter()
                .map(|one| KeptRow::new(one, now))
                .collect(),
            taken: mib(taken),
            room: mib(room),
        }
    }
}
