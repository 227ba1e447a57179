//! Tests of every page, rendered from fixtures: snapshots of the small ones, and what no page may contain: inline code
//! or styles, links to other sites, hostile text that runs or reorders.

mod collector;
pub(crate) mod control;
pub(crate) mod fixtures;
mod forced;
mod grades;
mod kept;
mod languages;
mod logs;
mod outages;
mod settings;
mod wall_rows;

use std::time::Duration;

use askama::Template;
use axum::body::Body;
use axum::http::{self, Request};
use fixtures::{HOSTILE, NOW, teach};
use fusebox::circuit_breaker::{EffectiveState, OverrideKind};
use fusebox_collector::model::*;
use fusebox_collector::query::UploadedTrace;
use opentelemetry::{SpanId, TraceId};
use tower::ServiceExt;

use crate::pages::circuit::View;
use crate::pages::compare::{ChoosePage, ComparePage, CompareView};
use crate::pages::frame::page::draw;
use crate::pages::frame::params::Params;
use crate::pages::frame::{assets, error, headers};
use crate::pages::map;
use crate::pages::preferences::PreferencesPage;
use crate::pages::services::{Peers, ServicePage, ServicesPage};
use crate::pages::trace::call_tree::CallTree;
use crate::pages::trace::rows::Rows;
use crate::pages::trace::shown::Shown;
use crate::pages::trace::{TracePage as TraceHtml, TraceView, give_colours};
use crate::pages::traces::search_form::SearchForm;
use crate::pages::traces::{Known, TracesPage};
use crate::pages::upload::UploadPage;
use crate::pages::view::palette::Palette;
use crate::pages::view::range::{Range, Ranges};
use crate::pages::view::state;
use crate::pages::view::text::{DAY, HOUR, MINUTE};
use crate::pages::wall::{WallPage, WallView, arrange, card, live, timeline};

/// The retention in the tests.
const KEPT: Range = Range::of(fixtures::WEEK);

fn map_page(links: Vec<DependencyLink>, circuits: &[CircuitView], kept: Range) -> map::MapPage {
    let ranges = Ranges::within(kept.length(), &[15 * MINUTE, HOUR, DAY]);
    map::MapPage::new(links, circuits, Range::of(HOUR), &ranges, teach())
}

fn html(page: impl Template) -> String {
    draw(&page).expect("a template renders")
}

fn wall_page(wall: &CircuitWall, params: &[(&str, &str)]) -> String {
    let view = WallView::read(&Params::from(params)).expect("a view");
    html(WallPage::new(
        wall,
        &fixtures::transitions(),
        view,
        NOW,
        (KEPT, &timeline::lengths(KEPT.length())),
        teach(),
    ))
}

fn search_page(params: &[(&str, &str)], found: &TracePage) -> String {
    let mut form = SearchForm::read(&Params::from(params), KEPT.length());
    form.query(NOW);
    let known = Known {
        services: vec!["gateway".to_owned(), HOSTILE.to_owned()],
        operations: vec![HOSTILE.to_owned()],
    };
    html(TracesPage::new(
        form,
        found,
        known,
        NOW,
        teach(),
        &Palette::default(),
    ))
}

fn trace_page(trace: &Trace, params: &[(&str, &str)]) -> String {
    html(TraceHtml::new(
        trace,
        &CallTree::build(trace),
        TraceView::read(&Params::from(params)),
        &Palette::default(),
    ))
}

/// An uploaded trace with hostile names.
fn uploaded() -> Vec<UploadedTrace> {
    vec![UploadedTrace {
        id: TraceId::from(5),
        root: (nasty(), nasty()),
        spans: 3,
        left: Duration::from_secs(90),
    }]
}

fn compare_page(traces: [&Trace; 2], params: &[(&str, &str)]) -> String {
    let view = CompareView::read(&Params::from(params));
    html(ComparePage::new(traces, view, &Palette::default()))
}

/// A name of ten kilobytes that begins with hostile text.
fn nasty() -> String {
    format!("{HOSTILE}{}", "x".repeat(10_000))
}

fn nasty_circuit() -> CircuitView {
    let mut circuit = fixtures::circuit("a", "b", EffectiveState::ForcedOpen);
    circuit.key = CircuitKey {
        service: nasty(),
        name: nasty(),
    };
    circuit.target = HOSTILE.to_owned();
    circuit.reason = nasty();
    circuit.settings.group = nasty();
    circuit.forced = Some(OverrideView {
        kind: OverrideKind::ForcedOpen,
        reason: nasty(),
        expires: None,
    });
    circuit.instances.iter_mut().for_each(|i| i.id = nasty());
    circuit
}

fn nasty_trace() -> Trace {
    let mut trace = fixtures::trace();
    let text = || Value::String(nasty());
    for span in &mut trace.spans {
        span.name = nasty();
        span.status = Status {
            code: StatusCode::Error,
            message: nasty(),
        };
        span.trace_state = nasty();
        span.attributes = vec![
            (HOSTILE.to_owned(), Value::String(HOSTILE.to_owned())),
            (nasty(), text()),
            (
                "url.full".to_owned(),
                Value::String("javascript:alert(1)".to_owned()),
            ),
        ];
        for name in [
            "circuit_breaker.name",
            "circuit_breaker.state",
            "circuit_breaker.outcome",
            "circuit_breaker.fallback",
        ] {
            span.attributes
                .push((name.to_owned(), Value::String(HOSTILE.to_owned())));
        }
        span.events = vec![Event {
            time: UnixNanos::new(0),
            name: HOSTILE.to_owned(),
            attributes: vec![(nasty(), text())],
            dropped_attributes_count: 1,
        }];
        span.links = vec![Link {
            trace_id: span.trace_id,
            span_id: span.span_id,
            trace_state: nasty(),
            flags: 1,
            attributes: vec![(nasty(), text())],
            dropped_attributes_count: 1,
        }];
        let resource = Resource {
            service_name: HOSTILE.to_owned(),
            instance_id: nasty(),
            attributes: vec![(HOSTILE.to_owned(), text())],
            ..Resource::default()
        };
        span.resource = std::sync::Arc::new(resource);
        span.scope = std::sync::Arc::new(Scope {
            name: HOSTILE.to_owned(),
            version: nasty(),
            attributes: vec![(nasty(), text())],
            ..Scope::default()
        });
    }
    trace.notes = vec![Note {
        code: "x",
        span_id: SpanId::from(4),
        message: nasty(),
    }];
    trace
}

fn nasty_found() -> TracePage {
    let mut found = fixtures::found();
    for trace in &mut found.traces {
        trace.root_service = nasty();
        trace.root_operation = nasty();
        trace
            .services
            .iter_mut()
            .for_each(|s| s.service = HOSTILE.to_owned());
        for mark in &mut trace.circuits {
            let word = nasty();
            *mark = CircuitMark::new(&nasty(), &nasty(), [word.as_str(); 3]);
        }
    }
    found
}

fn nasty_missing() -> TracePage {
    TracePage {
        missing: Some(nasty()),
        ..nasty_found()
    }
}

/// Every kind of page, with friendly and with hostile data.
fn all_pages() -> Vec<(&'static str, String)> {
    [
        circuit_pages(),
        trace_pages(),
        control::pages(),
        settings::pages(),
        logs::pages(),
        other_pages(),
    ]
    .concat()
}

fn circuit_pages() -> Vec<(&'static str, String)> {
    let of = |circuits| CircuitWall {
        at: UnixNanos::new(NOW),
        live: true,
        circuits,
    };
    let (friendly, empty, hostile) = (fixtures::wall(), of(Vec::new()), of(vec![nasty_circuit()]));
    let past = [
        ("at", "2026-11-22T10:00"),
        ("view", "instances"),
        ("sort", "p99"),
    ];
    let filter = format!("nothing {HOSTILE}");
    let circuit_page = |circuit, params: &[(&str, &str)]| {
        let view = View::read(&Params::from(params)).expect("a view");
        html(fixtures::circuit_page(circuit, view, KEPT))
    };
    let open = friendly.circuits[0].clone();
    vec![
        ("wall", wall_page(&friendly, &[])),
        ("wall paused", wall_page(&friendly, &past)),
        ("wall empty", wall_page(&empty, &[])),
        ("wall of an unknown past", wall_page(&empty, &past)),
        (
            "wall hostile",
            wall_page(&hostile, &[("view", "instances")]),
        ),
        ("wall filtered", wall_page(&hostile, &[("filter", &filter)])),
        ("circuit", circuit_page(open, &[("differs", "1")])),
        (
            "circuit hostile",
            circuit_page(nasty_circuit(), &[("outcome", "failure")]),
        ),
    ]
}

fn trace_pages() -> Vec<(&'static str, String)> {
    let none = TracePage::default();
    let form =
        "service operation min_duration error attribute circuit outcome range start limit cursor";
    let form: Vec<(&str, &str)> = form.split(' ').map(|name| (name, HOSTILE)).collect();
    let found = [("span", "0000000000000004"), ("q", HOSTILE)];
    vec![
        ("traces", search_page(&[], &fixtures::found())),
        ("traces none", search_page(&[("service", "gateway")], &none)),
        ("traces hostile", search_page(&[], &nasty_found())),
        ("traces missing", search_page(&[], &nasty_missing())),
        ("form hostile", search_page(&form, &none)),
        (
            "trace",
            trace_page(&fixtures::trace(), &[("span", "000000000000000f")]),
        ),
        ("trace hostile", trace_page(&nasty_trace(), &found)),
        (
            "trace statistics hostile",
            trace_page(&nasty_trace(), &[("view", "statistics"), ("sort", HOSTILE)]),
        ),
        (
            "trace flame hostile",
            trace_page(&nasty_trace(), &[("view", "flame")]),
        ),
        (
            "trace spans hostile",
            trace_page(&nasty_trace(), &[("view", "spans"), ("sort", "self")]),
        ),
        ("upload", html(UploadPage::new(&uploaded()))),
        ("preferences", html(PreferencesPage::new(true))),
        ("compare", html(ChoosePage::empty())),
        (
            "compare friendly",
            compare_page([&fixtures::trace(), &fixtures::long_trace(50)], &[]),
        ),
        (
            "compare hostile",
            compare_page([&nasty_trace(), &fixtures::trace()], &[("only", "1")]),
        ),
        (
            "trace long",
            trace_page(&fixtures::long_trace(2_000), &[("from", "500")]),
        ),
    ]
}

fn other_pages() -> Vec<(&'static str, String)> {
    let circuits = fixtures::wall().circuits;
    let service =
        |service, circuits| html(ServicePage::new(service, circuits, Peers::default(), NOW));
    let services = |services: &[ServiceSummary], circuits: &[CircuitView]| {
        html(ServicesPage::new(
            services,
            circuits,
            &[],
            NOW,
            KEPT,
            teach(),
        ))
    };
    let map = |links, circuits: &[CircuitView]| html(map_page(links, circuits, KEPT));
    let friendly = fixtures::services();
    let mut hostile = friendly[0].clone();
    hostile.name = nasty();
    hostile.operations.iter_mut().for_each(|o| o.name = nasty());
    hostile.instances.iter_mut().for_each(|i| i.id = nasty());
    let mut links = fixtures::links();
    links[0].parent = nasty();
    links[1].child = HOSTILE.to_owned();
    vec![
        ("services", services(&friendly, &circuits)),
        (
            "services hostile",
            services(std::slice::from_ref(&hostile), &[]),
        ),
        ("services empty", services(&[], &[])),
        ("service", service(friendly[4].clone(), circuits.clone())),
        ("service hostile", service(hostile, vec![nasty_circuit()])),
        ("map", map(fixtures::links(), &circuits)),
        ("map hostile", map(links, &[nasty_circuit()])),
        ("map empty", map(Vec::new(), &[])),
        (
            "error",
            html(error::ErrorPage::new(http::StatusCode::NOT_FOUND, nasty())),
        ),
    ]
}

/// A tag's name and attributes.
type Tag = (String, Vec<(String, String)>);

/// Splits HTML into tags with their attributes, and the text between them.
fn tokens(html: &str) -> (Vec<Tag>, String) {
    let (mut tags, mut text) = (Vec::new(), String::new());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut quoted = false;
        let end = rest
            .find(|c| {
                quoted ^= c == '"';
                c == '>' && !quoted
            })
            .expect("a tag ends");
        let inside = &rest[..end];
        rest = &rest[end + 1..];
        let name_end = inside
            .find([' ', '\n', '/'])
            .filter(|at| *at > 0)
            .unwrap_or(inside.len());
        let (name, mut attributes) = inside.split_at(name_end);
        let mut found = Vec::new();
        while let Some((key, after)) = attributes.split_once("=\"") {
            let (value, next) = after.split_once('"').expect("a value ends");
            found.push((
                key.trim().rsplit(' ').next().unwrap_or("").to_owned(),
                value.to_owned(),
            ));
            attributes = next;
        }
        tags.push((name.to_owned(), found));
    }
    text.push_str(rest);
    (tags, text)
}

#[test]
fn no_page_holds_inline_code_or_style_or_leads_out_of_the_site() {
    for (page, html) in all_pages() {
        let (tags, text) = tokens(&html);
        assert!(!text.contains('\u{202e}'), "{page}: text is reordered");
        for (tag, attributes) in tags {
            let has = |name: &str| attributes.iter().any(|(key, _)| key == name);
            assert!(tag != "script" || has("src"), "{page}: inline script");
            assert!(
                !["style", "img", "iframe", "object", "base"].contains(&tag.as_str()),
                "{page}: <{tag}>"
            );
            for (key, value) in &attributes {
                assert!(
                    key != "style" && !key.starts_with("on"),
                    "{page}: {key}={value}"
                );
                if ["href", "src", "action"].contains(&key.as_str()) {
                    assert!(
                        value.starts_with('/') && !value.starts_with("//")
                            || value.starts_with('#'),
                        "{page}: {key}={value}"
                    );
                    assert!(!value.contains(['<', ' ', '\'']), "{page}: {key}={value}");
                }
            }
        }
    }
}

#[test]
fn ids_are_unique_and_tables_have_scopes() {
    for (page, html) in all_pages() {
        let (tags, _) = tokens(&html);
        let mut ids: Vec<&String> = tags
            .iter()
            .flat_map(|(_, a)| a.iter())
            .filter(|(k, _)| k == "id")
            .map(|(_, v)| v)
            .collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{page}: an id stands twice");
        for (tag, attributes) in &tags {
            assert!(
                tag != "th" || attributes.iter().any(|(key, _)| key == "scope"),
                "{page}: th without scope"
            );
        }
        assert_eq!(
            tags.iter().filter(|(tag, _)| tag == "main").count(),
            1,
            "{page}"
        );
        assert!(
            tags.iter().filter(|(tag, _)| tag == "h1").count() <= 1,
            "{page}: several h1"
        );
    }
}

/// Guarantees: breakers known only from spans are marked; others are not.
#[test]
fn a_card_says_when_only_spans_tell_of_its_breaker() {
    let mut circuit = fixtures::circuit("a", "b", EffectiveState::Closed);
    let shown = |circuit: &CircuitView| html(card::Card::new(circuit, NOW, true, false));
    assert!(!shown(&circuit).contains("from spans"));
    circuit.source = fusebox_collector::model::Source::Spans;
    assert!(shown(&circuit).contains(">from spans<"));
}

#[test]
fn long_names_are_cut_and_stand_in_full_in_the_title() {
    let circuit = CircuitView {
        key: fixtures::key("shop", &"n".repeat(1_000)),
        ..fixtures::circuit("a", "b", EffectiveState::Closed)
    };
    let html = html(card::Card::new(&circuit, NOW, true, false));
    let (tags, text) = tokens(&html);
    assert!(!text.contains(&"n".repeat(161)));
    assert!(tags.iter().any(|(_, a)| {
        a.iter()
            .any(|(k, v)| k == "title" && v.contains(&"n".repeat(1_000)))
    }));
}

#[test]
fn a_wall_of_a_thousand_stands_on_pages_and_is_found_by_the_filter() {
    let wall = fixtures::big_wall(1_000);
    let cards = |html: &str| html.matches("<article").count();
    let first = wall_page(&wall, &[]);
    assert_eq!(cards(&first), 200);
    assert!(first.contains("?page=5"));
    assert!(first.contains("11 of 1,000"), "not closed, of all");
    let second = wall_page(&wall, &[("page", "2")]);
    let nine = second.matches("· 9 circuits").count();
    assert_eq!(nine, 3, "one of them has its first card on the page before");
    assert!(first.len() <= 300_000, "{}", first.len());
    assert_eq!(cards(&wall_page(&wall, &[("filter", "dependency-999")])), 1);
    assert_eq!(
        cards(&wall_page(&wall, &[("filter", "open"), ("page", "1")])),
        11
    );
    assert_eq!(cards(&wall_page(&wall, &[("page", "99")])), 0);
}

#[test]
fn what_is_not_closed_comes_first_whatever_the_sort() {
    let wall = fixtures::wall();
    for sort in ["worst", "name", "volume", "error", "p50", "p90", "p99"] {
        let html = wall_page(&wall, &[("sort", sort)]);
        let first_closed = html.find("card is-closed").expect("closed ones");
        for class in [
            "card is-open",
            "card is-half",
            "card is-forced",
            "card is-off",
        ] {
            assert!(
                html.rfind(class).expect(class) < first_closed,
                "{sort}: {class}"
            );
        }
    }
}

#[test]
fn a_long_trace_brings_its_first_rows_and_names_the_next() {
    let trace = fixtures::long_trace(10_000);
    let first = trace_page(&trace, &[]);
    assert_eq!(first.matches("<li class=\"row").count(), 500);
    assert!(first.contains("Rows from 501 of 10000"));
    let last = trace_page(&trace, &[("from", "9800")]);
    assert_eq!(last.matches("<li class=\"row").count(), 200);
    let folded = trace_page(&trace, &[("depth", "1")]);
    assert_eq!(folded.matches("<li class=\"row").count(), 3);
}

/// *Scenario*: the spans of a trace claim to take centuries each.
/// *Guarantees*: every view of it is drawn, although the sum of their times overflows.
#[test]
fn a_comparison_has_a_page_of_rows_and_leads_to_the_next() {
    let (short, long) = (fixtures::trace(), fixtures::long_trace(2_000));
    let first = compare_page([&short, &long], &[]);
    assert_eq!(first.matches("<tr").count(), 1 + 500);
    assert!(first.contains("All calls (2,017)"));
    assert!(first.contains("from=500"));
    let last = compare_page([&short, &long], &[("from", "2000")]);
    assert_eq!(last.matches("<tr").count(), 1 + 17);
    assert!(first.len() < 600_000, "{}", first.len());
    let same = compare_page([&short, &short], &[("only", "1")]);
    assert!(same.contains("Nothing differs."), "{same}");
    assert!(same.contains("Both are the same trace."));
}

#[test]
fn times_that_add_up_to_too_much_are_no_trouble() {
    let mut trace = fixtures::trace();
    for span in &mut trace.spans {
        span.parent_span_id = None;
        (span.start, span.end) = (UnixNanos::new(1), UnixNanos::new(u64::MAX / 3));
    }
    for view in ["tree", "statistics", "flame", "spans"] {
        assert!(
            trace_page(&trace, &[("view", view)]).contains("gateway"),
            "{view}"
        );
    }
}

#[test]
fn states_are_shown_by_shape_word_and_class() {
    let mut symbols: Vec<_> = EffectiveState::ALL.into_iter().map(state::symbol).collect();
    let mut words: Vec<_> = EffectiveState::ALL.into_iter().map(state::word).collect();
    for list in [&mut symbols, &mut words] {
        list.sort_unstable();
        list.dedup();
        assert_eq!(list.len(), 7);
    }
    let page = wall_page(&fixtures::wall(), &[]);
    assert!(
        symbols
            .iter()
            .all(|symbol| page.contains(&format!("<symbol id=\"{symbol}\"")))
    );
}

/// *Scenario*: the retention is 30 days, or one day.
/// *Guarantees*: every page that offers ranges offers the whole retention and nothing longer, and draws it.
#[test]
fn pages_offer_and_draw_as_much_as_is_kept() {
    let long_ago = CircuitTransition {
        time: UnixNanos::new(NOW - 20 * DAY),
        ..fixtures::transitions()[0].clone()
    };
    let offers = |days: u64| {
        let kept = Range::of(days * DAY);
        let view = WallView::default();
        let transitions = std::slice::from_ref(&long_ago);
        let lengths = timeline::lengths(kept.length());
        let shown = (kept, &lengths);
        let wall = WallPage::new(&fixtures::wall(), transitions, view, NOW, shown, teach());
        let mut form = SearchForm::read(&Params::from(&[("range", "30d")][..]), kept.length());
        let query = form.query(NOW);
        let known = Known::default();
        let none = TracePage::default();
        let circuit = fixtures::circuit("a", "b", EffectiveState::Open);
        let pages = [
            html(TracesPage::new(
                form,
                &none,
                known,
                NOW,
                teach(),
                &Palette::default(),
            )),
            html(fixtures::circuit_page(circuit, View::default(), kept)),
            html(map_page(fixtures::links(), &[], kept)),
        ];
        (html(wall), pages, NOW - query.range.start.get())
    };
    let (wall, pages, searched) = offers(30);
    let start = (NOW - 30 * DAY) / 1_000_000;
    assert!(wall.contains(&format!("data-start=\"{start}\"")), "{wall}");
    assert!(wall.contains("1 transition "), "{wall}");
    assert!(pages.iter().all(|page| page.contains("30 days")));
    assert!(pages.iter().all(|page| page.contains("7 days")));
    assert_eq!(searched, 30 * DAY);
    let (wall, pages, searched) = offers(1);
    assert!(wall.contains("0 transitions "), "{wall}");
    assert!(pages.iter().all(|page| page.contains("24 hours")));
    assert!(!pages.iter().any(|page| page.contains(" days")));
    assert_eq!(searched, DAY);
}

#[test]
fn a_card_looks_like_this() {
    let circuit = &fixtures::wall().circuits[0];
    insta::assert_snapshot!(html(card::Card::new(circuit, NOW, true, true)));
}

#[test]
fn the_rows_of_a_trace_look_like_this() {
    let trace = fixtures::trace();
    let tree = CallTree::build(&trace);
    let view = TraceView::read(&Params::from(&[("span", "000000000000000f")][..]));
    let palette = Palette::default();
    give_colours(&trace, &palette);
    let shown = Shown::new(&trace, &tree, view);
    let rows = html(Rows::new(&trace, &shown, &palette));
    insta::assert_snapshot!(rows.replace("<li", "\n<li"));
}

/// *Guarantees*: while InfluxDB is unreachable an empty list claims neither that nothing matches nor that no service
/// sends data.
#[test]
fn a_list_that_may_lack_something_says_so() {
    let found = TracePage {
        traces: Vec::new(),
        missing: Some(format!("no connection {HOSTILE}")),
        ..fixtures::found()
    };
    let page = search_page(&[("service", "gateway")], &found);
    assert!(
        page.contains("Results may be incomplete: <bdi>no connection"),
        "{page}"
    );
    assert!(!page.contains("No traces found"), "{page}");
    let form = SearchForm::read(&Params::from(&[][..]), KEPT.length());
    let known = Known::default();
    let page = html(TracesPage::new(
        form,
        &found,
        known,
        NOW,
        teach(),
        &Palette::default(),
    ));
    assert!(!page.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{page}");
}

#[test]
fn an_error_page_looks_like_this() {
    let page = html(error::ErrorPage::new(
        http::StatusCode::NOT_FOUND,
        "no trace 1 is stored".to_owned(),
    ));
    let main = page.split_once("<main").map_or("", |(_, main)| main);
    insta::assert_snapshot!(main.split_once("</main>").map_or("", |(main, _)| main));
}

#[tokio::test]
async fn every_answer_carries_the_policy() {
    for path in ["/", "/traces", "/map", "/nowhere", "/assets/0/fusebox.css"] {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = fixtures::router()
            .oneshot(request)
            .await
            .expect("an answer");
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
        };
        assert_eq!(header("content-security-policy"), headers::POLICY, "{path}");
        assert!(!headers::POLICY.contains("unsafe"));
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{path}");
    }
}

#[tokio::test]
async fn files_are_named_by_their_content_and_kept_for_ever() {
    for name in [
        "fusebox.css",
        "page.js",
        "wall.js",
        "trace.js",
        "traces.js",
        "copy.js",
        "icon.svg",
        "icon-open.svg",
    ] {
        let request = Request::get(assets::url(name))
            .body(Body::empty())
            .expect("a request");
        let response = fixtures::router()
            .oneshot(request)
            .await
            .expect("an answer");
        assert_eq!(response.status(), http::StatusCode::OK, "{name}");
        assert!(
            response.headers()["cache-control"]
                .to_str()
                .is_ok_and(|v| v.contains("immutable"))
        );
    }
}

/// A stream that is behind gets the whole newest wall; one that is up to date only the changes.
#[test]
fn a_stream_gets_what_changed() {
    let mut wall = fixtures::wall();
    let first = live::Tick::new(wall.clone(), None);
    assert_eq!(first.changed.len(), wall.circuits.len());
    wall.circuits[2].calls.rejected += 1;
    let second = live::Tick::new(wall, Some(&first));
    assert_eq!(second.changed.len(), 1);
}

/// *Guarantees*: instances that are gone are not counted where the others are, as they do not decide the state.
#[test]
fn instances_that_stopped_reporting_are_not_counted() {
    let mut circuit = fixtures::circuit("gateway", "review", EffectiveState::Open);
    let states: Vec<_> = circuit.instances.iter().map(|i| i.state).collect();
    let (open, closed) = (EffectiveState::Open, EffectiveState::Closed);
    assert_eq!(states, [open, open, closed]);
    let shown = |circuit: &CircuitView| html(card::Card::new(circuit, NOW, true, false));
    assert!(shown(&circuit).contains("2 of 3"));
    circuit.instances[0].stale = true;
    let one_gone = shown(&circuit);
    assert!(one_gone.contains("1 of 2"), "{one_gone}");
    circuit.instances.iter_mut().for_each(|i| i.stale = true);
    assert!(shown(&circuit).contains("2 of 3"), "nothing else is known");
}

/// *Guarantees*: the card of an open breaker shows since when, why, and how many probes failed; the call that opened it and the
/// last probe are two links.
#[test]
fn an_outage_is_distinguished_from_its_last_probe() {
    let circuit = fixtures::circuit("gateway", "review", EffectiveState::Open);
    let card = html(card::Card::new(&circuit, NOW, true, false));
    let outage = circuit.outage.unwrap();
    let since = format!("data-since=\"{}\"", outage.since.millis());
    for wanted in [
        since.as_str(),
        "52 % of 118 calls failed",
        "12 probes failed",
    ] {
        assert!(card.contains(wanted), "{wanted}: {card}");
    }
    for (id, words) in [
        (outage.opened_by, "what opened it"),
        (circuit.last_opened_by, "last probe"),
    ] {
        let link = format!("/traces/{}?circuit=review\"", id.unwrap());
        let at = card.find(&link).unwrap_or_else(|| panic!("{link}: {card}"));
        assert!(
            card[at..].split("</a>").next().unwrap().ends_with(words),
            "{words}"
        );
    }
}

/// *Guarantees*: failed probes are not announced.
#[test]
fn an_outage_is_announced_when_it_begins_and_when_it_ends() {
    use EffectiveState::{Closed, HalfOpen, Open};
    let mut wall = fixtures::wall();
    wall.circuits.truncate(1);
    wall.circuits[0].state = Closed;
    let mut tick = live::Tick::new(wall.clone(), None);
    for (state, announcements) in [
        (Open, 1),
        (HalfOpen, 0),
        (Open, 0),
        (HalfOpen, 0),
        (Closed, 1),
        (Closed, 0),
    ] {
        wall.circuits[0].state = state;
        tick = live::Tick::new(wall.clone(), Some(&tick));
        assert_eq!(tick.announced.len(), announcements, "at {state:?}");
    }
}

/// *Guarantees*: a card does not leave its group at the moment at which its circuit recovers.
#[test]
fn what_has_just_closed_stays_with_what_is_not_closed_for_a_minute() {
    let mut wall = fixtures::wall();
    wall.circuits.truncate(1);
    let circuit = &mut wall.circuits[0];
    circuit.state = EffectiveState::Closed;
    circuit.reason = "3 of 3 probes succeeded".to_owned();
    let view = WallView::default();
    for (age, service) in [(59, None), (61, Some(wall.circuits[0].key.service.clone()))] {
        wall.circuits[0].since = wall.at - Duration::from_secs(age);
        let (groups, _) = arrange(&wall, &view);
        assert_eq!(groups[0].service, service, "{age} s after it closed");
    }
    wall.circuits[0].reason.clear();
    wall.circuits[0].since = wall.at - Duration::from_secs(1);
    let (groups, _) = arrange(&wall, &view);
    assert!(
        groups[0].service.is_some(),
        "a breaker that is new did not close"
    );
}
