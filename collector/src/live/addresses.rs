//! Names the services at addresses: for links and spans that name only the address, and by what instances registered.

use std::collections::{HashMap, HashSet};

use opentelemetry::SpanId;

use super::Live;
use super::dependencies::{Evidence, peer_name};
use super::names::{NodeId, Nodes};
use super::registry::Registry;
use crate::model::{DependencyLink, Registration, SECOND, SpanKind, Trace, UnixNanos};

/// How much later than its end a span usually arrives at most: exporters send every few seconds.
const ARRIVAL_SECONDS_MAX: u32 = 60;
/// The port that a URL with each scheme leaves out.
const DEFAULT_PORTS: [u16; 2] = [80, 443];

impl Live {
    /// Replaces callees that are addresses by the services that are there.
    pub(crate) fn name_callees(&self, links: &mut [DependencyLink], now: UnixNanos) {
        let figures = self.shared.figures();
        for link in links.iter_mut().filter(|link| link.child_is_virtual) {
            let address = figures.nodes.find(&link.child);
            let found = address.and_then(|node| figures.dependencies.service_at(node, second(now)));
            if let Some((service, _)) = found {
                link.child = figures.nodes.name(service).to_string();
                link.child_is_virtual = !figures.nodes.sends_spans(service);
            }
        }
    }

    /// Returns the services that calls of a trace were for, of those that name only an address, as far as known.
    pub fn callees(&self, trace: &Trace) -> HashMap<SpanId, String> {
        let calls = trace.spans.iter();
        let calls = calls.filter(|span| matches!(span.kind, SpanKind::Client | SpanKind::Producer));
        let named: Vec<_> = calls.map(|span| (span, peer_name(span))).collect();
        let (figures, now) = (self.shared.figures(), second(UnixNanos::now()));
        let found = named.into_iter().filter_map(|(span, address)| {
            let address = figures.nodes.find(&address)?;
            let (service, since) = figures.dependencies.service_at(address, now)?;
            // Before that it may have been another's; spans arrive some time after they ended.
            let is_of_then = since <= second(span.end).saturating_add(ARRIVAL_SECONDS_MAX);
            is_of_then.then(|| (span.span_id, figures.nodes.name(service).to_string()))
        });
        found.collect()
    }

    /// Returns the known addresses of a service, whose name is given in lower case.
    pub(crate) fn addresses_of(&self, service: &str) -> HashSet<String> {
        let figures = self.shared.figures();
        let services = figures.nodes.called(service);
        let now = second(UnixNanos::now());
        let addresses = services.flat_map(|node| figures.dependencies.addresses_of(node, now));
        addresses
            .map(|node| figures.nodes.name(node).to_string())
            .collect()
    }

    /// Looks up in the registry the addresses that calls named, and at which no service answered; a running collector does
    /// this every few seconds.
    pub(crate) fn ask_registry(&self, registry: &Registry, now: UnixNanos) {
        let asked: HashSet<String> = {
            let mut figures = self.shared.figures();
            let asked = figures.dependencies.take_asked();
            let names = asked.into_iter().map(|node| figures.nodes.name(node));
            names.map(ToString::to_string).collect()
        };
        if asked.is_empty() {
            return;
        }
        let registered = registry.registered_at(&asked);
        let mut figures = self.shared.figures();
        for (address, (service, since)) in registered {
            let Some(address) = figures.nodes.find(&address) else {
                continue;
            };
            // Eureka's clients register in capitals.
            let known = figures.nodes.called(&service.to_lowercase()).next();
            let service = known.unwrap_or_else(|| figures.nodes.peer(&service));
            let evidence = (Evidence::Registered, second(since));
            figures
                .dependencies
                .learn_address(address, service, evidence, second(now));
        }
    }
}

impl Registry {
    /// Returns which service registered each of these addresses, and since when; not those that several have.
    fn registered_at(&self, asked: &HashSet<String>) -> HashMap<String, (String, UnixNanos)> {
        // Names of hosts have no case.
        let asked: HashMap<_, _> = asked
            .iter()
            .map(|name| (name.to_lowercase(), name))
            .collect();
        let gone = self.gone().into_iter().map(|gone| gone.last);
        let instances = gone.chain(self.all());
        let mut found: HashMap<String, Option<(String, UnixNanos)>> = HashMap::new();
        for instance in instances {
            let registered = instance.registered;
            let service = &registered.registration.service;
            for address in addresses(&registered.registration) {
                let Some(address) = asked.get(&address.to_lowercase()) else {
                    continue;
                };
                let known = found
                    .entry((*address).clone())
                    .or_insert_with(|| Some((service.clone(), registered.since)));
                if known.as_ref().is_some_and(|known| known.0 != *service) {
                    *known = None;
                }
            }
        }
        let found = found.into_iter();
        found
            .filter_map(|(address, service)| Some((address, service?)))
            .collect()
    }
}

/// Returns the addresses by which clients call an instance, as their spans name them.
fn addresses(registration: &Registration) -> Vec<String> {
    let Registration {
        host,
        ip,
        port,
        secure_port,
        ..
    } = registration;
    let hosts = [host, ip].into_iter().filter(|host| !host.is_empty());
    let ports = [port, secure_port].into_iter();
    let ports = ports.filter(|port| port.is_enabled && port.number > 0);
    let of_host = |host: &String| {
        let ports = ports.clone().flat_map(move |port| {
            let alone = DEFAULT_PORTS.contains(&port.number).then(|| host.clone());
            alone.into_iter().chain([format!("{host}:{}", port.number)])
        });
        ports.collect::<Vec<_>>()
    };
    let virtual_addresses = [&registration.vip, &registration.secure_vip].into_iter();
    let virtual_addresses = virtual_addresses.flat_map(|list| list.split(','));
    let virtual_addresses = virtual_addresses.filter(|address| !address.is_empty());
    hosts
        .flat_map(of_host)
        .chain(virtual_addresses.map(str::to_owned))
        .collect()
}

fn second(time: UnixNanos) -> u32 {
    u32::try_from(time.window(SECOND)).unwrap_or(u32::MAX)
}

impl Nodes {
    /// Returns the services of a name in lower case.
    fn called<'a>(&'a self, name: &'a str) -> impl Iterator<Item = NodeId> + use<'a> {
        let known = self.sending();
        known.filter_map(move |(id, known)| (known.to_lowercase() == name).then_some(id))
    }
}
