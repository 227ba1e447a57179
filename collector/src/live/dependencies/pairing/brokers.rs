//! Messages through a broker that a span names as a service: on the map it is between producer and consumer,
//! as in Zipkin. Also the peers that callers name, whether or not their other half arrived.

use std::collections::HashSet;

use super::{Dependencies, Entry, Here};
use crate::live::dependencies::fact::Half;
use crate::live::names::NodeId;

impl Dependencies {
    /// Counts a message as two calls, to the broker and from it, as Zipkin does; returns whether the parent
    /// changed.
    pub(super) fn relate_over(
        &mut self,
        broker: NodeId,
        producer: &mut Here,
        consumer: &mut Here,
        second: u32,
    ) -> bool {
        // A message that several consumers take reached the broker once.
        if !std::mem::replace(&mut producer.over_broker, true) {
            let ends = (producer.service, broker);
            let edge = self.count(ends, producer.error, producer.started, second);
            self.learn(producer, edge);
        }
        let ends = (broker, consumer.service);
        let edge = self.count(ends, consumer.error, consumer.started, second);
        consumer.edge = Some(edge);
        // The producer's breaker is around the other edge.
        consumer.learnt = true;
        producer.paired = true;
        true
    }

    /// Returns the services that callers of a service named within the last half minute.
    pub(in crate::live) fn named_peers(&self, service: NodeId) -> HashSet<NodeId> {
        let here = self.spans.values().filter_map(|entry| match entry {
            Entry::Here(here) if here.service == service => Some(here),
            _ => None,
        });
        let callers = here.filter(|here| here.half == Half::Caller && here.names_service);
        callers.filter_map(|here| here.peer).collect()
    }
}

/// Returns the broker of a message, if one of its sides names it.
pub(super) fn broker_between(producer: &Here, consumer: &Here) -> Option<NodeId> {
    let of = |side: &Here| side.peer.filter(|_| side.names_broker);
    let is_message = producer.half == Half::Caller && consumer.half == Half::Callee;
    of(producer).or_else(|| of(consumer)).filter(|_| is_message)
}
