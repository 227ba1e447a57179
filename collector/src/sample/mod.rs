//! Generated, realistic traffic: the demo trace, `fusebox load`, tests and benches draw from it.
//!
//! Everything here is OTLP as an SDK would send it; nothing here knows how it is stored.

mod catalogue;
mod demo;
mod shop;
mod span;
mod tree;

pub use demo::{curl_sample, demo_trace};
pub use shop::{Requests, Shop};
