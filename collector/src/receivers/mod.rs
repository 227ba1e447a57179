//! Transport and status codes: OTLP over gRPC, and OTLP and Zipkin over HTTP, on their own listeners and on
//! the web listener.
//!
//! A receiver determines signal and format of a request from its path and headers, reads the body within its
//! limits (`body`, `decompress`), passes the message to the pipeline (`intake`), and answers in its protocol.
//! `refusal` lists everything that can go wrong; `auth` decides for every listener which requests are
//! allowed. Only `hystrix` does not listen: it pulls streams.

pub mod decompress;

mod access;
mod auth;
mod body;
mod connection;
mod control;
mod cors;
mod forwarded;
pub(crate) mod fuzz;
pub(crate) mod grpc;
mod guesses;
mod held;
mod http;
mod hystrix;
mod intake;
mod listen_addr;
mod otlp;
mod otlp_grpc;
mod peer;
mod places;
mod refusal;
mod registered;
mod rpc;
mod sender;
mod serve;
#[cfg(test)]
mod tests;
mod tls;
mod unread;

pub(crate) use access::Access;
pub(crate) use auth::{Anonymous, Auth, TokenSource, Tokens, check};
pub use auth::{ProxyUsers, TokenError, is_same_origin, user_name};
pub(crate) use connection::ServeOptions;
pub(crate) use cors::{Cors, check as check_origin};
pub(crate) use held::Held;
pub(crate) use http::{HttpReceiver, routes};
pub use hystrix::{HystrixSource, HystrixSourceError};
pub(crate) use hystrix::{STREAMS_MAX as HYSTRIX_STREAMS_MAX, pull_all as pull_hystrix};
pub(crate) use intake::Intake;
pub use listen_addr::{ListenAddr, ListenAddrError};
pub(crate) use otlp_grpc::OtlpGrpc;
pub(crate) use sender::SentFrom;
pub(crate) use serve::Listener;
pub use tls::TlsFiles;
pub(crate) use tls::{Tls, TlsSource};
