//! The pages and the one binary.

pub mod load;
pub mod pages;
