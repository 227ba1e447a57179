//! Invariants of any segment file: the fuzz targets of the reader. A run mutates a file written here: either
//! its raw bytes, or the content of blocks and footer with valid checksums.
//!
//! A target panics only when an invariant is broken.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use opentelemetry::TraceId;

use super::block::{BlockHeader, SpanCodec, inflate};
use super::segment::{FILE_MAGIC, Footer};
use super::{EmbeddedOptions, EmbeddedStore, ShardWriter, SpanLog, open};
use crate::codec::otlp::{Limits, walk_traces};
use crate::counters::Counters;
use crate::log::blocks;
use crate::model::{Condition, Span, TimeRange, Trace, TraceQuery};
use crate::sample::Shop;
use crate::store::TraceReader;
use crate::store::bytes::Reader;

/// A time well after the sample.
const NOW: u64 = 1_800_000_000_000_000_000;
/// Mutations of one run.
const CHANGES_MAX: usize = 16;

/// Reads a file with changed bytes, as a failing disk changes them.
///
/// # Panics
/// When a span comes back different from what was written, or is lost without being counted.
pub(crate) fn segment_file(script: &[u8]) {
    let sample = &*SAMPLE;
    let is_sealed = script.first().is_some_and(|byte| byte % 2 == 1);
    let mut file = sample.file(is_sealed).to_vec();
    for change in changes(script.get(1..).unwrap_or_default()) {
        change.apply(&mut file);
    }
    let (found, counters) = read(&file, &sample.traces);
    let is_counted = !counters.incidents.all().is_empty();
    let mut spans = 0;
    for (id, trace) in &found {
        let written = &sample.traces[id].spans;
        for span in &trace.spans {
            let same = written.iter().find(|same| same.span_id == span.span_id);
            let same = same.expect("no span is made up");
            assert!(
                span == same || (is_counted && is_rest_of(span, same)),
                "{id} was changed"
            );
        }
        spans += trace.spans.len();
    }
    // A file cut between two blocks looks as if the rest had never been written.
    assert!(spans == sample.spans || is_counted || file.len() < sample.file(is_sealed).len());
}

/// Returns whether a span equals another except for lost values: a damaged block takes the names with it that
/// it introduced, and later blocks show them as `(lost)`. A span's own fields never change.
fn is_rest_of(span: &Span, whole: &Span) -> bool {
    let own = |span: &Span| {
        (
            span.trace_id,
            span.parent_span_id,
            span.start,
            span.end,
            span.kind,
        )
    };
    let is_rest = |name: &str, whole: &str| name == "(lost)" || name == whole;
    own(span) == own(whole)
        && is_rest(&span.name, &whole.name)
        && is_rest(span.service(), whole.service())
}

/// Reads a file with changed block contents.
///
/// # Panics
/// When reading panics.
pub(crate) fn segment_block(script: &[u8]) {
    let mut file = FILE_MAGIC.to_vec();
    let script: Vec<Change<'_>> = changes(script).collect();
    let mut place = 0_u8;
    for block in blocks(SpanCodec, &SAMPLE.unsealed[FILE_MAGIC.len()..]) {
        let (mut header, mut parts) = (block.header, Vec::new());
        for part in &header.parts {
            let stored = &block.bytes[part.offset as usize..][..part.stored];
            let whole = inflate(stored, part.raw).filter(|_| part.stored < part.raw);
            let mut raw = whole.unwrap_or_else(|| stored.to_vec());
            apply(&script, place, &mut raw);
            parts.push(raw);
            place = place.wrapping_add(1);
        }
        for change in &script {
            change.apply_to_header(&mut header);
        }
        encode(header, &parts, &mut file);
    }
    read(&file, &SAMPLE.traces);
}

/// Reads a file with a changed footer.
///
/// # Panics
/// When reading panics.
pub(crate) fn segment_footer(script: &[u8]) {
    let script: Vec<Change<'_>> = changes(script).collect();
    let mut place = 0_u8;
    let forged = Footer::forge(&SAMPLE.sealed, |_, bytes| {
        apply(&script, place, bytes);
        place = place.wrapping_add(1);
    });
    read(&forged.expect("the sample has a footer"), &SAMPLE.traces);
}

/// A file of a few blocks, with and without its footer.
struct Sample {
    unsealed: Vec<u8>,
    sealed: Vec<u8>,
    traces: HashMap<TraceId, Trace>,
    spans: usize,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let scratch = Scratch::new();
    let (store, mut writers, _) = open_store(&scratch.0);
    for request in Shop::new(7).requests(90, 30) {
        let writer = &mut writers[0];
        walk_traces(&request, &Limits::default(), NOW, writer).expect("the sample is sound");
        writer.commit().expect("the disk takes a sample");
    }
    let file = || segment_file_of(&scratch.0);
    let unsealed = fs::read(file()).expect("the segment was just written");
    writers[0].seal().expect("the disk takes a footer");
    let sealed = fs::read(file()).expect("the segment was just sealed");
    let traces = wait(all_traces(&store));
    let spans = traces.values().map(|trace| trace.spans.len()).sum();
    Sample {
        unsealed,
        sealed,
        traces,
        spans,
    }
});

impl Sample {
    fn file(&self, is_sealed: bool) -> &[u8] {
        match is_sealed {
            true => &self.sealed,
            false => &self.unsealed,
        }
    }
}

/// One mutation: of every part or section whose number has that low byte, or of a header field.
struct Change<'a> {
    part: u8,
    action: u8,
    at: usize,
    bytes: &'a [u8],
}

/// Decodes mutations from fuzz input: part, action, place, and length-prefixed new bytes.
fn changes(script: &[u8]) -> impl Iterator<Item = Change<'_>> {
    let mut reader = Reader::new(script);
    let next = move || {
        Some(Change {
            part: reader.byte()?,
            action: reader.byte()?,
            at: usize::from(u16::from_le_bytes([reader.byte()?, reader.byte()?])),
            bytes: reader.bytes()?,
        })
    };
    std::iter::from_fn(next).take(CHANGES_MAX)
}

fn apply(script: &[Change<'_>], place: u8, bytes: &mut Vec<u8>) {
    for change in script.iter().filter(|change| change.part == place) {
        change.apply(bytes);
    }
}

impl Change<'_> {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let at = self.at.min(bytes.len());
        let end = (at + self.bytes.len()).min(bytes.len());
        match self.action % 4 {
            0 => bytes[at..end].copy_from_slice(&self.bytes[..end - at]),
            1 => drop(bytes.splice(at..at, self.bytes.iter().copied())),
            2 => drop(bytes.drain(at..end)),
            _ => bytes.truncate(at),
        }
    }

    /// Changes the rows, times and parts that a header claims, for the highest part numbers.
    fn apply_to_header(&self, header: &mut BlockHeader) {
        let number = Reader::new(self.bytes).varint().unwrap_or(u64::MAX);
        let kind = header.parts[self.at % header.parts.len()].kind;
        let parts = header.parts.len();
        let part = &mut header.parts[usize::from(self.action) % parts];
        match self.part {
            250 => part.kind = kind,
            251 => part.column = number as u32,
            252 => header.rows = number as u32,
            253 => header.min_start = number,
            254 => header.max_start = number,
            255 => header.max_end = number,
            _ => {}
        }
    }
}

/// Appends a block of these parts, uncompressed.
fn encode(mut header: BlockHeader, parts: &[Vec<u8>], out: &mut Vec<u8>) {
    for (entry, bytes) in header.parts.iter_mut().zip(parts) {
        (entry.stored, entry.raw) = (bytes.len(), bytes.len());
        entry.crc = crc32fast::hash(bytes);
    }
    header.encode(out);
    out.extend(parts.iter().flatten());
}

/// Opens a store with only that file and runs every query; returns the traces found.
fn read(
    file: &[u8],
    written: &HashMap<TraceId, Trace>,
) -> (HashMap<TraceId, Trace>, Arc<Counters>) {
    let scratch = Scratch::new();
    let day = scratch.0.join("spans/2026-11-23");
    fs::create_dir_all(&day).expect("the scratch folder can be filled");
    fs::write(day.join("0000000000-0.seg"), file).expect("the scratch folder can be filled");
    let (store, _writers, counters) = open_store(&scratch.0);
    let found = wait(async {
        ask(&store).await;
        let mut found = HashMap::new();
        for id in written.keys() {
            let trace = store.trace(*id).await.ok().flatten();
            found.extend(trace.map(|trace| (*id, trace)));
        }
        found
    });
    (found, counters)
}

/// Queries names and rows with every kind of condition; errors are allowed.
async fn ask(store: &EmbeddedStore) {
    let services = store.services(TimeRange::ALL).await.unwrap_or_default();
    for service in services.value.iter().take(3) {
        let _names = store.operations(service.clone(), TimeRange::ALL).await;
    }
    let parsed = [
        "http.response.status_code>=500",
        "http.route=~^/",
        "db.system",
    ];
    let parsed = parsed.map(|text| Condition::parse_attribute(text).expect("it is well-formed"));
    let service = Condition::service("checkout".to_owned());
    let conditions = [Condition::duration(Some(1), None), Some(service)];
    for condition in conditions.into_iter().flatten().chain(parsed) {
        let _page = store
            .search(TraceQuery::in_range(TimeRange::ALL).with([condition]))
            .await;
    }
}

async fn all_traces(store: &EmbeddedStore) -> HashMap<TraceId, Trace> {
    let mut query = TraceQuery::in_range(TimeRange::ALL);
    query.limit = TraceQuery::LIMIT_MAX;
    let page = store.search(query).await.expect("the sample is sound");
    let mut traces = HashMap::new();
    for row in page.traces {
        let trace = store
            .trace(row.trace_id)
            .await
            .expect("the sample is sound");
        traces.extend(trace.map(|trace| (row.trace_id, trace)));
    }
    traces
}

/// A folder that is removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("fusebox-fuzz-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Anything left is in the temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open_store(dir: &Path) -> (EmbeddedStore, Vec<ShardWriter>, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let options = EmbeddedOptions {
        dir: dir.to_owned(),
        retention: Duration::from_secs(7 * 86_400),
        disk_budget_bytes: u64::MAX,
        shards: 1,
    };
    let (store, writers) = open(options, Arc::clone(&counters)).expect("damage is no error");
    (store, writers, counters)
}

fn segment_file_of(dir: &Path) -> PathBuf {
    let first = |folder: &Path| {
        let mut entries = fs::read_dir(folder).expect("the store made it");
        entries
            .next()
            .expect("it holds something")
            .expect("it can be listed")
            .path()
    };
    first(&first(&dir.join("spans")))
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime
        .expect("a runtime needs no more than memory")
        .block_on(future)
}
