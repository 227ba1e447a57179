//! The pages and the one binary `fusebox`: collector and pages in one process, the demo shop, the load generator.

pub mod cli;
pub mod demo;
pub mod error;
pub mod load;
pub mod pages;
pub mod serve;
pub mod shop;
pub mod terminal;
