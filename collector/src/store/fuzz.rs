//! The fuzz targets of the files.

pub(crate) use super::series::fuzz_block as series_block;
