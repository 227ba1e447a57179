//! The comparison of two traces: which calls only one of them has, which took longer, and where the critical paths
//! differ. If only one trace is given, the page offers recent ones with the same root.

mod choose;
mod diff;
mod page;
mod row;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fusebox_collector::model::Trace;
use fusebox_collector::query::aside;

use super::Pages;
use super::frame::error::PageError;
use super::frame::page::Page;
use super::frame::params::Params;
use super::trace::not_stored;
use super::view::palette::Palette;
use super::words::Language;
pub(crate) use choose::ChoosePage;
pub(crate) use page::{ComparePage, CompareView};

/// Serves the comparison, or the page on which the traces are chosen.
pub(crate) async fn show(
    State(pages): State<Pages>,
    params: Params,
) -> Result<Response, PageError> {
    Ok(match ids(&params)? {
        (Some(first), Some(second)) => {
            let traces = read(&pages, [first, second]).await?;
            let page = compare(traces, CompareView::read(&params), pages.palette);
            Page(page.await?).into_response()
        }
        (Some(first), None) => Page(ChoosePage::ask(&pages, first).await?).into_response(),
        (None, _) => Page(ChoosePage::empty()).into_response(),
    })
}

/// Returns the given ids: `a` and `b`, or two `id`s, as ticked boxes send them.
fn ids(params: &Params) -> Result<(Option<&str>, Option<&str>), PageError> {
    let mut ids = params.word("a").into_iter().chain(params.word("b"));
    let ticked: Vec<&str> = params.all("id").map(str::trim).collect();
    match ticked.as_slice() {
        [] => Ok((ids.next(), ids.next())),
        [first] => Ok((Some(*first), ids.next())),
        // Rows are newest first: the later trace is compared with the earlier one.
        [later, earlier] => Ok((Some(*earlier), Some(*later))),
        more => Err(PageError::Invalid(t!(
            "two traces can be compared, and {n} are ticked",
            n = more.len()
        ))),
    }
}

async fn read(pages: &Pages, ids: [&str; 2]) -> Result<[Trace; 2], PageError> {
    let [first, second] = pages.query.two_traces_by_text(ids).await?;
    let first = first.ok_or_else(|| not_stored(ids[0]))?;
    Ok([first, second.ok_or_else(|| not_stored(ids[1]))?])
}

/// Compares on a blocking thread, because matching two large traces takes long.
async fn compare(
    [first, second]: [Trace; 2],
    view: CompareView,
    palette: Palette,
) -> Result<ComparePage, PageError> {
    let compare = move || ComparePage::new([&first, &second], view, &palette);
    Ok(aside(Language::carried(compare)).await?)
}
