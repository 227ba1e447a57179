//! A search ends within a block, within a dictionary and within a list of resources.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::super::tests::support::{open_store, span, write};
use super::super::{EmbeddedStore, SpanLog};
use super::*;
use crate::model::{
    Condition, EVENT_NAME, Event, Pattern, Place, Resource, SCOPE_NAME, Scope, Span, Test, Value,
};
use crate::store::cancel::{Asked, TimeLimit};

const SPANS: u64 = 1_000;

/// A span with unique texts.
fn distinct(number: u64) -> Span {
    let mut span = span(number, 1, &format!("service {number}"));
    let text = |what: &str| Value::String(format!("{what} {number}"));
    span.name = format!("operation {number}");
    span.status.message = format!("message {number}");
    span.trace_state = format!("vendor={number}");
    span.resource = Arc::new(Resource {
        attributes: vec![("host".into(), text("host"))],
        ..(*span.resource).clone()
    });
    span.scope = Arc::new(Scope {
        name: format!("scope {number}"),
        ..Scope::default()
    });
    let repeated = Value::String(format!("value {}", number / 4));
    span.attributes = vec![
        ("literal".into(), text("literal")),
        ("repeated".into(), repeated),
        ("number".into(), Value::Int(number as i64)),
        ("list".into(), Value::Array(vec![text("element")])),
    ];
    span.events = vec![Event {
        name: format!("event {number}"),
        attributes: vec![("on.event".into(), text("event"))],
        time: span.start,
        dropped_attributes_count: 0,
    }];
    span
}

fn store(dir: &std::path::Path, is_sealed: bool) -> EmbeddedStore {
    let (store, mut writers, _) = open_store(dir, 1);
    let spans: Vec<Span> = (0..SPANS).map(distinct).collect();
    write(&mut writers[0], &spans);
    writers[0].commit().unwrap();
    if is_sealed {
        writers[0].seal().unwrap();
    }
    store
}

/// A test that no text passes and no filter can decide.
fn nothing() -> Test {
    Test::Matches(Pattern::new("no such text").unwrap())
}

fn attribute(places: &'static [Place], key: &str) -> Condition {
    Condition::Attribute {
        places,
        key: key.to_owned(),
        test: nothing(),
    }
}

fn conditions() -> Vec<Condition> {
    vec![
        Condition::Service(nothing()),
        Condition::Operation(nothing()),
        Condition::StatusMessage(nothing()),
        Condition::TraceState(nothing()),
        attribute(&[Place::Resource], "host"),
        attribute(&[Place::Scope], SCOPE_NAME),
        attribute(&[Place::Span], "literal"),
        attribute(&[Place::Span], "repeated"),
        attribute(&[Place::Span], "number"),
        attribute(&[Place::Span], "list"),
        attribute(&[Place::Event], "on.event"),
        attribute(&[Place::Event], EVENT_NAME),
    ]
}

/// Runs a search whose time ends at the given check of the clock; also returns the number of checks.
fn search_until(store: &EmbeddedStore, query: &TraceQuery, over_at: usize) -> (TracePage, usize) {
    let looks = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&looks);
    let limit = TimeLimit::new(move || seen.fetch_add(1, Ordering::Relaxed) + 1 >= over_at);
    let found = search_within(&store.catalog, query, search::deadline(), limit).unwrap();
    (found, looks.load(Ordering::Relaxed))
}

#[test]
fn time_that_is_over_ends_a_search_among_the_values_of_any_condition() {
    for is_sealed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), is_sealed);
        for condition in conditions() {
            let mut query = TraceQuery::in_range(TimeRange::ALL);
            query.conditions = vec![condition];
            let (whole, looks) = search_until(&store, &query, usize::MAX);
            assert_eq!(whole.missing, None);
            assert!(looks > 3, "{looks} looks: {query:?}");
            let (first, looks) = search_until(&store, &query, 3);
            assert_eq!(looks, 3, "{query:?}");
            assert!(first.ended_early && first.missing.is_some());
            // What the page gave up, the next one begins with; it finds no more time and says so.
            query.cursor = first.next;
            assert!(query.cursor.is_some());
            let (second, looks) = search_until(&store, &query, 3);
            assert_eq!(looks, 3, "{query:?}");
            assert!(second.ended_early && second.next.is_none());
            let why = second.missing.unwrap();
            assert!(why.contains("takes longer to look through"), "{why}");
        }
    }
}

#[test]
fn a_search_without_a_waiting_client_ends_among_the_values_of_any_condition() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), true);
    for condition in conditions() {
        let mut query = TraceQuery::in_range(TimeRange::ALL);
        query.conditions = vec![condition];
        let asked = Asked::default();
        let _entered = asked.cancel().enter();
        let (asked, looks) = (Mutex::new(Some(asked)), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&looks);
        let leaves = TimeLimit::new(move || {
            if seen.fetch_add(1, Ordering::Relaxed) == 1 {
                asked.lock().unwrap().take();
            }
            false
        });
        let found = search_within(&store.catalog, &query, search::deadline(), leaves);
        assert!(matches!(found, Err(StoreError::Cancelled)), "{query:?}");
        assert_eq!(looks.load(Ordering::Relaxed), 2, "{query:?}");
    }
}
