//! The fuzz targets of the file formats.

pub(crate) use super::embedded::fuzz::{segment_block, segment_file, segment_footer};
pub(crate) use super::logs::fuzz_block as logs_block;
pub(crate) use super::series::fuzz_block as series_block;
