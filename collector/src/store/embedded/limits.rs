//! The bounds of the embedded store, in one place.

use std::time::Duration;

/// Spans of a segment; past it the segment is sealed. Small enough to rebuild an index in 0.1 s.
pub(crate) const SEGMENT_SPANS_MAX: u64 = 100_000;
/// Bytes of a segment file; past it the segment is sealed.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Age of a segment; past it the segment is sealed, so that retention works in steps of ten minutes.
pub(crate) const SEGMENT_AGE_MAX: Duration = Duration::from_secs(600);
/// Time without a block after which a shard gives back the memory that blocks took: tens of MiB after a load.
pub(crate) const IDLE_AFTER: Duration = Duration::from_secs(20);
/// Bytes of everything that a segment's dictionaries hold; past it the segment is sealed.
pub(crate) const SEGMENT_DICTIONARY_BYTES_MAX: usize = 16 << 20;
/// Bytes of a list of a segment (names, resources, scopes, values of a column) that is lent to readers as a whole.
pub(crate) const LIST_WHOLE_BYTES_MAX: usize = if cfg!(test) { 256 } else { 2 << 20 };
/// Bytes of values from longer lists that a reader of a trace holds of one segment.
pub(crate) const PICKED_BYTES_MAX: usize = 8 << 20;
/// What of them is kept for the names of what does not fit.
pub(crate) const PICKED_BYTES_OF_NAMES: usize = 2 << 20;
/// Attribute columns (key and type) of a segment; services of a shop have 50 to 200. Past it the attributes
/// of a span are kept as one blob.
pub(crate) const COLUMNS_MAX: usize = 4_096;
/// Prefixes of attribute lists of a segment; a shop has a few hundred. Past it as with `COLUMNS_MAX`.
pub(crate) const SHAPES_MAX: usize = 16_384;
/// Distinct values that one column's dictionary holds; past it values are stored literally.
pub(crate) const DICTIONARY_VALUES_MAX: usize = 65_536;
/// Longest value that enters a dictionary: longer ones (statements, stack traces) hardly repeat.
pub(crate) const DICTIONARY_VALUE_BYTES_MAX: usize = 1_024;
/// Values of a column after which its dictionary is evaluated at the end of a block: more than a third new, then literal.
pub(crate) const DICTIONARY_TRIAL_VALUES: u32 = 512;
/// Entries that a list in a file may claim: beyond what any segment can hold, the file is damaged.
pub(crate) const LIST_ENTRIES_MAX: usize = 16 << 20;
/// Bytes that a part may claim to inflate to (a request is at most tens of MiB).
pub(crate) const PART_BYTES_MAX: usize = 1 << 30;
/// Bytes that a block's header may claim.
pub(crate) const HEADER_BYTES_MAX: u32 = 4 << 20;
/// Parts shorter than this are stored as they are: zstd's frame would eat the gain.
pub(crate) const COMPRESS_FROM_BYTES: usize = 48;
/// Breakers listed for one trace in one segment.
pub(crate) const CIRCUITS_PER_TRACE_MAX: usize = 64;
/// Services listed for one trace in one segment: more would make counting them quadratic.
pub(crate) const SERVICES_PER_TRACE_MAX: u16 = 256;
/// Spans of a trace that a reader returns; the page draws them in parts, and 100,000 of one short
/// attribute just fit into the memory that a trace may take (Tempo stops at 5 MB, Jaeger never).
pub(crate) const TRACE_SPANS_MAX: usize = 100_000;
/// Bytes of a segment's zones that are read; a segment whose zones name more services is searched block by block.
pub(crate) const ZONES_BYTES_MAX: usize = 4 << 20;
/// Services that a list returns.
pub(crate) const SERVICES_MAX: usize = 10_000;
/// Operations of a service that a list returns.
pub(crate) const OPERATIONS_MAX: usize = 1_000;
/// Blocks read at most to count the rows of a page of a search again.
pub(crate) const RECOUNT_BLOCKS_MAX: usize = 256;
/// Spans held while the rows of a page of a search are counted, 96 bytes each.
pub(crate) const RECOUNT_SPANS_MAX: u32 = 100_000;
/// Rows of a zone: the blocks that make so many share one entry of what they hold. Tests have few spans, and several zones.
pub(crate) const ZONE_ROWS: u64 = if cfg!(test) { 32 } else { 4_096 };
/// Services listed for one zone; past it every block of the zone is read. Each row looks for its service in the list.
pub(crate) const ZONE_SERVICES_MAX: usize = 256;
/// Span names listed for one zone, one to two bytes each.
pub(crate) const ZONE_NAMES_MAX: usize = 1_024;
/// Values of a segment that its filter holds, 8 bytes each while it is open; past it the segment has no filter.
pub(crate) const VALUE_TOKENS_MAX: usize = 2 << 20;
/// Bytes of decoded zones kept in memory: 2,000 segments of twelve services.
pub(crate) const ZONE_CACHE_BYTES: usize = 12 << 20;
/// Rows of a block that a rewrite at sealing aims at.
pub(crate) const REWRITE_BLOCK_ROWS: usize = 10_000;
/// Bytes of a block that a rewrite at sealing aims at: few rows may be large, and a rewrite holds a block in memory.
pub(crate) const REWRITE_BLOCK_BYTES: usize = 4 << 20;
/// A segment whose blocks hold fewer rows on average is rewritten at sealing: below it directories of columns
/// outweigh the rows. Rewriting costs as much as writing did, so blocks of one batch of an SDK (512) are left alone.
pub(crate) const REWRITE_BELOW_ROWS: u64 = 200;
/// Bytes of decoded footer sections kept in memory, and of blooms beside them.
pub(crate) const SECTION_CACHE_BYTES: usize = 32 << 20;
/// Bytes of blooms kept in memory: 1,150 segments of 8,000 traces.
pub(crate) const BLOOM_CACHE_BYTES: usize = 16 << 20;
