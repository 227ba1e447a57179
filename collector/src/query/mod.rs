//! Answers questions: the one place that pages, the JSON API and the stream ask.

mod service;
mod stream;
mod trace_id;

pub(crate) use crate::live::peer_name;
pub use service::QueryService;
pub(crate) use stream::complete_circuits;
pub use stream::{CLIENTS_MAX, CircuitsEvent, StatsEvent, StreamEvent, TooManyClients, Topic};

use crate::model::{CircuitView, SparkBucket, StateSpan};
use crate::store::StoreError;

/// The wall at one moment.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct CircuitWall {
    /// The moment, Unix nanoseconds.
    pub at_unix_nanos: u64,
    /// Whether that moment is now.
    pub live: bool,
    /// Every breaker known then, by service and name.
    pub circuits: Vec<CircuitView>,
}

/// One breaker over a range of time.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct CircuitHistory {
    /// Equal slices of the range, oldest first.
    pub buckets: Vec<SparkBucket>,
    /// The states it was in (worst of its instances), oldest first, without gaps unless it was unknown.
    pub states: Vec<StateSpan>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A parameter is wrong: 400.
    #[error("{parameter}: {problem}")]
    Invalid {
        /// The parameter's name as the caller wrote it.
        parameter: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// The store failed: 500.
    #[error(transparent)]
    Store(#[from] StoreError),
}
