//! The pages and the binary `fusebox`: collector and pages in one process, the demo shop, the load generator.

// Its macros, for words in the language of a page, are used below.
#[macro_use]
pub mod pages;

pub mod cli;
pub mod demo;
pub mod error;
pub mod load;
pub mod serve;
pub mod shop;
pub mod terminal;
