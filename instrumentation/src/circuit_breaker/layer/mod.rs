//! A breaker as a tower layer around any service.

mod classify;
mod future;
#[expect(clippy::module_inception, reason = "tower's customary file names")]
mod layer;
mod service;

pub use classify::{Classify, ErrorsOnly, HttpStatus};
pub use future::ResponseFuture;
pub use layer::CircuitBreakerLayer;
pub use service::CircuitBreakerService;
