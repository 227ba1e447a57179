//! What is written comes back: from open blocks, sealed segments, rewritten segments and after a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry::TraceId;
use proptest::prelude::*;

use super::super::SpanLog;
use super::searching::naive;
use super::support::*;
use crate::codec::otlp::{ScopeView, SpanVisitor};
use crate::model::{Condition, Span, TimeRange, TraceQuery, UnixNanos};
use crate::store::TraceReader;
use crate::store::assemble;

/// Reads every trace and compares it with what a reader must make of the spans.
fn assert_holds(store: &super::super::EmbeddedStore, spans: &[Span]) {
    let mut traces: BTreeMap<[u8; 16], Vec<Span>> = BTreeMap::new();
    for span in spans {
        traces
            .entry(span.trace_id.to_bytes())
            .or_default()
            .push(span.clone());
    }
    let ids: Vec<_> = traces.keys().map(|id| TraceId::from_bytes(*id)).collect();
    let together = wait(store.traces_within(ids, 48 << 20)).unwrap();
    let mut together = together.expect("they fit").into_iter();
    for (id, spans) in traces {
        let read = wait(store.trace(TraceId::from_bytes(id))).unwrap();
        assert_eq!(read, together.next());
        assert_eq!(read.unwrap(), assemble(spans));
    }
    assert_eq!(store.stats().spans, spans.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// *Scenario*: arbitrary spans arrive in blocks of arbitrary size on two shards.
    /// *Guarantees*: each trace reads back equal from open segments, sealed ones and after reopening.
    #[test]
    fn spans_read_back_equal_wherever_they_lie(spans in any_spans(1..120), block in 1usize..60) {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut writers, _) = open_store(dir.path(), 2);
        for (index, chunk) in spans.chunks(block).enumerate() {
            let writer = &mut writers[index % 2];
            writer.begin_request();
            write(writer, chunk);
            prop_assert_eq!(writer.commit().unwrap().spans, chunk.len() as u64);
        }
        assert_holds(&store, &spans);
        writers[0].seal().unwrap();
        assert_holds(&store, &spans);
        drop((store, writers));
        let (store, _, counters) = open_store(dir.path(), 2);
        assert_holds(&store, &spans);
        prop_assert!(counters.incidents.all().is_empty());
    }

    /// *Scenario*: a request turns out malformed after some of its spans were visited.
    /// *Guarantees*: nothing of it is stored, and earlier and later spans read back equal.
    #[test]
    fn a_rollback_leaves_no_trace(
        before in any_spans(0..30), refused in any_spans(0..30), after in any_spans(1..30),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut writers, _) = open_store(dir.path(), 1);
        let writer = &mut writers[0];
        writer.begin_request();
        write(writer, &before);
        let pending = (writer.pending_spans(), writer.pending_bytes());
        writer.begin_request();
        write(writer, &refused);
        writer.rollback_request();
        prop_assert_eq!((writer.pending_spans(), writer.pending_bytes()), pending);
        writer.begin_request();
        let mut kept = before;
        for mut span in after {
            span.span_id = opentelemetry::SpanId::from_bytes((1_000 + kept.len() as u64).to_be_bytes());
            write(writer, std::slice::from_ref(&span));
            kept.push(span);
        }
        writer.commit().unwrap();
        assert_holds(&store, &kept);
        drop((store, writers));
        let (store, ..) = open_store(dir.path(), 1);
        assert_holds(&store, &kept);
    }
}

/// *Scenario*: of the second scope of a block, the schema stands behind its span.
/// *Guarantees*: it is the schema of that span, and of no other.
#[test]
fn a_scope_visited_again_is_that_of_its_spans() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    let writer = &mut writers[0];
    write(writer, &[span(1, 1, "shop"), span(2, 2, "shop")]);
    writer.scope_again(&ScopeView {
        name: "late",
        schema_url: "https://schemas.example/1",
        ..ScopeView::default()
    });
    write(writer, &[span(3, 3, "shop")]);
    writer.commit().unwrap();
    let schema = |id: u64| {
        let id = TraceId::from_bytes(u128::from(id).to_be_bytes());
        let trace = wait(store.trace(id)).unwrap().unwrap();
        trace.spans[0].scope.schema_url.clone()
    };
    assert_eq!([1, 2, 3].map(schema), ["", "https://schemas.example/1", ""]);
}

#[test]
fn a_rolled_back_value_is_not_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut writers, _) = open_store(dir.path(), 1);
    let writer = &mut writers[0];
    writer.begin_request();
    write(writer, &[span(1, 1, "shop")]);
    writer.begin_request();
    write(writer, &[span(2, 2, "secret-service")]);
    writer.rollback_request();
    writer.commit().unwrap();
    let folder = std::fs::read_dir(dir.path().join("spans"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let file = std::fs::read_dir(folder.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let bytes = std::fs::read(file.path()).unwrap();
    assert!(bytes.windows(4).any(|w| w == b"shop"));
    assert!(!bytes.windows(6).any(|w| w == b"secret"));
}

#[test]
fn a_key_with_ever_new_values_turns_literal_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    let mut all = Vec::new();
    for block in 0..3u64 {
        let spans: Vec<Span> = (0..700)
            .map(|i| span(block * 700 + i, i + 1, "shop"))
            .collect();
        write(&mut writers[0], &spans);
        writers[0].commit().unwrap();
        all.extend(spans);
    }
    assert_holds(&store, &all);
    writers[0].seal().unwrap();
    assert_holds(&store, &all);
}

#[test]
fn attributes_beyond_the_bounds_are_kept_as_blobs_and_found() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, counters) = open_store(dir.path(), 1);
    let mut spans = Vec::new();
    for id in 0..5_000u64 {
        let mut one = span(id, id + 1, "shop");
        let key = format!("key.{id}");
        one.attributes = vec![(key, crate::model::Value::String(format!("value {id}")))];
        spans.push(one);
    }
    write(&mut writers[0], &spans);
    writers[0].commit().unwrap();
    assert!(counters.incidents.all()["attribute_overflow"] > 0);
    for id in [3, 4_999usize] {
        let trace = wait(store.trace(spans[id].trace_id)).unwrap();
        assert_eq!(trace.unwrap().spans, spans[id..=id]);
        let mut query = crate::model::TraceQuery::in_range(crate::model::TimeRange::ALL);
        let condition = Condition::attribute(format!("key.{id}"), format!("value {id}"));
        query.conditions = vec![condition];
        assert_eq!(search_all(&store, &query).len(), 1);
    }
}

#[test]
fn a_trace_beyond_the_cap_is_cut_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    let spans: Vec<Span> = (0..100_001).map(|id| span(1, id + 1, "shop")).collect();
    write(&mut writers[0], &spans);
    writers[0].commit().unwrap();
    let trace = wait(store.trace(spans[0].trace_id)).unwrap().unwrap();
    assert!(trace.truncated);
    assert_eq!(trace.spans.len(), 100_000);
}

#[test]
fn ids_are_found_by_their_low_half() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    let mut other = span(5, 2, "shop");
    other.trace_id = TraceId::from_bytes((1u128 << 100 | 5).to_be_bytes());
    other.start = other.start + Duration::from_micros(1);
    other.end = other.end + Duration::from_micros(1);
    write(
        &mut writers[0],
        &[span(5, 1, "shop"), other.clone(), span(6, 3, "shop")],
    );
    writers[0].commit().unwrap();
    for _ in 0..2 {
        let ids = wait(store.trace_ids_by_low_half(5)).unwrap();
        assert_eq!(
            ids,
            [other.trace_id, TraceId::from_bytes(5u128.to_be_bytes())]
        );
        assert!(wait(store.trace_ids_by_low_half(7)).unwrap().is_empty());
        writers[0].seal().unwrap();
    }
}

#[test]
fn the_contract_of_all_stores_holds() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 2);
    let mut piece = 0;
    wait(crate::store::contract::check(&store, |spans| {
        write(&mut writers[piece % 2], spans);
        writers[piece % 2].commit().unwrap();
        piece += 1;
    }));
}

/// The spans of the fixture: four in a sealed segment, then two blocks in an unsealed one.
fn fixture_spans() -> Vec<Span> {
    use crate::model::{Event, Link, Status, StatusCode, Value};
    let text = |text: &str| Value::String(text.to_owned());
    (1..=12u64)
        .map(|id| {
            let mut one = span(id / 3 + 1, id, ["shop", "cart", "stock"][(id % 3) as usize]);
            one.attributes.extend([
                ("circuit_breaker.name".to_owned(), text("inventory")),
                ("circuit_breaker.outcome".to_owned(), text("rejected")),
                ("bool".to_owned(), Value::Bool(id % 2 == 0)),
                ("double".to_owned(), Value::Double(id as f64 / 4.0)),
                ("list".to_owned(), Value::Array(vec![Value::Int(3)])),
                ("empty".to_owned(), Value::Empty),
            ]);
            one.trace_state = "vendor=1".to_owned();
            one.parent_span_id =
                (id % 3 != 0).then(|| opentelemetry::SpanId::from_bytes(7u64.to_be_bytes()));
            one.status = Status {
                code: StatusCode::from_otlp(id % 3),
                message: "went wrong".to_owned(),
            };
            one.events = vec![Event {
                time: UnixNanos::new(5),
                name: "retry".to_owned(),
                attributes: Vec::new(),
                dropped_attributes_count: 0,
            }];
            one.links = vec![Link {
                trace_id: one.trace_id,
                span_id: one.span_id,
                trace_state: String::new(),
                flags: 0,
                attributes: Vec::new(),
                dropped_attributes_count: 0,
            }];
            one.dropped_attributes_count = 2;
            one
        })
        .collect()
}

/// Returns a data directory with those files of `fixtures`.
fn dir_of(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let day = dir.path().join("spans/2026-11-30");
    std::fs::create_dir_all(&day).unwrap();
    let fixtures =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/embedded/fixtures");
    for file in files.iter().map(|file| fixtures.join(file)) {
        std::fs::copy(&file, day.join(file.file_name().unwrap())).unwrap();
    }
    dir
}

/// Opens a directory twice, and expects the spans of the fixtures.
fn assert_reads_fixtures(dir: &std::path::Path) {
    for _ in 0..2 {
        let (store, _, counters) = open_store(dir, 1);
        let spans = fixture_spans();
        assert_holds(&store, &spans);
        for condition in [
            "request.id=2-3",
            "request.id=0",
            "double>2",
            "double=0.5",
            "no",
            "list=[3]",
        ] {
            let condition = Condition::parse_attribute(condition).unwrap();
            let query = TraceQuery::in_range(TimeRange::ALL).with([condition]);
            let found = search_all(&store, &query);
            let ids: Vec<_> = found.iter().map(|row| row.trace_id.to_bytes()).collect();
            assert_eq!(ids, naive(&spans, &query));
        }
        assert!(counters.incidents.all().is_empty());
    }
}

/// *Scenario*: version 0.1.0 wrote one sealed segment and one that it did not seal.
/// *Guarantees*: every span reads back equal and is found, and again after the open one was sealed.
#[test]
fn segments_of_the_first_version_are_read() {
    let dir = dir_of(&["0000000001-0.seg", "0000000002-0.seg"]);
    assert_reads_fixtures(dir.path());
}

/// *Scenario*: a build without parity records wrote a segment, sealed or not.
/// *Guarantees*: as for those of the first version.
#[test]
fn segments_without_parity_are_read() {
    let dir = dir_of(&["0000000001-0.seg", "without_parity/0000000002-0.seg"]);
    assert_reads_fixtures(dir.path());
    let dir = dir_of(&["0000000001-0.seg", "without_parity/0000000002-0.seg"]);
    let file = dir.path().join("spans/2026-11-30/0000000002-0.seg");
    let bytes = std::fs::read(&file).unwrap();
    let footer = bytes.windows(4).position(|magic| magic == b"FxF1").unwrap();
    std::fs::write(&file, &bytes[..footer]).unwrap();
    assert_reads_fixtures(dir.path());
}
