//! The services at the addresses that callers name.

use std::collections::HashSet;

use super::{Answered, Dependencies, Evidence, Here};
use crate::live::names::{NodeId, Nodes};

impl Dependencies {
    /// Notes that a service answered a call at the address that its caller named.
    pub(super) fn answered(&mut self, caller: &Here, service: NodeId, second: u32) {
        let address = caller.peer.filter(|_| caller.names_address);
        if let Some(address) = address {
            self.learn_address(address, service, (Evidence::Answered, second), second);
        }
    }

    /// Notes that a service is at an address since a second.
    pub(in crate::live) fn learn_address(
        &mut self,
        address: NodeId,
        service: NodeId,
        evidence: (Evidence, u32),
        second: u32,
    ) {
        // The name of all that found no room stands for many addresses.
        if address != Nodes::OTHER && address != service {
            self.addresses.learn(address, service, evidence, second);
        }
    }

    /// Returns the service at an address, with the second since which it is there; `None` if there may be several.
    pub(in crate::live) fn service_at(
        &self,
        address: NodeId,
        second: u32,
    ) -> Option<(NodeId, u32)> {
        self.addresses.service(address, second)
    }

    pub(in crate::live) fn addresses_of(
        &self,
        service: NodeId,
        second: u32,
    ) -> impl Iterator<Item = NodeId> {
        self.addresses.of(service, second)
    }

    /// Takes the services that answered at addresses, as far as the journal lacks them.
    pub(in crate::live) fn take_unwritten(&mut self) -> Vec<Answered> {
        self.addresses.take_unwritten()
    }

    /// Takes the addresses that calls without an answer named, and at which no service answered before.
    pub(in crate::live) fn take_asked(&mut self) -> HashSet<NodeId> {
        self.addresses.take_asked()
    }
}
