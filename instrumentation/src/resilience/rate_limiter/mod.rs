//! Limits how many calls start in each cycle of time.

mod cycles;
mod settings;

pub use settings::RateLimiterSettings;
