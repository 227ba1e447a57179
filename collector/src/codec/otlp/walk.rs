//! The walk.

use super::{DecodeError, SpanVisitor, WalkReport};

/// What a request may hold; the defaults are named constants with their sources.
#[derive(Debug, Clone, Default)]
pub struct Limits {}

/// Visits every span of an `ExportTraceServiceRequest`.
pub fn walk_traces(
    _request: &[u8],
    _limits: &Limits,
    _now_unix_nanos: u64,
    _visitor: &mut impl SpanVisitor,
) -> Result<WalkReport, DecodeError> {
    todo!()
}
