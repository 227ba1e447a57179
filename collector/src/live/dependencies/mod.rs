//! Finds the calls between services: pairs the two halves of each call by trace id and span id, across
//! requests and shards and in either order of arrival, within a bounded table of the last half minute.
//!
//! The rules are those of Zipkin's linker, adapted to a stream. The callee's span makes the edge, so a call
//! with both halves counts once. A client without a callee counts once it expires, for the peer in its
//! attributes, or the service that is known at the address they name. A root server has no caller. A span of any kind whose parent belongs to another service makes
//! an edge too, and a call whose parent never came is a call of the trace's root. When more spans arrive than
//! fit, whole traces are left out and the sampled ones are scaled.

mod addresses;
mod edges;
mod fact;
mod pairing;
mod peer;
mod sampling;
mod table;

#[cfg(test)]
pub(super) use addresses::SHARED_SECONDS;
pub(super) use addresses::{Answered, Evidence, KNOWN_SECONDS};
pub(super) use edges::{Calls, EdgeCalls};
pub(super) use fact::{Half, Parent, SpanFact};
pub(super) use pairing::{Arrival, Dependencies, Incidents};
pub(super) use peer::PeerAttributes;
pub(crate) use peer::peer_name;
#[cfg(test)]
pub(super) use table::{CALLS_MAX, OTHERS_MAX, WAIT_SECONDS};
