//! The limits of the embedded store.

use std::time::Duration;

/// Spans of a segment before it is sealed. Small enough to rebuild an index in 0.1 s.
pub(crate) const SEGMENT_SPANS_MAX: u64 = 100_000;
/// Spans of a segment that is sealed once its shard is idle: what an open segment holds in memory, 10 MiB at
/// most of usual spans, a sealed one has in its footer. Half, so that bursts at most double the segments.
pub(crate) const IDLE_SEGMENT_SPANS: u64 = if cfg!(test) {
    2_000
} else {
    SEGMENT_SPANS_MAX / 2
};
/// Size of a segment file before it is sealed.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Age of a segment before it is sealed, so that retention works in steps of ten minutes.
pub(crate) const SEGMENT_AGE_MAX: Duration = Duration::from_secs(600);
/// Idle time after which a shard releases the memory of blocks: tens of MiB after a load.
pub(crate) const IDLE_AFTER: Duration = Duration::from_secs(20);
/// Total bytes of a segment's dictionaries before it is sealed.
pub(crate) const SEGMENT_DICTIONARY_BYTES_MAX: usize = 16 << 20;
/// Bytes of a segment's list (names, resources, scopes, values of a column) up to which readers get it whole.
pub(crate) const LIST_WHOLE_BYTES_MAX: usize = if cfg!(test) { 256 } else { 2 << 20 };
/// Bytes of values from longer lists that a reader of a trace holds per segment.
pub(crate) const PICKED_BYTES_MAX: usize = 8 << 20;
/// The part of these that is reserved for the names of resources and scopes that do not fit.
pub(crate) const PICKED_BYTES_OF_NAMES: usize = 2 << 20;
/// Attribute columns (key and type) of a segment; services of a shop have 50 to 200. Beyond it, a span's
/// attributes are stored as one blob.
pub(crate) const COLUMNS_MAX: usize = 4_096;
/// Attribute list prefixes of a segment; a shop has a few hundred. Beyond it, as with `COLUMNS_MAX`.
pub(crate) const SHAPES_MAX: usize = 16_384;
/// Distinct values of one column's dictionary; further values are stored literally.
pub(crate) const DICTIONARY_VALUES_MAX: usize = 65_536;
/// Longest value in a dictionary: longer ones (statements, stack traces) rarely repeat.
pub(crate) const DICTIONARY_VALUE_BYTES_MAX: usize = 1_024;
/// Values of a column after which its dictionary is evaluated at the end of a block: if more than a third
/// were new, the column turns literal.
pub(crate) const DICTIONARY_TRIAL_VALUES: u32 = 512;
/// Entries that a list in a file may claim; no segment can hold more, so a file that claims more is damaged.
pub(crate) const LIST_ENTRIES_MAX: usize = 16 << 20;
/// Inflated size that a part may claim (a request is at most tens of MiB).
pub(crate) const PART_BYTES_MAX: usize = 1 << 30;
/// Size that a block header may claim.
pub(crate) const HEADER_BYTES_MAX: u32 = 4 << 20;
/// Shorter parts are stored uncompressed: zstd's frame would cost more than it saves.
pub(crate) const COMPRESS_FROM_BYTES: usize = 48;
/// Breakers listed per trace and segment.
pub(crate) const CIRCUITS_PER_TRACE_MAX: usize = 64;
/// Services listed per trace and segment: counting more would be quadratic.
pub(crate) const SERVICES_PER_TRACE_MAX: u16 = 256;
/// Spans of a trace that a reader returns. The page draws them in parts, and 100,000 spans of one short
/// attribute just fit into the memory budget of a trace (Tempo stops at 5 MB, Jaeger never).
pub(crate) const TRACE_SPANS_MAX: usize = 100_000;
/// Largest zone section that is read; a segment whose zones name more services is searched block by block.
pub(crate) const ZONES_BYTES_MAX: usize = 4 << 20;
pub(crate) const SERVICES_MAX: usize = 10_000;
pub(crate) const OPERATIONS_MAX: usize = 1_000;
/// Blocks read at most to recount the rows of a search page.
pub(crate) const RECOUNT_BLOCKS_MAX: usize = 256;
/// Spans held while recounting the rows of a search page, 96 bytes each.
pub(crate) const RECOUNT_SPANS_MAX: u32 = 100_000;
/// Rows of a zone: blocks with this many rows in total share one summary. Small in tests, which have few
/// spans but need several zones.
pub(crate) const ZONE_ROWS: u64 = if cfg!(test) { 32 } else { 4_096 };
/// Services listed per zone; beyond it every block of the zone is read. Each row looks up its service by
/// linear scan.
pub(crate) const ZONE_SERVICES_MAX: usize = 256;
/// Span names listed per zone, one to two bytes each.
pub(crate) const ZONE_NAMES_MAX: usize = 1_024;
/// Values in a segment's filter, 8 bytes each while it is open; beyond it the segment has no filter.
pub(crate) const VALUE_TOKENS_MAX: usize = 2 << 20;
/// Memory for decoded zones: 6,000 segments of twelve services, a week at 1,000 spans a second.
pub(crate) const ZONE_CACHE_BYTES: usize = 36 << 20;
/// Target rows per block when a segment is written anew.
pub(crate) const REWRITE_BLOCK_ROWS: usize = 10_000;
/// Target bytes per block when a segment is written anew or blocks are joined: a few rows may be large, and a block
/// is held in memory.
pub(crate) const REWRITE_BLOCK_BYTES: usize = 4 << 20;
/// Blocks of fewer rows are joined when their segment is sealed: below this, column directories, parity and the start
/// of each compressed column outweigh the rows. Until then they are not compressed. Small in tests, which have few spans.
pub(crate) const SMALL_BLOCK_ROWS: usize = if cfg!(test) { 200 } else { 1_000 };
/// Blocks are joined if more than one in this many rows are in small ones.
pub(crate) const SMALL_SHARE: u64 = 8;
/// Memory for decoded footer sections, bytes.
pub(crate) const SECTION_CACHE_BYTES: usize = 32 << 20;
/// Memory for blooms: 1,150 segments of 8,000 traces. Only segments that are in no group yet, and those that
/// have what is asked for, are looked up in theirs.
pub(crate) const BLOOM_CACHE_BYTES: usize = 16 << 20;
