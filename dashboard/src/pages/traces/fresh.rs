//! The number of traces of a search that are newer than the shown ones; a visible page requests it repeatedly.

use askama::Template;
use axum::extract::State;
use fusebox_collector::model::{TraceOrder, TracePage, UnixNanos};

use super::search_form::{CUSTOM, SearchForm};
use crate::pages::Pages;
use crate::pages::frame::error::{PageError, PageResult};
use crate::pages::frame::page::Page;
use crate::pages::frame::params::{Params, moment};
use crate::pages::view::href::Href;
use crate::pages::view::{moment as spelled, text};

/// Most newer traces counted.
const COUNTED_MAX: usize = 100;
/// Spans arrive up to this long after their start; a search without results also looks for those.
const LATE_NANOS: u64 = 10 * text::SECOND;

/// The line about newer traces; empty if there are none.
#[derive(Debug, Template)]
#[template(path = "traces/fresh.html")]
pub(crate) struct Fresh {
    count: usize,
    since: u64,
    href: String,
}

/// Serves the line about traces that began after `since`.
pub(crate) async fn show(State(pages): State<Pages>, params: Params) -> PageResult<Fresh> {
    let now = UnixNanos::now().get();
    let mut form = SearchForm::read(&params, pages.retention());
    let mut query = form.query(now);
    let since = params.word("since").and_then(moment);
    let (Some(since), []) = (since, form.problems.as_slice()) else {
        return Err(PageError::Invalid(
            t!("this needs a search and `since`, a time").to_owned(),
        ));
    };
    query.limit = COUNTED_MAX;
    query.order = TraceOrder::Newest;
    query.range.start = query.range.start.max(UnixNanos::new(since));
    let mut found = pages.query.search(query).await?.traces;
    // An older trace with new spans is not new.
    found.retain(|trace| trace.start.get() > since);
    Ok(Page(Fresh {
        count: found.len(),
        since,
        href: form.href(None).to_string(),
    }))
}

/// Returns where a page requests newer traces; `None` if there cannot be any.
pub(crate) fn href(form: &SearchForm, found: &TracePage, now: u64) -> Option<Href> {
    let is_live =
        form.range != CUSTOM && form.cursor.is_empty() && form.order == TraceOrder::Newest;
    let newest = found.traces.iter().map(|trace| trace.start.get()).max();
    let since = newest.unwrap_or(now.saturating_sub(LATE_NANOS));
    let search = form.href(None).to_string();
    let (_, query) = search.split_once('?')?;
    is_live.then(|| Href::new("/traces/new").with("since", since).and(query))
}

impl Fresh {
    fn has_some(&self) -> bool {
        self.count > 0
    }

    fn words(&self) -> String {
        let more = if self.count >= COUNTED_MAX { "+" } else { "" };
        t!("{n} new since", n = format!("{}{more}", self.count))
    }

    fn when(&self) -> String {
        spelled::full(self.since)
    }
}
