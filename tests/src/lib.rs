//! Support for the integration tests: the stack in this process or as the real binary, real browsers, and waiting for a
//! condition instead of for time.

mod binary;
mod breaker;
mod browser;
pub mod child;
mod firefox;
mod otlp;
mod shop;
mod stack;
mod wait;

pub use binary::{Binary, binary_path};
pub use breaker::FakeBreaker;
pub use browser::Browser;
pub use firefox::Firefox;
pub use otlp::{TraceBuilder, attribute, export, try_export};
pub use shop::ShopService;
pub use stack::Stack;
pub use wait::{DEADLINE, counter, eventually, get_json, needed};

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
