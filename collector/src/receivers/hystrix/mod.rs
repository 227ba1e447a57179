//! Pulls `hystrix.stream` of services and `turbine.stream` of clusters from configured URLs. `codec::hystrix`
//! decodes the objects; this module has the connection, the lines, and the conversion of rolling counts.

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

/// Streams pulled by one collector; a cluster has one Turbine.
pub(crate) const STREAMS_MAX: usize = 64;

/// Pulls every stream until the returned set is dropped.
pub(crate) fn pull_all(sources: &[HystrixSource], circuits: &Circuits) -> JoinSet<()> {
    let mut pulling = JoinSet::new();
    for source in sources {
        pulling.spawn(pull::pull(source.clone(), circuits.clone()));
    }
    pulling
}
