//! OTLP requests: one walk over protobuf bytes that visits every span; JSON is converted to protobuf first.
//!
//! `walk_traces` checks everything that a store relies on (lengths, wire types, UTF-8, ids) and passes each
//! span to a `SpanVisitor` as borrowed views, without an allocation per span.

pub mod decode;
pub mod encode;
mod error;
mod item;
pub mod json;
mod limits;
mod logs;
pub(crate) mod repairs;
mod resource;
mod response;
pub(crate) mod schema;
mod span;
mod value;
mod visitor;
mod walk;
pub(crate) mod wire;
pub(crate) mod write;

pub use error::DecodeError;
pub use limits::Limits;
pub use logs::{LogsRead, read_logs};
pub use repairs::Repairs;
pub(crate) use resource::identity;
pub use response::rejected_spans;
pub(crate) use visitor::Tee;
pub use visitor::{
    Accepted, AttributeView, ResourceView, ScopeView, SpanRejection, SpanView, SpanVisitor,
    ValueView,
};
pub use walk::{MAX_FUTURE_NANOS, walk_timeless, walk_traces};

#[cfg(test)]
pub(crate) mod tests;
