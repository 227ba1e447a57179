//! OTLP requests: one walk over protobuf bytes that visits every span; JSON is turned into protobuf first.
//!
//! `walk_traces` checks everything a store needs to trust (lengths, wire types, UTF-8, ids) and hands each
//! span to a `SpanVisitor` as borrowed views: nothing is allocated per span.

mod error;
mod visitor;
mod walk;

pub use error::DecodeError;
pub use visitor::{
    AttributeView, ResourceView, ScopeView, SpanRejection, SpanView, SpanVisitor, ValueView,
    WalkReport,
};
pub use walk::{Limits, walk_traces};
