//! Reads a segment that was never sealed: every block in order, up to the end of the file or a torn write.

mod lost;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::super::block::schema::Schema;
use super::super::block::{
    BlockHeader, BlockReader, BlockValues, Extent, PartKind, RowReader, SpanCodec, encode_mark,
    ints, mark_texts,
};
use super::super::dictionary::Dictionary;
use super::repair::repair;
use super::state::{RowFacts, SegmentState};
use super::{FILE_MAGIC, OpenSegment, Place};
use crate::codec::otlp::{ResourceView, ScopeView, SpanView, SpanVisitor};
use crate::counters::{Incident, Incidents};
use crate::files;
use crate::log::{self, BlockCodec, LogFile, Scan};
use crate::store::StoreError;
use crate::store::hash::Seed;
use fusebox::semconv::BREAKER_NAME;

#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) open: Arc<OpenSegment>,
    /// Its file, truncated to the last complete block.
    pub(crate) file: LogFile,
    pub(crate) torn: bool,
    pub(crate) damage: Found,
}

/// Damage found by a scan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) blocks: u64,
    /// Spans lost, as far as block headers tell.
    pub(crate) spans: u64,
    /// Spans of intact blocks that lack a value introduced by a skipped block.
    pub(crate) stripped: u64,
    /// Restored pages.
    pub(crate) repaired: u64,
}

impl Found {
    pub(crate) fn count(&self, incidents: &Incidents) {
        incidents.add(Incident::DamagedBlock, self.blocks);
        incidents.add(Incident::DamagedSpan, self.spans);
        incidents.add(Incident::StrippedSpan, self.stripped);
        incidents.add(Incident::RepairedPage, self.repaired);
    }
}

/// Recovers a file without a footer; `None` if it is not a segment.
pub(crate) fn recover(place: Place) -> Result<Option<Recovered>, StoreError> {
    let path = place.path.clone();
    let Some(scanned) = scan(&path)? else {
        return Ok(None);
    };
    let file = LogFile::resume(&path, scanned.end)?;
    let reader = Arc::new(file.reader()?);
    let open = OpenSegment::new(place, reader, scanned.state, scanned.end);
    Ok(Some(Recovered {
        open: Arc::new(open),
        file,
        torn: scanned.torn,
        damage: scanned.damage,
    }))
}

/// Reads the blocks of a sealed file without its footer, leaving the file unchanged; `None` if it is not a
/// segment.
pub(crate) fn reread(place: Place) -> Result<Option<(Arc<OpenSegment>, Found)>, StoreError> {
    let path = place.path.clone();
    let Some(scanned) = scan(&path)? else {
        return Ok(None);
    };
    let reader =
        Arc::new(files::open_regular(&path).map_err(|error| StoreError::io("open", &path, error))?);
    let open = OpenSegment::new(place, reader, scanned.state, scanned.end);
    open.abandon();
    Ok(Some((Arc::new(open), scanned.damage)))
}

struct Scanned {
    state: SegmentState,
    /// End of the last complete block.
    end: u64,
    torn: bool,
    damage: Found,
}

/// Reads every block of a file; `None` if it is not a segment.
fn scan(path: &Path) -> Result<Option<Scanned>, StoreError> {
    let io = |error| StoreError::io("read", path, error);
    let file = files::open_regular(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    let begin = FILE_MAGIC.len() as u64;
    if bytes < begin || log::read(&file, 0, begin).map_err(io)? != FILE_MAGIC {
        return Ok(None);
    }
    let blocks = || log::scan(&SpanCodec, &file, begin, bytes).map_err(io);
    let (mut found, mut repaired) = (blocks()?, 0);
    loop {
        let (before, here) = (found.blocks.len(), repair_gaps(path, &file, bytes, &found)?);
        if here == 0 {
            break;
        }
        repaired += here;
        found = blocks()?;
        // A scan finds only the first of adjacent damaged blocks. Stop if the disk does not keep the repaired
        // bytes.
        if found.blocks.len() <= before {
            break;
        }
    }
    let mut damage = Found {
        blocks: found.damaged,
        repaired,
        ..Found::default()
    };
    let mut rebuild = Rebuild {
        state: SegmentState::new(Seed::random()),
        marks: Dictionary::new(Seed::random()),
    };
    for (offset, header) in found.blocks {
        let rows = u64::from(header.rows);
        let is_whole = make_whole(path, &file, offset, &header, &mut damage)?;
        let reader = BlockReader::of(&file, path, offset, header, is_whole);
        let introduced = rebuild.absorb_dictionaries(&reader);
        let absorbed = introduced.and_then(|()| match is_whole {
            true => rebuild.absorb_rows(offset, &reader, damage.blocks > 0),
            false => Err(reader.damage("block")),
        });
        match absorbed {
            Ok(stripped) => damage.stripped += stripped,
            Err(_) => {
                damage.blocks += 1;
                damage.spans += rows;
            }
        }
    }
    Ok(Some(Scanned {
        state: rebuild.state,
        end: found.end,
        torn: found.is_torn,
        damage,
    }))
}

/// Repairs the blocks with unreadable headers, and the last one; returns the number of restored pages.
fn repair_gaps(
    path: &Path,
    file: &File,
    length: u64,
    found: &Scan<BlockHeader>,
) -> Result<u64, StoreError> {
    let (mut expected, mut repaired) = (FILE_MAGIC.len() as u64, 0);
    for (offset, header) in &found.blocks {
        if *offset > expected {
            repaired += repair(path, expected);
        }
        let end = offset + header.total_bytes;
        expected = log::behind_record(&SpanCodec, file, end, length)
            .map_err(|error| StoreError::io("read", path, error))?;
    }
    // A single flipped bit turns the magic of a block into that of a footer, so the file need not look torn.
    if expected < length {
        repaired += repair(path, expected);
    }
    Ok(repaired)
}

/// Verifies a block and repairs it if needed; returns whether it is intact.
fn make_whole(
    path: &Path,
    file: &File,
    offset: u64,
    header: &BlockHeader,
    damage: &mut Found,
) -> Result<bool, StoreError> {
    let is_whole = || {
        let block = log::read(file, offset, header.total_bytes);
        let block = block.map_err(|error| StoreError::io("read", path, error))?;
        Ok(SpanCodec.is_whole(header, &block))
    };
    if is_whole()? {
        return Ok(true);
    }
    let pages = repair(path, offset);
    damage.repaired += pages;
    Ok(pages > 0 && is_whole()?)
}

/// Rebuilds the in-memory state of a segment, block by block.
struct Rebuild {
    state: SegmentState,
    marks: Dictionary,
}

impl Rebuild {
    /// Adds the rows of an intact block; returns how many lack a value that an earlier, damaged block
    /// introduced.
    fn absorb_rows(
        &mut self,
        offset: u64,
        reader: &BlockReader<'_>,
        is_behind_damage: bool,
    ) -> Result<u64, StoreError> {
        let columns = Columns::read(reader)?;
        let stripped = match is_behind_damage {
            true => lost::fill(&mut self.state, reader, &columns.names, &columns.resources)?,
            false => 0,
        };
        let marks = self.marks(reader)?;
        self.state.absorb_marks(self.marks.list());
        let values = BlockValues::read(reader, &self.state.schema)?;
        let facts = RowFacts {
            trace_ids: &columns.trace_ids,
            trace_index: &columns.trace_index,
            starts: &columns.starts,
            durations: &columns.durations,
            names: &columns.names,
            kind_status: &columns.kind_status,
            resources: &columns.resources,
            parent_ids: &columns.parent_ids,
            marks: &marks,
            overflow_rows: columns.overflow_rows,
            values: &values,
        };
        self.state.absorb_rows(offset, &reader.header, &facts);
        Ok(stripped)
    }

    /// Adds the values that a block introduces; of a damaged block, those of its intact parts, because later
    /// blocks refer to them.
    fn absorb_dictionaries(&mut self, reader: &BlockReader<'_>) -> Result<(), StoreError> {
        let mut absorbed = Ok(());
        let parts = reader.header.parts.iter();
        for part in parts.filter(|part| part.kind.is_dictionary()) {
            let raw = reader.read(part);
            let added = raw.and_then(|raw| {
                let added = self.state.absorb_delta(part.kind, part.column, &raw);
                added.ok_or_else(|| reader.damage("dictionary"))
            });
            absorbed = absorbed.and(added);
        }
        absorbed
    }

    /// Finds the rows that passed a breaker.
    fn marks(&mut self, reader: &BlockReader<'_>) -> Result<Vec<(u32, u32)>, StoreError> {
        let schema = Arc::clone(&self.state.schema);
        let rows = marked_rows(reader, &schema)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let rows_read = RowReader::read(reader, &schema, &self.state, &rows, Extent::Whole)?;
        let mut finder = MarkFinder {
            marks: &mut self.marks,
            found: Vec::new(),
        };
        rows_read.visit(&mut finder);
        let found = rows.iter().zip(finder.found);
        Ok(found
            .filter_map(|(&row, mark)| Some((row, mark?)))
            .collect())
    }
}

/// The columns that the indexes need.
struct Columns {
    trace_ids: Vec<u128>,
    trace_index: Vec<u32>,
    starts: Vec<u64>,
    durations: Vec<i64>,
    names: Vec<u32>,
    kind_status: Vec<u8>,
    resources: Vec<u32>,
    parent_ids: Vec<[u8; 8]>,
    overflow_rows: u64,
}

impl Columns {
    fn read(reader: &BlockReader<'_>) -> Result<Self, StoreError> {
        let narrow = |kind| -> Result<Vec<u32>, StoreError> {
            Ok(reader
                .row_numbers(kind)?
                .into_iter()
                .map(|n| n as u32)
                .collect())
        };
        let (trace_ids, trace_index) = reader.traces()?;
        let parent_ids = reader.ids(PartKind::ParentIds)?;
        if parent_ids.len() != reader.header.rows as usize {
            return Err(reader.damage("column of ids"));
        }
        let durations = reader.row_numbers(PartKind::Durations)?;
        let kind_status = reader.row_numbers(PartKind::KindStatus)?;
        Ok(Self {
            trace_ids,
            trace_index: trace_index.into_iter().map(|n| n as u32).collect(),
            starts: reader.row_numbers(PartKind::Starts)?,
            durations: durations.into_iter().map(ints::from_ordered).collect(),
            names: narrow(PartKind::Names)?,
            kind_status: kind_status.into_iter().map(|n| n as u8).collect(),
            resources: narrow(PartKind::Resources)?,
            parent_ids,
            overflow_rows: reader.sparse_rows(PartKind::Overflow)?.len() as u64,
        })
    }
}

/// Returns the rows with the attribute that names a breaker, and those whose attributes are beyond the column
/// limits.
fn marked_rows(reader: &BlockReader<'_>, schema: &Schema) -> Result<Vec<u32>, StoreError> {
    let mut rows = reader.sparse_rows(PartKind::Overflow)?;
    let columns: Vec<u32> = schema
        .columns_of(BREAKER_NAME)
        .iter()
        .map(|c| c.0)
        .collect();
    if !columns.is_empty() {
        let shapes = reader.row_numbers(PartKind::Shapes)?;
        let marked = schema.shapes_with(&shapes, &columns);
        rows.extend((0..shapes.len() as u32).filter(|&row| {
            marked
                .get(shapes[row as usize] as usize)
                .is_some_and(|&count| count > 0)
        }));
        rows.sort_unstable();
        rows.dedup();
    }
    Ok(rows)
}

/// A visitor that collects breaker marks.
struct MarkFinder<'a> {
    marks: &'a mut Dictionary,
    found: Vec<Option<u32>>,
}

impl SpanVisitor for MarkFinder<'_> {
    fn resource(&mut self, _: &ResourceView<'_>) {}
    fn scope(&mut self, _: &ScopeView<'_>) {}
    fn span(&mut self, span: &SpanView<'_>) {
        let texts = mark_texts(span.attributes);
        let mut encoded = Vec::new();
        encode_mark(&mut encoded, texts);
        let named = !texts[0].is_empty();
        self.found
            .push(named.then(|| self.marks.intern(&encoded).0));
    }
}
