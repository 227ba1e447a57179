//! The domain model shared by stores, queries and pages.
//!
//! Everything here is plain data, decoded from what services sent. A `Span` contains what was received,
//! unchanged; what a reader merged, moved or guessed is noted in `Trace::notes`.

mod circuit;
mod condition;
mod control;
mod dependency;
mod details;
mod duration;
mod log;
mod network;
pub mod policy;
mod registry;
mod sampling;
mod search;
mod service;
mod span;
mod text;
mod time;
mod trace;

pub use circuit::{
    CircuitCalls, CircuitHistory, CircuitInstanceView, CircuitKey, CircuitSample, CircuitSettings,
    CircuitTransition, CircuitView, CircuitWall, LatencyView, Outage, OverrideView, OwnWindow,
    Provenance, Source, SparkBucket, StateSpan,
};
pub(crate) use circuit::{optional_hex, zero_is_none};
pub use condition::{Condition, Pattern, Place, Test};
pub(crate) use condition::{EVENT_NAME, SCOPE_NAME, SCOPE_VERSION};
pub use control::{
    ChangeOutcome, ControlRecord, EventKind, InstanceEnd, OperatorChange, OperatorEvent,
    OperatorSettings,
};
pub use dependency::DependencyLink;
pub use details::Details;
pub use duration::{format_duration, parse_duration};
pub(crate) use log::EVENT_NAME_KEY;
pub use log::{LogCursor, LogPage, LogQuery, LogRecord, Severity};
pub use network::{Network, NetworkError};
pub use registry::{
    Credentials, ForcedStatus, InstanceStatus, Lease, Links, Port, Registered, Registration,
    RegistryEntry, RegistryEvent, RegistrySource,
};
pub use sampling::TailSampling;
pub use search::{Cursor, TraceCondition, TraceOrder, TracePage, TraceQuery};
pub use service::{InstanceSeen, MinuteCalls, OperationStats, RedStats, ServiceSummary};
pub use span::{
    Dropped, EntityRef, Event, Link, Resource, Scope, Span, SpanKind, Status, StatusCode,
    UNKNOWN_SERVICE, Value,
};
pub(crate) use text::{cut, one_line};
#[cfg(test)]
pub(crate) use time::made;
pub use time::{
    DAY, HOUR, MINUTE, NANOSECOND, SECOND, TimeRange, UnixNanos, format_timestamp, nanos,
    parse_timestamp,
};
pub use trace::{
    ARRIVED, CircuitMark, DEBUG, Grade, Note, SHORTENED, ServiceCount, Trace, TraceSummary,
};
