//! The trace page: one request through all services as an indented call tree with a waterfall.

pub(crate) mod call_tree;
mod callee;
mod critical_path;
mod find;
mod flame;
mod json_view;
mod kept;
pub(crate) mod logs;
mod page;
mod pair;
mod row;
pub(crate) mod rows;
pub(crate) mod shown;
pub(crate) mod span_detail;
mod spans_table;
mod statistics;
mod summary;
mod view;

use axum::extract::{Path, State};
use fusebox::semconv;
use fusebox_collector::model::{Span, StatusCode, Trace, UnixNanos, Value};
use opentelemetry::SpanId;

use crate::pages::Pages;
use crate::pages::frame::error::{PageError, PageResult};
use crate::pages::frame::page::Page;
use crate::pages::frame::params::Params;
use crate::pages::view::text;
use call_tree::CallTree;
pub(crate) use kept::KeptRow;
use logs::TraceLogs;
pub(crate) use page::TracePage;
use rows::Rows;
use shown::Shown;
use span_detail::{Around, SpanDetail};
pub(crate) use statistics::spans_of;
pub(crate) use summary::give_colours;
pub(crate) use view::TraceView;

/// Rows on the page; further ones are loaded on scrolling, or are on further pages.
pub(crate) const ROWS_MAX: usize = 500;

/// Serves a trace.
pub(crate) async fn show(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    params: Params,
) -> PageResult<TracePage> {
    let trace = read(&pages, &id).await?;
    let mut view = TraceView::read(&params);
    if view.span.is_none() {
        view.span = params
            .get("circuit")
            .and_then(|name| troubled(&trace, name));
    }
    let around = around(&pages, &trace, view.span).await?;
    let logs = TraceLogs::ask(&pages.query, &trace).await?;
    let tree = tree(&pages, &trace);
    let page = TracePage::new(&trace, &tree, view, &pages.palette);
    let page = page.with_kept(pages.query.kept().find(trace.id).as_ref());
    let page = page.with_sampling(pages.query.sampling(), UnixNanos::now());
    let page = page.with_log_link(&trace, pages.info.log_link.as_deref());
    Ok(Page(page.with_around(around).with_logs(&trace, &logs)))
}

/// Serves the rows `from` to `to` of a trace, without the page around them.
pub(crate) async fn rows(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    params: Params,
) -> PageResult<Rows> {
    let trace = read(&pages, &id).await?;
    let view = TraceView::read(&params);
    let around = around(&pages, &trace, view.span).await?;
    give_colours(&trace, &pages.palette);
    let tree = tree(&pages, &trace);
    let shown = Shown::new(&trace, &tree, view);
    let logs = TraceLogs::ask(&pages.query, &trace).await?;
    let rows = Rows::new(&trace, &shown, &pages.palette);
    Ok(Page(rows.with_around(around).with_logs(&logs)))
}

/// Serves the detail of one span.
pub(crate) async fn span(
    State(pages): State<Pages>,
    Path((id, span)): Path<(String, String)>,
) -> PageResult<SpanDetail> {
    let trace = read(&pages, &id).await?;
    let id = SpanId::from_hex(&span).unwrap_or(SpanId::INVALID);
    let detail = SpanDetail::find(&trace, &CallTree::build(&trace), id);
    let unknown = || PageError::NotFound(t!("this trace has no such span").to_owned());
    let detail = detail.ok_or_else(unknown)?;
    let around = around(&pages, &trace, Some(id)).await?;
    let logs = TraceLogs::ask(&pages.query, &trace).await?;
    Ok(Page(detail.with_around(around).with_logs(&logs)))
}

async fn around(
    pages: &Pages,
    trace: &Trace,
    id: Option<SpanId>,
) -> Result<Option<Around>, PageError> {
    let Some(span) = trace.spans.iter().find(|span| Some(span.span_id) == id) else {
        return Ok(None);
    };
    Around::ask(&pages.query, span).await
}

/// Returns the first span that failed at this breaker or was refused by it.
fn troubled(trace: &Trace, circuit: &str) -> Option<SpanId> {
    let through = |span: &&Span| {
        let name = span.attribute(semconv::BREAKER_NAME);
        matches!(name, Some(Value::String(name)) if name == circuit)
    };
    let failed = |span: &&Span| span.status.code == StatusCode::Error;
    let mut spans = trace.spans.iter().filter(through);
    spans.find(failed).map(|span| span.span_id)
}

fn tree(pages: &Pages, trace: &Trace) -> CallTree {
    CallTree::build(trace).with_callees(pages.query.live().callees(trace))
}

async fn read(pages: &Pages, id: &str) -> Result<Trace, PageError> {
    let found = pages.query.trace_by_text(id).await?;
    found.ok_or_else(|| not_stored(id))
}

/// Returns the error for an unknown trace.
pub(crate) fn not_stored(id: &str) -> PageError {
    PageError::NotFound(t!(
        "no trace {id} is stored; it may not have arrived yet, be older than the retention, or not be kept by tail sampling",
        id = text::name(id)
    ))
}
