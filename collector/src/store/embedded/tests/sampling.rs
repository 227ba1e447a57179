//! Tail sampling: whole traces are kept or deleted, the same ones in any order, and no crash costs one that is kept.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{SpanId, TraceId};

use super::super::block::BlockReader;
use super::super::segment::{Place, Replacement, Segment};
use super::super::{
    EmbeddedOptions, EmbeddedStore, Sampling, ShardWriter, SlowRule, SpanLog, open_followed,
};
use super::support::*;
use crate::counters::{Counters, Incident};
use crate::log::{Fault, FaultyDisk, Position};
use crate::model::{Span, StatusCode, TailSampling, TimeRange, TraceQuery, UnixNanos, Value, made};
use crate::store::{Follow, ShipProgress, StoreError, TraceReader};
use fusebox::semconv::{BREAKER_NAME, BREAKER_OUTCOME, BREAKER_STATE};

const HOUR: Duration = Duration::from_secs(3_600);
const TRACES: u64 = 200;
/// ... where each step costs a store of its own.
const FEW: u64 = 60;

/// Operations that begin with `slow` are.
#[derive(Debug)]
struct ByName;

impl SlowRule for ByName {
    fn is_slow(
        &self,
        _: &str,
        operation: &str,
        _: (UnixNanos, UnixNanos),
        took: Duration,
    ) -> Result<bool, StoreError> {
        Ok(operation.starts_with("slow") && took >= Duration::from_millis(5))
    }
}

fn sampling(store: EmbeddedStore) -> EmbeddedStore {
    store.with_sampling(Sampling {
        rule: TailSampling {
            after: 2 * HOUR,
            share: 0.1,
        },
        slow: Arc::new(ByName),
    })
}

fn open_sampling(dir: &Path) -> (EmbeddedStore, Vec<ShardWriter>, Arc<Counters>) {
    let (store, writers, counters) = open_store(dir, 2);
    (sampling(store), writers, counters)
}

/// A trace of three spans: a root, a child of another service and its child.
fn trace(number: u64) -> Vec<Span> {
    let id = |id: u64| SpanId::from_bytes(id.to_be_bytes());
    let mut spans: Vec<Span> = (1..=3).map(|id| span(number, id, "shop")).collect();
    for (child, parent) in [(1, 1), (2, 2)] {
        spans[child].parent_span_id = Some(id(parent));
    }
    match number % 20 {
        // A failure far from the root.
        1 => spans[2].status.code = StatusCode::Error,
        // Slow, and named so without being it.
        2 => {
            spans[0].name = "slow GET".to_owned();
            spans[0].end = spans[0].start + Duration::from_millis(6);
        }
        3 => spans[0].name = "slow GET".to_owned(),
        // A child that takes long does not make its request slow.
        4 => spans[1].end = spans[1].start + Duration::from_secs(9),
        5 => add_breaker(&mut spans[1], "open", "rejected"),
        6 => add_breaker(&mut spans[1], "closed", "success"),
        7 => add_breaker(&mut spans[2], "half_open", "success"),
        _ => {}
    }
    spans
}

fn add_breaker(span: &mut Span, state: &str, outcome: &str) {
    for (key, value) in [
        (BREAKER_NAME, "stock"),
        (BREAKER_STATE, state),
        (BREAKER_OUTCOME, outcome),
    ] {
        span.attributes
            .push((key.into(), Value::String(value.into())));
    }
}

fn is_kept(number: u64) -> bool {
    let rule = TailSampling {
        after: HOUR,
        share: 0.1,
    };
    matches!(number % 20, 1 | 2 | 5 | 7) || rule.keeps_share(u128::from(number))
}

/// Writes so many traces, each scattered over two shards and several segments.
fn fill(writers: &mut [ShardWriter], traces: u64) {
    for number in 1..=traces {
        let spans = trace(number);
        for (at, span) in spans.iter().enumerate() {
            write(
                &mut writers[(number as usize + at) % 2],
                std::slice::from_ref(span),
            );
        }
        if number % 50 == 0 {
            let sealed = (number / 50 % 2) as usize;
            writers[sealed].seal().unwrap();
            writers[1 - sealed].commit().unwrap();
        }
    }
    writers.iter_mut().for_each(|writer| writer.seal().unwrap());
}

fn find(store: &EmbeddedStore, number: u64) -> Option<Vec<Span>> {
    let id = TraceId::from_bytes(u128::from(number).to_be_bytes());
    let trace = wait(store.trace(id)).unwrap()?;
    let mut spans = trace.spans;
    spans.sort_by_key(|span| span.span_id.to_string());
    Some(spans)
}

/// Checks that each trace that is kept is there whole, and of others, unless it `is_done`, nothing that they were not sent with.
fn check(store: &EmbeddedStore, traces: u64, is_done: bool) {
    for number in 1..=traces {
        let found = find(store, number);
        match (found, is_kept(number)) {
            (Some(spans), true) => assert_eq!(spans, trace(number), "{number}"),
            (Some(spans), false) => {
                assert!(!is_done, "{number} is still there");
                let sent = trace(number);
                assert!(spans.iter().all(|span| sent.contains(span)), "{number}");
            }
            (None, is_kept) => assert!(!is_kept, "{number} is lost"),
        }
    }
}

fn later(hours: u32) -> UnixNanos {
    UnixNanos::now() + hours * HOUR
}

#[test]
fn traces_are_kept_whole_or_deleted_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, counters) = open_sampling(dir.path());
    fill(&mut writers, TRACES);
    let before = store.stats();
    store.sample(later(1)).unwrap();
    assert_eq!(store.stats(), before, "nothing is old enough");
    store.sample(later(3)).unwrap();
    check(&store, TRACES, true);
    let kept = (1..=TRACES).filter(|number| is_kept(*number)).count() as u64;
    assert!((40..80).contains(&kept), "{kept}");
    let after = store.stats();
    assert_eq!(after.spans, kept * 3);
    let deleted = counters.spans_deleted.all();
    assert_eq!(deleted["sampling"], (TRACES - kept) * 3);
    assert!(after.bytes < before.bytes, "{after:?} of {before:?}");
    let mut query = TraceQuery::in_range(TimeRange::ALL);
    query.limit = 1_000;
    assert_eq!(search_all(&store, &query).len() as u64, kept);
    // It is done once.
    store.sample(later(4)).unwrap();
    assert_eq!(store.stats(), after);
    assert_eq!(counters.incidents.all().len(), 0);
    // What stands for others goes with the retention, as they would have.
    store.enforce_retention(later(8 * 24)).unwrap();
    assert_eq!(store.stats().spans, 0);
    let files = walk(dir.path());
    assert_eq!(files, Vec::<String>::new());
}

/// Returns the files of spans.
fn walk(dir: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for day in std::fs::read_dir(dir.join("spans")).unwrap() {
        for file in std::fs::read_dir(day.unwrap().path()).unwrap() {
            files.push(file.unwrap().file_name().into_string().unwrap());
        }
    }
    files.sort();
    files
}

/// *Scenario*: the parts of a trace come to be old at different times, and readers hold on to what they began to read.
/// *Guarantees*: the later part shares the verdict of the earlier one, in either order; old files stay until the next time.
#[test]
fn parts_that_come_later_share_the_verdict() {
    for order in [[0, 1], [1, 0]] {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut writers, _) = open_sampling(dir.path());
        for part in order {
            for number in 1..=TRACES {
                let spans = trace(number);
                let (begin, rest) = spans.split_at(1);
                write(&mut writers[0], if part == 0 { begin } else { rest });
            }
            writers[0].seal().unwrap();
            made::pass(HOUR);
        }
        // The first part is two hours old, and the second one is not.
        store.sample(UnixNanos::now() + HOUR / 2).unwrap();
        let files = walk(dir.path());
        assert_eq!(files.len(), 3, "{files:?}");
        store.sample(UnixNanos::now() + 2 * HOUR).unwrap();
        check(&store, TRACES, true);
        store.sample(UnixNanos::now() + 2 * HOUR).unwrap();
        assert_eq!(walk(dir.path()).len(), 2);
    }
}

/// *Scenario*: the disk fails in each of the calls that sampling makes, and the process is killed there; then it goes on.
/// *Guarantees*: no span of a trace that is kept is lost at any time, and in the end it is as if nothing had happened.
#[test]
fn a_crash_at_any_step_costs_nothing_that_is_kept() {
    let fault = Fault {
        error: ErrorKind::Other,
        written: 7,
    };
    let mut steps = 0;
    for after in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::below(dir.path());
        let (store, mut writers, _) = open_sampling(dir.path());
        fill(&mut writers, FEW);
        disk.fail(after, u64::MAX / 2, fault);
        let outcome = store.sample(later(3));
        let met = disk.heal();
        check(&store, FEW, false);
        drop((store, writers));
        disk.lose_power(|_| (0, false));
        let (store, _, counters) = open_sampling(dir.path());
        check(&store, FEW, false);
        store.sample(later(3)).unwrap();
        check(&store, FEW, true);
        let kept = (1..=FEW).filter(|number| is_kept(*number)).count() as u64;
        assert_eq!(store.stats().spans, kept * 3, "after {after} calls");
        assert_eq!(counters.incidents.all().len(), 0, "after {after} calls");
        if met == 0 {
            assert!(outcome.is_ok());
            break;
        }
        assert!(outcome.is_err(), "after {after} calls");
        steps += 1;
    }
    assert!(steps > 12, "{steps}");
}

/// *Guarantees*: what is on disk counts against the disk budget, also files that others took the place of.
#[test]
fn replaced_files_count_until_they_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut writers, _) = open_sampling(dir.path());
    fill(&mut writers, TRACES);
    store.sample(later(3)).unwrap();
    let (stats, replaced) = (store.stats(), store.catalog.replaced_bytes());
    assert!(replaced > stats.bytes);
    let mut options = EmbeddedOptions::clone(&store.options);
    options.disk_budget_bytes = stats.bytes + replaced - 1;
    store.options = options.into();
    store.enforce_retention(later(3)).unwrap();
    assert_eq!(store.stats().segments, stats.segments - 1);
    store.sample(later(3)).unwrap();
    assert_eq!(store.catalog.replaced_bytes(), 0);
    store.enforce_retention(later(3)).unwrap();
    assert_eq!(store.stats().segments, stats.segments - 1);
}

/// *Scenario*: the process is killed when a replacement has its name, and the old file is still there.
/// *Guarantees*: the start deletes the old one; nothing counts twice.
#[test]
fn an_old_file_beside_its_replacement_is_deleted_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_sampling(dir.path());
    fill(&mut writers, TRACES);
    store.sample(later(3)).unwrap();
    let (files, stats) = (walk(dir.path()).len(), store.stats());
    drop((store, writers));
    let (store, _, _) = open_sampling(dir.path());
    assert_eq!(store.stats(), stats);
    assert_eq!(walk(dir.path()).len() as u64, stats.segments);
    assert_eq!(files as u64, 2 * stats.segments);
    check(&store, TRACES, true);
}

#[test]
fn a_segment_without_a_trace_to_keep_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, counters) = open_sampling(dir.path());
    let numbers = (1_000..2_000).filter(|number| !is_kept(*number));
    for number in numbers.take(5) {
        write(&mut writers[0], &trace(number));
    }
    writers[0].seal().unwrap();
    store.sample(later(3)).unwrap();
    assert_eq!(store.stats().segments, 0);
    assert_eq!(counters.segments_deleted.all()["sampling"], 1);
}

/// Flips so many bytes of a segment's first block, far apart.
fn damage(segment: &Segment, count: usize) {
    let (file, path) = (segment.file().unwrap(), &segment.place().path);
    let block = segment.blocks()[0];
    let reader = BlockReader::open(&file, path, block.offset, block.header_bytes).unwrap();
    let begin = block.offset as usize + block.header_bytes as usize;
    let end = block.offset as usize + reader.header.total_bytes as usize;
    let mut bytes = std::fs::read(path).unwrap();
    let places = (begin..end).step_by((end - begin).div_ceil(count));
    places.for_each(|at| bytes[at] ^= 0xff);
    std::fs::write(path, bytes).unwrap();
}

fn replacements(dir: &Path) -> usize {
    let files = walk(dir).into_iter();
    files.filter(|name| name.matches('-').count() == 2).count()
}

/// *Scenario*: a segment is damaged beyond repair.
/// *Guarantees*: it is left as it is, and the others are sampled.
#[test]
fn a_damaged_segment_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_sampling(dir.path());
    fill(&mut writers, TRACES);
    let segments = store.catalog.snapshot();
    damage(&segments[0], 50);
    store.sample(later(3)).unwrap();
    store.sample(later(3)).unwrap();
    assert!(segments[0].place().path.exists());
    assert_eq!(replacements(dir.path()), segments.len() - 1);
}

/// *Scenario*: footers are damaged, and no reader meets them.
/// *Guarantees*: they are rebuilt and sampled, and what is sampled is not judged again when it is rebuilt.
#[test]
fn what_is_rebuilt_is_sampled_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_sampling(dir.path());
    fill(&mut writers, TRACES);
    let break_footers = || {
        let segments = store.catalog.snapshot();
        let sealed = segments.iter().filter_map(|segment| match segment {
            Segment::Sealed(sealed) => Some(sealed),
            Segment::Open(_) => None,
        });
        sealed.for_each(|sealed| drop(sealed.damaged("footer")));
    };
    break_footers();
    store.sample(later(3)).unwrap();
    check(&store, TRACES, true);
    break_footers();
    store.sample(later(3)).unwrap();
    check(&store, TRACES, true);
    let segments = store.catalog.snapshot();
    assert!(segments.iter().all(|segment| segment.place().is_sampled()));
}

#[test]
fn a_segment_that_can_be_repaired_is_sampled() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, counters) = open_sampling(dir.path());
    fill(&mut writers, TRACES);
    damage(&store.catalog.snapshot()[0], 2);
    store.sample(later(3)).unwrap();
    check(&store, TRACES, true);
    assert_eq!(counters.incidents.of(Incident::RepairedPage), 2);
}

/// *Scenario*: the segment with the roots is damaged beyond repair.
/// *Guarantees*: of requests whose duration is lost, the other parts stay.
#[test]
fn what_may_have_been_slow_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_sampling(dir.path());
    for number in 1..=TRACES {
        let spans = trace(number);
        write(&mut writers[0], &spans[..1]);
        write(&mut writers[1], &spans[1..]);
    }
    writers.iter_mut().for_each(|writer| writer.seal().unwrap());
    let segments = store.catalog.snapshot();
    let of_roots = |segment: &&Segment| segment.place().path.to_string_lossy().contains("-0.");
    damage(segments.iter().find(of_roots).unwrap(), 50);
    store.sample(later(3)).unwrap();
    for number in (1..=TRACES).filter(|number| number % 20 == 2) {
        let spans = find(&store, number).unwrap_or_default();
        assert_eq!(spans, &trace(number)[1..], "{number}");
    }
}

/// *Scenario*: one segment cannot be written anew, and then an old file cannot be deleted.
/// *Guarantees*: the others are sampled and deleted all the same; what could not be done is said, and done the next time.
#[test]
fn one_file_does_not_hold_up_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_sampling(dir.path());
    fill(&mut writers, TRACES);
    let segments = store.catalog.snapshot();
    // The next number is that of the first replacement.
    let Place { sequence, path } = store
        .catalog
        .replacement_of(segments[0].place(), Replacement::Sampled);
    let of = segments[0].place().sequence;
    let blocked = path.with_file_name(format!("{:010}-9999-{of:010}.tmp", sequence + 1));
    std::fs::create_dir(&blocked).unwrap();
    assert!(store.sample(later(3)).is_err());
    std::fs::remove_dir(&blocked).unwrap();
    assert_eq!(replacements(dir.path()), segments.len() - 1);

    let old = &segments[1].place().path;
    std::fs::remove_file(old).unwrap();
    std::fs::create_dir(old).unwrap();
    assert!(store.sample(later(3)).is_err());
    assert!(!segments[2].place().path.exists());
    std::fs::remove_dir(old).unwrap();
    std::fs::write(old, "old").unwrap();
    store.sample(later(3)).unwrap();
    assert!(!old.exists());
    check(&store, TRACES, true);
}

/// *Scenario*: retention deletes a segment while it is written anew.
/// *Guarantees*: nothing of it comes back.
#[test]
fn a_segment_that_is_gone_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_sampling(dir.path());
    fill(&mut writers, TRACES);
    let segments = store.catalog.snapshot();
    store.catalog.remove(segments[0].place().sequence);
    let before = store.stats();
    assert!(!store.catalog.replace(segments[0].place(), &segments[1]));
    assert_eq!(store.stats(), before);
}

/// *Scenario*: spans were sent to InfluxDB, and a later run does not.
/// *Guarantees*: no segment is written anew, and nothing says that old traces are sampled.
#[test]
fn what_was_shipped_is_not_sampled() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        dir: dir.path().to_owned(),
        retention: 24 * HOUR,
        disk_budget_bytes: u64::MAX,
        shards: 2,
    };
    let deleted = dir.path().join("deleted.json");
    let followed = ShipProgress::open(&deleted, Position::default()).unwrap();
    let follow = Follow {
        followed: Arc::new(followed),
        keep: Duration::MAX,
    };
    let (store, mut writers) = open_followed(options, Some(follow), Arc::default()).unwrap();
    let store = sampling(store);
    fill(&mut writers, FEW);
    let before = store.stats();
    store.sample(later(3)).unwrap();
    assert_eq!((store.stats(), store.sampling()), (before, None));
}
