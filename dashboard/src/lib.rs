//! The pages and the one binary.
//!
//! `pages` asks the collector's `QueryService` and draws what it answers.

pub mod pages;
