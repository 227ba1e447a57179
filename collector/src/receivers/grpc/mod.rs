//! gRPC on top of HTTP/2: message frames, deadlines, trailers; and what browsers can do of it.

mod call;
mod deadline;
mod frame;
pub(super) mod health;
pub(super) mod reflection;
mod trailers;
pub(super) mod web;

pub(crate) use call::{GrpcBody, fail, is_grpc, not_grpc, succeed};
pub(crate) use deadline::answer_by;
pub(super) use frame::message_length;
pub(crate) use frame::{frame, unframe};
pub(super) use trailers::refusal_trailers;
pub(crate) use trailers::{short_trailers, success_trailers};

pub(crate) use super::rpc::Code;
