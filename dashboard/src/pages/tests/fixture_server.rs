//! Serves the made-up shop to a browser: `FUSEBOX_FIXTURES=127.0.0.1:9777 cargo test -p fusebox-dashboard --lib
//! serve_fixtures -- --ignored`.

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::UnixNanos;

use super::*;
use crate::pages::circuit::range::Shown;
use crate::pages::circuit::{self as circuit_room, differs};
use crate::pages::compare::{ComparePage, CompareView};
use crate::pages::frame::error;
use crate::pages::frame::page::{Page, framed};
use crate::pages::frame::params::Params;
use crate::pages::trace::call_tree::CallTree;
use crate::pages::trace::rows::Rows;
use crate::pages::trace::shown::Shown as ShownRows;
use crate::pages::trace::{TracePage as TracePageView, TraceView};
use crate::pages::traces::search_form::SearchForm;
use crate::pages::traces::{Known, TracesPage};
use crate::pages::view::palette::Palette;
use crate::pages::view::range::{Range, Ranges};
use crate::pages::wall::{WallBody, WallPage, WallView, timeline};
use crate::pages::{map, services};

fn the_wall(params: &Params) -> CircuitWall {
    match params.number("circuits", 13) {
        13 => wall(),
        0 => CircuitWall {
            at: UnixNanos::new(NOW),
            live: true,
            circuits: Vec::new(),
        },
        1 => CircuitWall {
            at: UnixNanos::new(NOW),
            live: true,
            circuits: wall().circuits.split_off(12),
        },
        count => big_wall(count),
    }
}

async fn show_wall(params: Params) -> Page<WallPage> {
    let view = WallView::read(&params).unwrap_or_default();
    let kept = retention(&params);
    Page(WallPage::new(
        &the_wall(&params),
        &transitions(),
        view,
        NOW,
        (kept, &timeline::lengths(kept.length())),
        teach(),
    ))
}

/// Returns a retention of a week, or of `days` days.
fn retention(params: &Params) -> Range {
    Range::of(params.number("days", 7) as u64 * DAY)
}

async fn show_body(params: Params) -> Page<WallBody> {
    Page(WallBody::drawn(
        &the_wall(&params),
        &WallView::read(&params).unwrap_or_default(),
    ))
}

fn the_trace(id: &str) -> Trace {
    match id {
        "00000000000000000000000000000010" => long_trace(10_000),
        _ => trace(),
    }
}

async fn show_trace(Path(id): Path<String>, params: Params) -> Page<TracePageView> {
    let trace = the_trace(&id);
    Page(TracePageView::new(
        &trace,
        &CallTree::build(&trace),
        TraceView::read(&params),
        &Palette::default(),
    ))
}

async fn show_comparison(params: Params) -> Page<ComparePage> {
    let [first, second] = ["a", "b"].map(|name| the_trace(params.word(name).unwrap_or_default()));
    let view = CompareView::read(&params);
    let palette = Palette::default();
    Page(ComparePage::new([&first, &second], view, &palette))
}

async fn show_rows(Path(id): Path<String>, params: Params) -> Page<Rows> {
    let trace = the_trace(&id);
    let tree = CallTree::build(&trace);
    let shown = ShownRows::new(&trace, &tree, TraceView::read(&params));
    Page(Rows::new(&trace, &shown, &Palette::default()))
}

async fn show_traces(params: Params) -> Page<TracesPage> {
    let mut form = SearchForm::read(&params, retention(&params).length());
    form.query(NOW);
    let found = if form.problems.is_empty() && form.service != "none" {
        found()
    } else {
        TracePage::default()
    };
    let known = Known {
        services: vec!["gateway".to_owned(), "product-page".to_owned()],
        operations: Vec::new(),
    };
    Page(TracesPage::new(
        form,
        &found,
        known,
        NOW,
        teach(),
        &Palette::default(),
    ))
}

async fn show_circuit(
    Path((_, name)): Path<(String, String)>,
    params: Params,
) -> Page<circuit_room::CircuitPage> {
    let state = if name == "inventory" {
        EffectiveState::Open
    } else {
        EffectiveState::ForcedOpen
    };
    let view = circuit_room::View::read(&params).unwrap_or_default();
    let circuit = circuit("product-page", &name, state);
    Page(circuit_page(circuit, view, retention(&params)))
}

pub(crate) fn circuit_page(
    of: CircuitView,
    view: circuit_room::View,
    retention: Range,
) -> circuit_room::CircuitPage {
    let difference = |words: &str, failing: &str, passing: &str| differs::Difference {
        words: words.to_owned(),
        failing: failing.to_owned(),
        passing: passing.to_owned(),
    };
    let known = circuit_room::Known {
        circuit: of,
        transitions: transitions()
            .into_iter()
            .filter(|t| t.key.name == "inventory")
            .collect(),
        requests: found(),
        changes: Vec::new(),
        retention,
        differs: view.differs.then(|| differs::Differs {
            failing: 60,
            passing: 57,
            rows: vec![
                difference("called: service.instance.id = inventory-2", "98", "49"),
                difference("stock.warehouse = icheon", "71", "22"),
            ],
        }),
    };
    let shown = Shown {
        range: Range::of(WEEK),
        time: TimeRange {
            start: UnixNanos::new(NOW - WEEK),
            end: UnixNanos::new(NOW),
        },
        history: history(),
        missing: None,
    };
    circuit_room::CircuitPage::new(known, view, shown, NOW, &Palette::default())
}

async fn show_services(params: Params) -> Page<services::ServicesPage> {
    Page(services::ServicesPage::new(
        &services(),
        &wall().circuits,
        &[],
        NOW,
        retention(&params),
        teach(),
    ))
}

async fn show_service() -> Page<services::ServicePage> {
    let mut circuits = wall().circuits;
    circuits.retain(|c| c.key.service == "product-page");
    Page(services::ServicePage::new(
        services().remove(4),
        circuits,
        services::Peers::new(links(), &wall().circuits, "product-page"),
        NOW,
    ))
}

async fn show_map(params: Params) -> Page<map::MapPage> {
    let links = if params.get("empty").is_some() {
        Vec::new()
    } else {
        links()
    };
    let ranges = Ranges::within(retention(&params).length(), &[15 * MINUTE, HOUR, DAY]);
    let shown = Range::of(HOUR);
    Page(map::MapPage::new(
        links,
        &wall().circuits,
        shown,
        &ranges,
        teach(),
    ))
}

pub(crate) fn router() -> Router {
    let routes = Router::new()
        .route("/circuits/{service}/{name}", get(show_circuit))
        .route("/services", get(show_services))
        .route("/services/{name}", get(show_service))
        .route("/map", get(show_map))
        .route("/", get(show_wall))
        .route("/circuits/wall", get(show_body))
        .route("/traces", get(show_traces))
        .route("/traces/{id}", get(show_trace))
        .route("/traces/{id}/rows", get(show_rows))
        .route("/compare", get(show_comparison))
        .route("/assets/{hash}/{name}", get(crate::pages::asset))
        .fallback(error::not_found);
    framed(routes, &[])
}

#[tokio::test]
#[ignore = "serves the fixtures to a browser until it is stopped"]
async fn serve_fixtures() {
    let addr = std::env::var("FUSEBOX_FIXTURES").unwrap_or_else(|_| "127.0.0.1:0".to_owned());
    let listener = tokio::net::TcpListener::bind(addr)
        .await
        .expect("a free port");
    axum::serve(listener, router()).await.expect("served");
}
