//! gRPC on top of HTTP/2: message frames, deadlines, trailers; and what browsers can do of it.

mod deadline;
mod frame;
pub(super) mod health;
mod trailers;
pub(super) mod web;

pub(super) use deadline::answer_by;
pub(super) use frame::{frame, message_length, unframe};
pub(super) use trailers::{refusal_trailers, short_trailers, success_trailers};
