//! Blocks: the data of one commit, as a header and one part per column.
//!
//! `builder` and `columns` collect spans in memory, `encode` turns them into bytes, `decode` and `rows` read
//! them back; `FORMAT.md` describes the bytes.

pub(crate) mod attributes;
mod blobs;
mod builder;
mod column;
mod columns;
mod decode;
mod encode;
mod header;
mod inflate;
pub(crate) mod ints;
mod join;
mod parity;
mod part_stream;
mod rows;
pub(crate) mod schema;
mod values;

pub(crate) use blobs::{Blobs, Sparse};
pub(crate) use builder::{BlockBuilder, decode_mark, encode_mark, mark_texts};
pub(crate) use decode::{BlockMeta, BlockReader};
pub(crate) use encode::{BlockEncoder, EncodedBlock, encode_compressed};
pub(crate) use header::{BlockHeader, FOOTER_MAGIC, PartKind, SpanCodec};
pub(crate) use inflate::inflate;
pub(crate) use join::{JoinedBlocks, is_intact};
pub(crate) use parity::{PARITY_HEAD_BYTES, PARITY_MAGIC, Parity};
pub(crate) use part_stream::{PartStream, StoredBytes};
pub(crate) use rows::{Columns, Extent, RowReader, unpack};
pub(crate) use values::{BlockValues, ColumnValues};
