//! Transport and status codes only: OTLP over gRPC and HTTP.
//!
//! A receiver reads a request within its bounds (`body`, `decompress`), hands the protobuf bytes to the pipeline
//! (`intake`), and puts what came of it into its protocol's words. What can go wrong is one list, `refusal`.

pub mod decompress;

mod auth;
mod body;
mod grpc;
mod intake;
mod otlp_grpc;
mod otlp_http;
mod refusal;
mod rpc;
mod serve;
mod signal;
#[cfg(test)]
mod tests;

pub(crate) use auth::Auth;
pub(crate) use intake::Intake;
pub(crate) use otlp_grpc::OtlpGrpc;
pub(crate) use otlp_http::OtlpHttp;
pub(crate) use serve::{Listener, ServeOptions};
