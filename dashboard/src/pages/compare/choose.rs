//! The page for choosing the traces to compare: by their ids, or from recent traces with the same root.

use askama::Template;
use fusebox_collector::model::{Condition, TimeRange, TraceQuery, TraceSummary, UnixNanos};

use crate::pages::Pages;
use crate::pages::frame::error::PageError;
use crate::pages::frame::page::{Chrome, Section};
use crate::pages::trace::not_stored;
use crate::pages::traces::{TraceRow, rows};
use crate::pages::view::href::Href;
use crate::pages::view::text;

/// Most traces offered.
const OFFERED_MAX: usize = 20;
/// Most traces searched for them; calls of the same name may also occur inside other traces.
const SEARCHED: usize = 100;

/// The page.
#[derive(Debug, Template)]
#[template(path = "compare/choose.html")]
pub(crate) struct ChoosePage {
    chrome: Chrome,
    ids: [String; 2],
    /// The name of the root of the first trace.
    root: Option<String>,
    rows: Vec<TraceRow>,
}

impl ChoosePage {
    /// Returns the page before a trace is chosen.
    pub(crate) fn empty() -> Self {
        Self {
            chrome: Chrome::new(Section::Traces, t!("Compare traces")),
            ids: Default::default(),
            root: None,
            rows: Vec::new(),
        }
    }

    /// Searches recent traces with the same root as this one.
    ///
    /// # Errors
    /// Returns an error if there is no such trace, or if the store fails.
    pub(crate) async fn ask(pages: &Pages, id: &str) -> Result<Self, PageError> {
        let trace = pages.query.trace_by_text(id).await?;
        let trace = trace.ok_or_else(|| not_stored(id))?;
        let root = trace
            .spans
            .iter()
            .find(|span| span.parent_span_id.is_none());
        let Some(root) = root.or(trace.spans.first()) else {
            return Err(not_stored(id));
        };
        let now = UnixNanos::now();
        let mut query = TraceQuery::in_range(TimeRange {
            end: UnixNanos::MAX,
            ..TimeRange::until(now, pages.query.retention())
        })
        .with([
            Condition::service(root.service()),
            Condition::operation(&root.name),
        ]);
        query.limit = SEARCHED;
        let mut found = pages.query.search(query).await?.traces;
        found.retain(|other| {
            let is_same_root =
                other.root_service == root.service() && other.root_operation == root.name;
            is_same_root && other.trace_id != trace.id
        });
        found.truncate(OFFERED_MAX);
        let words = format!("{} {}", text::name(root.service()), text::name(&root.name));
        Ok(Self {
            ids: [trace.id.to_string(), String::new()],
            root: Some(words),
            rows: offered(&trace.id.to_string(), &found, now.get(), pages),
            ..Self::empty()
        })
    }

    fn has_root(&self) -> bool {
        self.root.is_some()
    }
}

/// Returns the rows of traces, each with a link to its comparison with this one.
fn offered(id: &str, found: &[TraceSummary], now: u64, pages: &Pages) -> Vec<TraceRow> {
    let rows = rows(found, now, &pages.palette).into_iter();
    let with_link = |(mut row, trace): (TraceRow, &TraceSummary)| {
        let href = Href::new("/compare").with("a", id);
        row.href = href.with("b", trace.trace_id).to_string();
        row
    };
    rows.zip(found).map(with_link).collect()
}
