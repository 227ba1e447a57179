//! Which service is at an address. A call that was refused names only the address, and belongs to the service that
//! had it before. Learnt from calls whose other half arrived, and from the registry.

use std::collections::{HashMap, HashSet};

use crate::live::names::NodeId;

/// How long an address is known after the last evidence: a service that is down over night keeps its name.
pub(in crate::live) const KNOWN_SECONDS: u32 = 86_400;
/// How long an address belongs to no service after two services answered there, as behind a load balancer.
pub(in crate::live) const SHARED_SECONDS: u32 = 600;

/// How long after it was written an address that is still used is written again.
const WRITTEN_EVERY_SECONDS: u32 = 3_600;

/// The services at addresses. An address is a peer, so there are at most as many as peers.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    owners: HashMap<NodeId, Owner>,
    /// Addresses without a service that answered there, which calls named since they were last taken.
    asked: HashSet<NodeId>,
}

/// How it is known which service is at an address; the better evidence is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::live) enum Evidence {
    /// An instance of the service registered with it.
    Registered,
    /// A service answered a call there.
    Answered,
}

#[derive(Debug, Clone, Copy)]
struct Owner {
    service: NodeId,
    evidence: Evidence,
    /// The second from which on the address is that of the service.
    since: u32,
    /// The second of the last evidence.
    seen: u32,
    /// The second in which another service had it last.
    shared: Option<u32>,
    /// The second until which the journal has it.
    written: Option<u32>,
}

/// A service that answered at an address, and the seconds in which it did so first and last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::live) struct Answered {
    pub(in crate::live) address: NodeId,
    pub(in crate::live) service: NodeId,
    pub(in crate::live) since: u32,
    pub(in crate::live) seen: u32,
}

impl Addresses {
    /// Notes that a service is at an address since a second.
    pub(super) fn learn(
        &mut self,
        address: NodeId,
        service: NodeId,
        (evidence, since): (Evidence, u32),
        second: u32,
    ) {
        let new = Owner {
            service,
            evidence,
            since,
            seen: second,
            shared: None,
            written: None,
        };
        let Some(known) = self.owners.get_mut(&address) else {
            self.owners.insert(address, new);
            return;
        };
        let is_known = known.is_known(second);
        if is_known && known.evidence > evidence {
            return;
        }
        if known.service == service {
            known.seen = second;
            known.evidence = evidence;
            return;
        }
        // A registration ends when the instance does; answers of two services may come from behind one address.
        let both_answered = is_known && known.evidence == Evidence::Answered;
        let shared = both_answered.then_some(second);
        *known = Owner { shared, ..new };
    }

    /// Returns the service at an address, with the second since which it is there; `None` if there may be several.
    pub(super) fn service(&self, address: NodeId, second: u32) -> Option<(NodeId, u32)> {
        let owner = self.owners.get(&address)?;
        let is_shared = owner
            .shared
            .is_some_and(|shared| second < shared + SHARED_SECONDS);
        (owner.is_known(second) && !is_shared).then_some((owner.service, owner.since))
    }

    /// Returns the service that a call without an answer was for: that at the address, or the address itself.
    pub(super) fn called(&mut self, address: NodeId, second: u32) -> NodeId {
        let owner = self.owners.get(&address);
        if owner.is_none_or(|owner| owner.evidence < Evidence::Answered || !owner.is_known(second))
        {
            self.asked.insert(address);
        }
        self.service(address, second)
            .map_or(address, |(service, _)| service)
    }

    /// Takes what the journal lacks: new addresses, and those that were used for long since they were written.
    pub(super) fn take_unwritten(&mut self) -> Vec<Answered> {
        let unwritten = self.owners.iter_mut().filter(|(_, owner)| {
            let is_written = |written| owner.seen < written + WRITTEN_EVERY_SECONDS;
            owner.evidence == Evidence::Answered && !owner.written.is_some_and(is_written)
        });
        let taken = unwritten.map(|(address, owner)| {
            owner.written = Some(owner.seen);
            Answered {
                address: *address,
                service: owner.service,
                since: owner.since,
                seen: owner.seen,
            }
        });
        taken.collect()
    }

    /// Takes the addresses that calls named, and at which no service answered.
    pub(super) fn take_asked(&mut self) -> HashSet<NodeId> {
        std::mem::take(&mut self.asked)
    }

    pub(super) fn of(&self, service: NodeId, second: u32) -> impl Iterator<Item = NodeId> {
        let known = self.owners.keys();
        let is_there = move |address: &&NodeId| {
            let owner = self.service(**address, second);
            owner.is_some_and(|(owner, _)| owner == service)
        };
        known.filter(is_there).copied()
    }

    /// Forgets evicted names.
    pub(super) fn forget(&mut self, nodes: &HashSet<NodeId>) {
        self.asked.retain(|address| !nodes.contains(address));
        self.owners
            .retain(|address, owner| !nodes.contains(address) && !nodes.contains(&owner.service));
    }
}

impl Owner {
    fn is_known(&self, second: u32) -> bool {
        second < self.seen + KNOWN_SECONDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: NodeId = NodeId(1);
    const REVIEW: NodeId = NodeId(2);
    const PRICE: NodeId = NodeId(3);

    fn service(addresses: &Addresses, second: u32) -> Option<NodeId> {
        addresses
            .service(ADDRESS, second)
            .map(|(service, _)| service)
    }

    #[test]
    fn an_address_is_that_of_the_service_that_answered_there_last() {
        let mut addresses = Addresses::default();
        let answered = |second| (Evidence::Answered, second);
        assert_eq!(addresses.called(ADDRESS, 5), ADDRESS);
        addresses.learn(ADDRESS, REVIEW, answered(10), 10);
        addresses.learn(ADDRESS, REVIEW, answered(20), 20);
        assert_eq!(addresses.service(ADDRESS, 30), Some((REVIEW, 10)));
        assert_eq!(addresses.called(ADDRESS, 30), REVIEW);
        assert_eq!(addresses.of(REVIEW, 30).collect::<Vec<_>>(), [ADDRESS]);
        // Another service answers there: it may be a load balancer, or the address may have moved.
        addresses.learn(ADDRESS, PRICE, answered(40), 40);
        assert_eq!(service(&addresses, 40), None);
        assert_eq!(service(&addresses, 40 + SHARED_SECONDS - 1), None);
        assert_eq!(service(&addresses, 40 + SHARED_SECONDS), Some(PRICE));
        assert_eq!(service(&addresses, 40 + KNOWN_SECONDS), None);
    }

    #[test]
    fn the_registry_says_only_what_no_answer_has_said() {
        let mut addresses = Addresses::default();
        let registered = |since| (Evidence::Registered, since);
        addresses.learn(ADDRESS, REVIEW, registered(3), 10);
        assert_eq!(addresses.service(ADDRESS, 11), Some((REVIEW, 3)));
        addresses.learn(ADDRESS, PRICE, registered(12), 12);
        assert_eq!(service(&addresses, 12), Some(PRICE));
        addresses.learn(ADDRESS, REVIEW, (Evidence::Answered, 13), 13);
        addresses.learn(ADDRESS, PRICE, registered(14), 14);
        assert_eq!(service(&addresses, 14), Some(REVIEW));
        let later = 13 + KNOWN_SECONDS;
        addresses.learn(ADDRESS, PRICE, registered(later), later);
        assert_eq!(service(&addresses, later), Some(PRICE));
    }

    #[test]
    fn only_addresses_at_which_none_answered_are_asked_for() {
        let mut addresses = Addresses::default();
        addresses.called(ADDRESS, 1);
        assert_eq!(addresses.take_asked(), HashSet::from([ADDRESS]));
        addresses.learn(ADDRESS, REVIEW, (Evidence::Answered, 2), 2);
        addresses.called(ADDRESS, 3);
        assert!(addresses.take_asked().is_empty());
        addresses.forget(&HashSet::from([REVIEW]));
        assert_eq!(addresses.called(ADDRESS, 4), ADDRESS);
    }
}
