//! What a crash or a bad disk leaves behind is repaired, counted, and never answered wrongly.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::SpanLog;
use super::super::damage::tolerate;
use super::support::*;
use crate::model::{Resource, Span, TimeRange, TraceQuery, Value};
use crate::store::{StoreError, TraceReader};

fn segment_file(dir: &Path) -> PathBuf {
    let mut found = Vec::new();
    for day in fs::read_dir(dir.join("spans")).unwrap() {
        let day = day.unwrap().path();
        found.extend(
            fs::read_dir(day)
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
    }
    assert_eq!(found.len(), 1);
    found.remove(0)
}

/// Writes three blocks to one unsealed segment; returns the spans by block and the end of each block.
fn three_blocks(dir: &Path) -> (Vec<Vec<Span>>, Vec<u64>, PathBuf) {
    let (_, mut writers, _) = open_store(dir, 1);
    let (mut blocks, mut ends) = (Vec::new(), Vec::new());
    for block in 0..3u64 {
        let spans: Vec<Span> = (0..4)
            .map(|i| span(block * 4 + i + 1, i + 1, ["shop", "cart"][(i % 2) as usize]))
            .collect();
        write(&mut writers[0], &spans);
        writers[0].commit().unwrap();
        blocks.push(spans);
        ends.push(fs::metadata(segment_file(dir)).unwrap().len());
    }
    let path = segment_file(dir);
    (blocks, ends, path)
}

/// Two blocks of 1,200 spans in a sealed segment, each a single trace; returns them, the file and the end of
/// the first block.
fn two_sealed_blocks(dir: &Path) -> (Vec<Vec<Span>>, PathBuf, usize) {
    let (_, mut writers, _) = open_store(dir, 1);
    let spans = |block: u64| (0..1_200).map(move |i| span(block * 1_200 + i + 1, 1, "shop"));
    let blocks: Vec<Vec<Span>> = (0..2).map(|block| spans(block).collect()).collect();
    write(&mut writers[0], &blocks[0]);
    writers[0].commit().unwrap();
    let end = fs::metadata(segment_file(dir)).unwrap().len();
    write(&mut writers[0], &blocks[1]);
    writers[0].commit().unwrap();
    writers[0].seal().unwrap();
    (blocks, segment_file(dir), end as usize)
}

/// *Guarantees*: an irreparable block costs only its own spans; they are counted once.
#[test]
fn a_block_that_rots_after_sealing_is_skipped_and_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let (blocks, path, end) = two_sealed_blocks(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    for at in [end / 4, end / 2, end * 3 / 4] {
        bytes[at] ^= 1;
    }
    fs::write(&path, bytes).unwrap();
    let (store, _, counters) = open_store(dir.path(), 1);
    for _ in 0..2 {
        assert!(wait(store.trace(blocks[0][3].trace_id)).unwrap().is_none());
        assert!(wait(store.trace(blocks[1][3].trace_id)).unwrap().is_some());
    }
    let counted = counters.incidents.all();
    assert_eq!(
        (counted["damaged_block"], counted["damaged_span"]),
        (1, 1_200)
    );
    assert_eq!(counted.len(), 2);
}

/// *Scenario*: an irreparable block introduced the name, the service and a value of later spans.
/// *Guarantees*: they are read from its intact parts; otherwise they are shown as lost, and these spans are
/// counted.
#[test]
fn what_a_damaged_block_introduced_is_kept_or_said_to_be_lost() {
    let spans = |traces: Range<u64>, id: u64, service: &'static str, method: &'static str| {
        let spans = traces.map(|trace| {
            let mut span = span(trace, id, service);
            span.attributes[0].1 = Value::String(method.to_owned());
            span
        });
        spans.collect::<Vec<Span>>()
    };
    let blocks = [
        spans(1..2, 3, "shop", "GET"),
        spans(2..402, 1, "cart", "PUT"),
        spans(402..405, 1, "cart", "PUT"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let (_, mut writers, _) = open_store(dir.path(), 1);
    let mut ends = Vec::new();
    for block in &blocks {
        write(&mut writers[0], block);
        writers[0].commit().unwrap();
        ends.push(fs::metadata(segment_file(dir.path())).unwrap().len() as usize);
    }
    let path = segment_file(dir.path());
    let whole = fs::read(&path).unwrap();
    let ids: Vec<u8> = blocks[1]
        .iter()
        .flat_map(|s| s.trace_id.to_bytes())
        .collect();
    let at = whole
        .windows(ids.len())
        .position(|bytes| bytes == ids)
        .unwrap();
    for (place, is_kept) in [(at..at + ids.len(), true), (ends[0]..ends[1], false)] {
        let mut bytes = whole.clone();
        bytes[place].fill(0x55);
        fs::write(&path, bytes).unwrap();
        let (store, _, counters) = open_store(dir.path(), 1);
        let counted = counters.incidents.all();
        assert_eq!(counted["damaged_block"], 1);
        let stripped = counted.get("stripped_span").copied().unwrap_or_default();
        assert_eq!(stripped, if is_kept { 0 } else { 3 });
        for span in &blocks[2] {
            let trace = wait(store.trace(span.trace_id)).unwrap().unwrap();
            let mut expected = span.clone();
            if !is_kept {
                let lost = || "(lost)".to_owned();
                expected.name = lost();
                expected.attributes[0].1 = Value::String(lost());
                expected.resource = Arc::new(Resource {
                    service_name: lost(),
                    ..Resource::default()
                });
            }
            assert_eq!(trace.spans, [expected]);
        }
    }
}

/// *Scenario*: one bit of a sealed segment flips anywhere in its blocks, or two bits flip, one in the middle
/// of a block.
/// *Guarantees*: no span is lost, by id or in searches; the file is restored, wherever the bits were read.
#[test]
fn flipped_bits_of_a_sealed_segment_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (blocks, path, end) = two_sealed_blocks(dir.path());
    let bytes = fs::read(&path).unwrap();
    let mut repaired = 0;
    for at in (8..end).step_by(end / 97) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        // The last bytes are the record by which a block is repaired: of it and the block only one may be damaged.
        if at % 2 == 0 && at < end / 10 * 9 {
            flipped[end / 2] ^= 0x81;
        }
        fs::write(&path, flipped).unwrap();
        let (store, _, counters) = open_store(dir.path(), 1);
        for spans in &blocks {
            let trace = wait(store.trace(spans[77].trace_id)).unwrap().unwrap();
            assert_eq!(trace.spans, spans[77..78], "bit in {at}");
        }
        let mut query = TraceQuery::in_range(TimeRange::ALL);
        query.limit = 1_000;
        assert_eq!(search_all(&store, &query).len(), 2_400, "bit in {at}");
        let counted = counters.incidents.all();
        let pages = counted.get("repaired_page").copied().unwrap_or_default();
        assert_eq!(
            counted.len() as u64,
            pages.min(1),
            "bit in {at}: {counted:?}"
        );
        assert!(
            pages == 0 || fs::read(&path).unwrap() == bytes,
            "bit in {at}"
        );
        repaired += pages;
    }
    assert!(repaired > 60, "{repaired}");
}

/// *Scenario*: in a file without a footer, the headers of consecutive blocks are damaged, or the body of one
/// and the header of the next.
/// *Guarantees*: all are repaired, and no span is lost.
#[test]
fn damaged_blocks_in_a_row_are_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let (blocks, ends, path) = three_blocks(dir.path());
    let bytes = fs::read(&path).unwrap();
    let ends: Vec<_> = ends.iter().map(|end| *end as usize).collect();
    let in_body = ends[0] * 2 / 3;
    for places in [
        vec![13, ends[0] + 5],
        vec![in_body, ends[0] + 5],
        vec![13, ends[0] + 5, ends[1] + 5],
    ] {
        let mut rotten = bytes.clone();
        places.iter().for_each(|at| rotten[*at] ^= 4);
        fs::write(&path, rotten).unwrap();
        let (store, _, counters) = open_store(dir.path(), 1);
        for span in blocks.iter().flatten() {
            let trace = wait(store.trace(span.trace_id)).unwrap();
            let trace = trace.unwrap_or_else(|| panic!("damage at {places:?}"));
            assert_eq!(trace.spans, std::slice::from_ref(span));
        }
        let counted = counters.incidents.all();
        assert_eq!(counted["repaired_page"], places.len() as u64, "{counted:?}");
        assert_eq!(counted.len(), 1, "{counted:?}");
    }
}

/// *Guarantees*: a block that another reader repaired meanwhile, or that is readable at the next attempt,
/// does not count as lost.
#[test]
fn what_reads_well_again_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (_, path, _) = two_sealed_blocks(dir.path());
    let (store, _, counters) = open_store(dir.path(), 1);
    let segment = store.catalog.snapshot()[0].clone();
    let mut tries = 0;
    let read = || {
        tries += 1;
        match tries {
            1 => Err(StoreError::damaged(&path, "checksum of a part")),
            _ => Ok(tries),
        }
    };
    let found = tolerate(&store.catalog, &segment, 0, read).unwrap();
    assert_eq!(found, Some(2));
    assert!(counters.incidents.all().is_empty());
}

/// *Scenario*: a trace has so much text in one block that its rows are read in two passes; a bit is wrong in
/// a column that only the second pass reads.
/// *Guarantees*: after the repair, the rows of the first pass are not read again.
#[test]
fn a_block_that_is_repaired_half_way_gives_each_span_once() {
    const SPANS: u64 = 18_000;
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, counters) = open_store(dir.path(), 1);
    let late = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
    let spans: Vec<Span> = (0..SPANS)
        .map(|number| {
            let mut span = span(1, number + 1, "shop");
            let text = format!("{number}={}", "x".repeat(240));
            (span.trace_state, span.status.message) = (text.clone(), text);
            // Values of a long list would be looked for in all rows at once before.
            span.attributes.clear();
            if let Some(number) = number.checked_sub(SPANS - 100) {
                let value = Value::Int(late(number) as i64);
                span.attributes.push(("late".into(), value));
            }
            span
        })
        .collect();
    write(&mut writers[0], &spans);
    writers[0].commit().unwrap();
    let path = segment_file(dir.path());
    let lowest_bytes: Vec<u8> = (0..100).map(|number| late(number) as u8).collect();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(100).position(|bytes| bytes == lowest_bytes);
    bytes[at.unwrap() + 50] ^= 1;
    fs::write(&path, bytes).unwrap();
    let trace = wait(store.trace(spans[0].trace_id)).unwrap().unwrap();
    assert_eq!(
        (trace.spans.len(), trace.notes),
        (SPANS as usize, Vec::new())
    );
    assert_eq!(counters.incidents.all()["repaired_page"], 1);
}

#[test]
fn a_crash_before_the_rename_leaves_the_old_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (blocks, _, path) = three_blocks(dir.path());
    fs::write(path.with_extension("tmp"), b"half a rewrite").unwrap();
    let (store, ..) = open_store(dir.path(), 1);
    for span in blocks.iter().flatten() {
        assert!(wait(store.trace(span.trace_id)).unwrap().is_some());
    }
    assert!(!path.with_extension("tmp").exists());
}

#[test]
fn a_torn_footer_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    let spans: Vec<Span> = (0..2_000).map(|i| span(i + 1, 1, "shop")).collect();
    write(&mut writers[0], &spans);
    writers[0].commit().unwrap();
    let whole = fs::metadata(segment_file(dir.path())).unwrap().len();
    writers[0].seal().unwrap();
    drop((store, writers));
    let path = segment_file(dir.path());
    let bytes = fs::read(&path).unwrap();
    let step = (bytes.len() - whole as usize) / 20;
    for cut in (whole as usize..bytes.len()).step_by(step) {
        fs::write(&path, &bytes[..cut]).unwrap();
        let (store, _, counters) = open_store(dir.path(), 1);
        assert!(wait(store.trace(spans[77].trace_id)).unwrap().is_some());
        assert_eq!(store.stats().spans, 2_000);
        let torn = counters.incidents.all().contains_key("torn_tail");
        assert_eq!(torn, (1..4).contains(&(cut - whole as usize)));
    }
}

/// *Scenario*: bytes of a sealed segment's footer are damaged, one place after the other.
/// *Guarantees*: no span is lost, in searches or by id; the footer is rebuilt once.
#[test]
fn a_rotten_footer_is_rebuilt_from_the_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    let spans: Vec<Span> = (0..2_000).map(|i| span(i + 1, 1, "shop")).collect();
    write(&mut writers[0], &spans);
    writers[0].commit().unwrap();
    let whole = fs::metadata(segment_file(dir.path())).unwrap().len() as usize;
    writers[0].seal().unwrap();
    drop((store, writers));
    let path = segment_file(dir.path());
    let bytes = fs::read(&path).unwrap();
    // The directory behind the sections has a checksum of its own, which a start checks.
    for at in (whole + 4..bytes.len()).step_by((bytes.len() - whole) / 9) {
        let dir = tempfile::tempdir().unwrap();
        let day = dir.path().join("spans/2026-11-23");
        fs::create_dir_all(&day).unwrap();
        let mut rotten = bytes.clone();
        rotten[at] ^= 0x40;
        fs::write(day.join(path.file_name().unwrap()), rotten).unwrap();
        let (store, writers, counters) = open_store(dir.path(), 1);
        let mut query = TraceQuery::in_range(TimeRange::ALL);
        query.limit = 1_000;
        assert_eq!(search_all(&store, &query).len(), 2_000, "rot at {at}");
        for of_id in spans.iter().step_by(397) {
            let trace = wait(store.trace(of_id.trace_id)).unwrap().unwrap();
            assert_eq!(trace.spans, std::slice::from_ref(of_id), "rot at {at}");
        }
        let services = wait(store.services(TimeRange::ALL)).unwrap();
        assert_eq!(services.value, ["shop"]);
        assert!(counters.incidents.all().get("damaged_footer") <= Some(&1));
        segment_file(dir.path());
        drop((store, writers));
        // A crash before the old file was deleted.
        fs::copy(&path, day.join(path.file_name().unwrap())).unwrap();
        let (store, _, counters) = open_store(dir.path(), 1);
        assert_eq!(store.stats().spans, 2_000, "rot at {at}");
        assert_eq!(search_all(&store, &query).len(), 2_000, "rot at {at}");
        assert!(counters.incidents.all().is_empty(), "rot at {at}");
    }
}

#[test]
fn many_small_blocks_are_rewritten_into_few() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    let mut spans = Vec::new();
    for id in 0..300u64 {
        let one = span(id / 3 + 1, id + 1, "shop");
        write(&mut writers[0], std::slice::from_ref(&one));
        writers[0].commit().unwrap();
        spans.push(one);
    }
    let before = store.stats();
    writers[0].seal().unwrap();
    let after = store.stats();
    assert_eq!(after.spans, before.spans);
    assert!(
        after.bytes * 5 < before.bytes,
        "{} then {}",
        before.bytes,
        after.bytes
    );
    let trace = wait(store.trace(spans[0].trace_id)).unwrap().unwrap();
    assert_eq!(trace.spans, spans[..3]);
}

#[test]
fn a_single_small_block_is_compressed_when_it_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    let spans = (0..60).map(|id| {
        let mut span = span(id / 3 + 1, id + 1, "shop");
        span.status.message = "x".repeat(2_000);
        span
    });
    let spans: Vec<Span> = spans.collect();
    write(&mut writers[0], &spans);
    writers[0].commit().unwrap();
    let before = store.stats().bytes;
    writers[0].seal().unwrap();
    let after = store.stats().bytes;
    assert!(after * 5 < before, "{before} then {after}");
    let trace = wait(store.trace(spans[0].trace_id)).unwrap().unwrap();
    assert_eq!(trace.spans, spans[..3]);
}

/// *Scenario*: a block of 6 MB of text is written among blocks of one span.
/// *Guarantees*: it is compressed from the start, and everything is found after the small ones were joined.
#[test]
fn a_large_block_among_small_ones_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    let mut spans = Vec::new();
    for id in 0..60u64 {
        let mut some = vec![span(id / 3 + 1, 10 * id + 1, "shop")];
        if id == 30 {
            some.extend((1..9).map(|n| span(id / 3 + 1, 10 * id + 1 + n, "shop")));
            for (one, letter) in some.iter_mut().zip('a'..) {
                let text = letter.to_string().repeat(30_000);
                let value = |key| (format!("key{key}"), Value::String(text.clone()));
                one.attributes = (0..25).map(value).collect();
            }
        }
        write(&mut writers[0], &some);
        writers[0].commit().unwrap();
        spans.extend(some);
    }
    let before = store.stats().bytes;
    writers[0].seal().unwrap();
    let after = store.stats().bytes;
    assert!(
        before < 1 << 20 && after * 2 < before,
        "{before} then {after}"
    );
    drop((store, writers));
    let (store, _, _) = open_store(dir.path(), 1);
    for trace in spans.chunk_by(|one, next| one.trace_id == next.trace_id) {
        let read = wait(store.trace(trace[0].trace_id)).unwrap().unwrap();
        assert_eq!(read.spans, trace);
    }
}

#[test]
fn a_failed_commit_forgets_its_spans_and_the_next_one_works() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, counters) = open_store(dir.path(), 1);
    let folder = dir.path().join("spans");
    fs::remove_dir(&folder).unwrap();
    fs::write(&folder, b"in the way").unwrap();
    write(&mut writers[0], &[span(1, 1, "shop")]);
    assert!(writers[0].commit().is_err());
    assert_eq!(writers[0].pending_spans(), 0);
    assert_eq!(counters.incidents.all()["commit_failed"], 1);
    fs::remove_file(&folder).unwrap();
    write(&mut writers[0], &[span(2, 1, "shop")]);
    assert_eq!(writers[0].commit().unwrap().spans, 1);
    assert!(
        wait(store.trace(span(1, 1, "shop").trace_id))
            .unwrap()
            .is_none()
    );
    assert!(
        wait(store.trace(span(2, 1, "shop").trace_id))
            .unwrap()
            .is_some()
    );
}

/// *Guarantees*: an entry that only has the name of a segment prevents neither opening nor writing.
#[test]
fn what_is_no_regular_file_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let day = dir.path().join("spans/2026-11-23");
    fs::create_dir_all(day.join("0000000002-0.seg")).unwrap();
    let fifo = day.join("0000000001-0.seg");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", day.join("0000000003-0.seg")).unwrap();
    let (_, mut writers, counters) = open_store(dir.path(), 1);
    assert_eq!(counters.incidents.all()["foreign_file"], 3);
    write(&mut writers[0], &[span(1, 1, "shop")]);
    writers[0].commit().unwrap();
    assert!(fifo.symlink_metadata().is_ok());
}

/// *Guarantees*: a segment that cannot be created uses up no number.
#[test]
fn a_segment_that_cannot_be_created_leaves_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut writers, _) = open_store(dir.path(), 1);
    let spans = dir.path().join("spans");
    fs::remove_dir(&spans).unwrap();
    fs::write(&spans, "in the way").unwrap();
    for _ in 0..10 {
        write(&mut writers[0], &[span(1, 1, "shop")]);
        assert!(writers[0].commit().is_err());
    }
    fs::remove_file(&spans).unwrap();
    write(&mut writers[0], &[span(1, 1, "shop")]);
    writers[0].commit().unwrap();
    let name = segment_file(dir.path());
    assert!(name.ends_with("0000000001-0.seg"), "{name:?}");
}
