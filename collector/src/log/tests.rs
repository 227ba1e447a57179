//! The crash and damage suite: what was acknowledged comes back, whatever happens to the end or the middle of a file.
//! One set of properties, checked for spans, circuit series and log records.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fusebox::circuit_breaker::EffectiveState;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{BlockCodec, blocks};
use crate::counters::Counters;
use crate::model::{
    CircuitCalls, CircuitKey, CircuitSample, LogQuery, LogRecord, NANOSECOND, Span, TimeRange,
    UnixNanos,
};
use crate::store::LogReader;
use crate::store::embedded::tests::support::{NOW, open_store, span, wait, write};
use crate::store::embedded::{EmbeddedStore, SpanCodec, SpanLog};
use crate::store::logs::tests::{open, record};
use crate::store::logs::{LogCodec, LogStore};
use crate::store::series::{SeriesCodec, SeriesKind, SeriesLog, SeriesRecord};
use crate::store::{SeriesReader, TraceReader};

type Incidents = BTreeMap<&'static str, u64>;

/// A store on top of the log. Block `n` can be read with the help of block 0 alone; blocks from `OTHER_FILE`
/// on are in another file.
trait Subject: Sized {
    /// Length of a file without blocks.
    const BEGIN: usize;
    /// Whether opening removes damaged blocks permanently, instead of skipping them at each read.
    const REMOVES_DAMAGE: bool;
    /// Whether records after blocks can repair them.
    const REPAIRS: bool;

    fn codec() -> impl BlockCodec;
    fn open(dir: &Path) -> (Self, Arc<Counters>);
    /// Writes each number as a separate block, and leaves the file as a crash would.
    fn append(dir: &Path, numbers: impl Iterator<Item = u64>);
    /// Returns whether a block is completely readable.
    fn holds(&self, number: u64) -> bool;
}

const OTHER_FILE: u64 = 100;

struct Spans(EmbeddedStore);

impl Spans {
    fn rows(number: u64) -> Vec<Span> {
        let service = |id: u64| ["shop", "cart"][id as usize % 2];
        let ids = 1..=4;
        ids.map(|id| span(number * 4 + id, id, service(id)))
            .collect()
    }
}

impl Subject for Spans {
    const BEGIN: usize = 8;
    const REMOVES_DAMAGE: bool = true;
    const REPAIRS: bool = true;

    fn codec() -> impl BlockCodec {
        SpanCodec
    }

    fn open(dir: &Path) -> (Self, Arc<Counters>) {
        let (store, _, counters) = open_store(dir, 1);
        (Self(store), counters)
    }

    fn append(dir: &Path, numbers: impl Iterator<Item = u64>) {
        let (_, mut writers, _) = open_store(dir, 1);
        for number in numbers {
            write(&mut writers[0], &Self::rows(number));
            writers[0].commit().unwrap();
        }
    }

    fn holds(&self, number: u64) -> bool {
        Self::rows(number).into_iter().all(|span| {
            let trace = wait(self.0.trace(span.trace_id)).unwrap();
            trace.is_some_and(|trace| trace.spans == [span])
        })
    }
}

struct Series(SeriesLog);

impl Series {
    fn rows(number: u64) -> Vec<SeriesRecord> {
        let day = if number < OTHER_FILE { 0 } else { 86_400 };
        let sample = |second: u64| CircuitSample {
            key: CircuitKey {
                service: "shop".to_owned(),
                name: "inventory".to_owned(),
            },
            instance: format!("instance-{second}"),
            time: UnixNanos::new(NOW + (day + number % OTHER_FILE * 3 + second) * 1_000_000_000),
            state: EffectiveState::Closed,
            calls: CircuitCalls {
                success: number,
                ..CircuitCalls::default()
            },
            in_flight: 3,
            latency_buckets: vec![(-40, 80), (3, 1)],
        };
        (0..3)
            .map(|second| SeriesRecord::Sample(sample(second)))
            .collect()
    }
}

impl Subject for Series {
    const BEGIN: usize = 0;
    const REMOVES_DAMAGE: bool = false;
    const REPAIRS: bool = false;

    fn codec() -> impl BlockCodec {
        SeriesCodec(SeriesKind::Sample)
    }

    fn open(dir: &Path) -> (Self, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let week = Duration::from_secs(7 * 86_400);
        let log = SeriesLog::open_with(dir, week, Duration::ZERO, Arc::clone(&counters));
        (Self(log.unwrap()), counters)
    }

    fn append(dir: &Path, numbers: impl Iterator<Item = u64>) {
        let (Self(log), _) = Self::open(dir);
        for number in numbers {
            wait(log.append(Self::rows(number))).unwrap();
        }
    }

    fn holds(&self, number: u64) -> bool {
        let rows = Self::rows(number);
        let range = TimeRange {
            start: rows[0].time(),
            end: rows[2].time() + NANOSECOND,
        };
        let mut found = Vec::new();
        let keep = &mut |record| found.push(record);
        self.0.scan(SeriesKind::Sample, range, None, keep).unwrap();
        found == rows
    }
}

struct Logs(LogStore);

impl Logs {
    /// Records without a trace go to another file.
    fn rows(number: u64) -> Vec<LogRecord> {
        let of_trace = |number| if number < OTHER_FILE { number + 1 } else { 0 };
        let ids = 0..3;
        ids.map(|id| record(of_trace(number), "shop", number * 3 + id, "sold"))
            .collect()
    }
}

impl Subject for Logs {
    const BEGIN: usize = 0;
    const REMOVES_DAMAGE: bool = false;
    const REPAIRS: bool = false;

    fn codec() -> impl BlockCodec {
        LogCodec
    }

    fn open(dir: &Path) -> (Self, Arc<Counters>) {
        let (store, counters) = open(dir, 1 << 30);
        (Self(store), counters)
    }

    fn append(dir: &Path, numbers: impl Iterator<Item = u64>) {
        let (Self(store), _) = Self::open(dir);
        for number in numbers {
            wait(store.append(Self::rows(number))).unwrap();
        }
    }

    fn holds(&self, number: u64) -> bool {
        let rows = Self::rows(number);
        let range = TimeRange {
            start: rows[0].time,
            end: rows[2].time + NANOSECOND,
        };
        let page = wait(self.0.search(LogQuery::in_range(range))).unwrap();
        let found = page.records.into_iter().rev();
        found.map(|record| LogRecord { id: 0, ..record }).eq(rows)
    }
}

/// Returns the files with blocks, oldest first.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = |folder: PathBuf| {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
    };
    let days = entries(dir.to_owned()).flat_map(entries);
    let is_blocks = |file: &PathBuf| {
        file.extension()
            .is_some_and(|of| of == "seg" || of == "log")
    };
    let mut files: Vec<_> = days.flat_map(entries).filter(is_blocks).collect();
    files.sort();
    files
}

/// Three blocks in one file: its path below the data directory, its bytes, the end of each block, and the end
/// of the record after it, if there is one.
fn three_blocks<S: Subject>() -> (PathBuf, Vec<u8>, Vec<usize>, Vec<usize>) {
    let dir = memory_dir();
    S::append(dir.path(), 0..3);
    let file = files(dir.path()).remove(0);
    let bytes = fs::read(&file).unwrap();
    let found = blocks(S::codec(), &bytes[S::BEGIN..]);
    let ends: Vec<usize> = found
        .map(|block| S::BEGIN + block.at + block.bytes.len())
        .collect();
    let record = |end: &usize| end + S::codec().record_bytes(&bytes[*end..]).unwrap_or_default();
    let behind: Vec<usize> = ends.iter().map(record).collect();
    assert_eq!((ends.len(), behind[2]), (3, bytes.len()));
    let place = file.strip_prefix(dir.path()).unwrap().to_owned();
    (place, bytes, ends, behind)
}

/// Makes a folder in memory if the system has a place for that: thousands of files are synced, and no test here is about
/// the disk.
fn memory_dir() -> TempDir {
    let in_memory = Path::new("/dev/shm");
    match in_memory.is_dir() {
        true => tempfile::tempdir_in(in_memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

fn dir_with(place: &Path, bytes: &[u8]) -> TempDir {
    let dir = memory_dir();
    let file = dir.path().join(place);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, bytes).unwrap();
    dir
}

/// Opens a store; returns which of the three blocks are readable, and the counted incidents.
fn read<S: Subject>(dir: &Path) -> ([bool; 3], Incidents) {
    let (store, counters) = S::open(dir);
    let held = [0, 1, 2].map(|number| store.holds(number));
    (held, counters.incidents.all())
}

/// *Scenario*: the machine dies while the last block is written; any number of its bytes is on disk.
/// *Guarantees*: all earlier blocks are read, nothing of the last; the file is repaired once, and new blocks
/// are accepted.
fn torn_tail<S: Subject>() {
    let (place, bytes, ends, behind) = three_blocks::<S>();
    for cut in behind[1]..behind[2] {
        let dir = dir_with(&place, &bytes[..cut]);
        let (held, incidents) = read::<S>(dir.path());
        assert_eq!(held, [true, true, cut >= ends[2]], "cut at {cut}");
        let torn = (cut > behind[1] && cut != ends[2]).then_some(&1);
        assert_eq!(incidents.get("torn_tail"), torn, "cut at {cut}");
        assert_eq!(incidents.len(), usize::from(torn.is_some()), "cut at {cut}");
        S::append(dir.path(), [2].into_iter());
        let repaired = ([true; 3], Incidents::new());
        assert_eq!(read::<S>(dir.path()), repaired, "cut at {cut}");
    }
    let whole = dir_with(&place, &bytes);
    assert_eq!(read::<S>(whole.path()), ([true; 3], Incidents::new()));
}

/// *Scenario*: one bit of a file flips in a header, in a part or after a block, in the middle or in the last
/// block.
/// *Guarantees*: the block is repaired, or else lost and counted, and no other is affected.
fn flipped_bits<S: Subject>() {
    let (place, bytes, ends, behind) = three_blocks::<S>();
    for at in behind[0]..behind[2] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let dir = dir_with(&place, &flipped);
        let (held, incidents) = read::<S>(dir.path());
        let is_last = at >= behind[1];
        let is_record = at >= ends[1] && (!is_last || at >= ends[2]);
        let counted = match is_last {
            _ if S::REPAIRS && !is_record => "repaired_page",
            true => "torn_tail",
            false => "damaged_block",
        };
        let is_held = S::REPAIRS || is_record;
        assert_eq!(
            held,
            [true, is_held || is_last, is_held || !is_last],
            "bit in {at}"
        );
        let is_counted = incidents.get(counted) == Some(&1);
        let unread = incidents.contains_key("unreadable_record");
        assert!(
            is_counted || (unread && !is_last),
            "bit in {at}: {incidents:?}"
        );
        if is_last || S::REMOVES_DAMAGE {
            assert_eq!(
                read::<S>(dir.path()),
                (held, Incidents::new()),
                "bit in {at}"
            );
        }
    }
}

/// *Scenario*: bytes in the middle of a file are missing.
/// *Guarantees*: their block is lost and counted, and the following blocks are found.
fn truncated_middle<S: Subject>() {
    let (place, bytes, ends, behind) = three_blocks::<S>();
    for length in 1..=behind[1] - behind[0] {
        for from in [behind[0], behind[1] - length] {
            let cut = [&bytes[..from], &bytes[from + length..]].concat();
            let dir = dir_with(&place, &cut);
            let (held, incidents) = read::<S>(dir.path());
            let is_held = from >= ends[1];
            assert_eq!(held, [true, is_held, true], "{length} bytes from {from}");
            // Without the whole block, or without its record, the file is sound.
            let is_sound = length == behind[1] - behind[0] || from == ends[1];
            assert_eq!(incidents.is_empty(), is_sound, "{length} bytes from {from}");
        }
    }
}

/// *Scenario*: a file is missing, before the store is opened or while it is open.
/// *Guarantees*: everything else is read without an error.
fn missing_file<S: Subject>() {
    let dir = tempfile::tempdir().unwrap();
    S::append(dir.path(), [0].into_iter());
    S::append(dir.path(), [OTHER_FILE].into_iter());
    let (store, _) = S::open(dir.path());
    assert!(store.holds(0) && store.holds(OTHER_FILE));
    let files = files(dir.path());
    assert_eq!(files.len(), 2);
    fs::remove_file(&files[0]).unwrap();
    assert!(!store.holds(0) && store.holds(OTHER_FILE));
    let (store, counters) = S::open(dir.path());
    assert!(!store.holds(0) && store.holds(OTHER_FILE));
    assert!(counters.incidents.all().is_empty());
}

/// *Scenario*: arbitrary bytes follow the last block.
/// *Guarantees*: the store opens, and the blocks before them are read.
fn any_bytes<S: Subject>(garbage: &[u8]) {
    let (place, bytes, _, behind) = three_blocks::<S>();
    let dir = dir_with(&place, &[&bytes[..behind[1]], garbage].concat());
    assert_eq!(read::<S>(dir.path()).0, [true, true, false]);
    let dir = dir_with(&place, garbage);
    assert_eq!(read::<S>(dir.path()).0, [false; 3]);
}

macro_rules! suite {
    ($name:ident, $subject:ty) => {
        mod $name {
            use super::*;

            #[test]
            fn a_tail_torn_at_any_byte_loses_the_last_block_alone() {
                torn_tail::<$subject>();
            }

            #[test]
            fn a_flipped_bit_loses_no_other_block() {
                flipped_bits::<$subject>();
            }

            #[test]
            fn blocks_behind_missing_bytes_are_found_again() {
                truncated_middle::<$subject>();
            }

            #[test]
            fn a_missing_file_loses_its_blocks_alone() {
                missing_file::<$subject>();
            }

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(32))]

                #[test]
                fn any_file_is_opened(garbage in prop::collection::vec(any::<u8>(), 1..300)) {
                    any_bytes::<$subject>(&garbage);
                }
            }
        }
    };
}

suite!(spans, Spans);
suite!(series, Series);
suite!(logs, Logs);
