//! The breaker and the policies compiled again from the library's own files, with a [`sync`] that passes every atomic,
//! lock and thread local to shuttle: each model runs under hundreds of interleavings of its threads.
//!
//! shuttle treats every access as sequentially consistent; effects of weaker orders are not modelled.

#![allow(dead_code, unused, unexpected_cfgs, reason = "a part of the library")]

/// Again, for the models alone: `resilience` keeps its own private.
#[path = "../../src/resilience/budget.rs"]
mod budget;
#[path = "../../src/circuit_breaker/mod.rs"]
pub mod circuit_breaker;
#[path = "../../src/error_type.rs"]
mod error_type;
/// Again, for the models alone: `request` keeps its own private.
#[path = "../../src/request/gathering.rs"]
mod gathering;
#[path = "../../src/isolated.rs"]
mod isolated;
#[path = "../../src/name.rs"]
mod name;
#[path = "../../src/request/mod.rs"]
pub mod request;
#[path = "../../src/resilience/mod.rs"]
pub mod resilience;
#[path = "../../src/semaphore.rs"]
mod semaphore;
#[path = "../../src/semconv.rs"]
pub mod semconv;
#[path = "../../src/setting.rs"]
mod setting;
#[path = "../../src/sharded/mod.rs"]
mod sharded;
mod sync;
#[path = "../../src/time/mod.rs"]
mod time;

mod models;

use shuttle::scheduler::RandomScheduler;

/// Stack size of each thread of a model; snapshots contain histograms.
const STACK_BYTES: usize = 512 << 10;

/// Runs every model; a violation is a panic with the schedule that led to it.
fn main() {
    for (name, model) in models::ALL {
        let mut config = shuttle::Config::default();
        config.stack_size = STACK_BYTES;
        let scheduler = RandomScheduler::new(models::INTERLEAVINGS);
        shuttle::Runner::new(scheduler, config).run(model);
        println!("{name}: {} interleavings", models::INTERLEAVINGS);
    }
}
