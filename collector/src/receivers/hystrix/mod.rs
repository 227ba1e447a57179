//! `hystrix.stream` of services and `turbine.stream` of clusters, pulled from the configured addresses onto the wall.
//! `codec::hystrix` reads the objects; here are the connection, the lines, and the way from rolling counts to calls.

mod followed;
mod fuzz;
mod growth;
mod latency;
mod lines;
mod pull;
mod source;

pub(super) use fuzz::stream as fuzz_stream;
pub use source::{HystrixSource, HystrixSourceError};

use tokio::task::JoinSet;

use crate::live::circuits::Circuits;

/// Streams that one collector pulls; a cluster has one Turbine.
pub(crate) const STREAMS_MAX: usize = 64;

/// Pulls every stream; they end when the set is dropped.
pub(crate) fn pull_all(sources: &[HystrixSource], circuits: &Circuits) -> JoinSet<()> {
    let mut pulling = JoinSet::new();
    for source in sources {
        pulling.spawn(pull::pull(source.clone(), circuits.clone()));
    }
    pulling
}
