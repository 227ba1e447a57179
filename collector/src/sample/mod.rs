//! Realistic generated traffic for the demo trace, `fusebox load`, tests and benches.
//!
//! Everything here is OTLP as an SDK would send it, independent of how it is stored.

mod catalogue;
mod demo;
mod shop;
mod span;
mod tree;

pub use demo::{curl_sample, demo_trace};
pub use shop::{Requests, Shop};
