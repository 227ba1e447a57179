//! A breaker as a tower layer around any service.

mod classify;
mod future;
mod grpc;
#[expect(clippy::module_inception, reason = "tower's customary file names")]
mod layer;
mod response_body;
mod service;

pub use crate::body::{AnyResponses, HttpResponses, ResponseBody};
pub use classify::{Classify, ErrorsOnly, HttpStatus};
pub use future::ResponseFuture;
pub use grpc::GrpcCode;
pub(crate) use grpc::has_status_behind_body;
pub use layer::CircuitBreakerLayer;
pub use service::CircuitBreakerService;
