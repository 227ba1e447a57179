//! Senders that make names up: what is really there finds its place within minutes.

use super::*;
use crate::live::aging::IDLE_MINUTES;
use crate::live::names::{CIRCUITS_PER_SERVICE_MAX, OTHER};
use crate::model::MINUTE;

/// A minute in which nothing of the first one is in use.
const LATER: u64 = (IDLE_MINUTES + 2) * 60;

fn made_up(prefix: &str, number: usize) -> &'static str {
    Box::leak(format!("{prefix}-{number}").into_boxed_str())
}

fn call(client: &'static str, server: &'static str, trace: u64) -> Vec<Hand> {
    let mut spans = vec![hand(client, Client, 1, 0), hand(server, Server, 2, 1)];
    spans.iter_mut().for_each(|span| span.trace = trace);
    spans
}

impl Bench {
    /// Sends 11 requests of 100 invented services that call invented peers.
    fn flood(&mut self, second: u64, prefix: &str) {
        for request in 0..11 {
            let services = (0..100).map(|n| {
                let service = made_up(prefix, request * 100 + n);
                let mut span = hand(service, Server, 1, 0).with("peer.service", "web");
                span.trace = fastrand::u64(..);
                span
            });
            let peers = (0..100).map(|n| {
                let mut span = hand("web", Client, 1, 0);
                span.trace = fastrand::u64(..);
                span.with(
                    "peer.service",
                    &format!("{prefix}-peer-{}", request * 100 + n),
                )
            });
            let spans: Vec<_> = services.chain(peers).collect();
            self.send(0, second, &spans);
        }
        self.figures
            .dependencies
            .expire((NOW / SECOND + second) as u32 + 2 * WAIT_SECONDS);
    }

    fn calls_at(&self, service: &str, second: u64) -> u64 {
        let now = UnixNanos::new(NOW + second * SECOND);
        self.figures.service(service, now).red.calls
    }

    fn names(&self) -> BTreeSet<String> {
        let services = self.figures.nodes.services();
        services.map(|name| name.to_string()).collect()
    }

    fn has_edge(&self, edge: &str) -> bool {
        self.edges().iter().any(|known| known.starts_with(edge))
    }
}

/// *Scenario*: 1,100 services and as many peers, each seen once, fill the tables; a real service starts.
/// *Guarantees*: within minutes it has its own entry in the figures, the list and the map; one that keeps
/// sending retains its entry, and no call is lost.
#[test]
fn what_is_real_takes_the_place_of_names_seen_once() {
    let mut bench = Bench::new();
    bench.send(0, 0, &call("web", "shop", 1));
    bench.flood(0, "junk");
    bench.send(0, 0, &call("cart", "stock", 2));
    assert_eq!(bench.calls_at("stock", 0), 0, "the table is full");
    assert!(!bench.names().contains("stock"));
    let calls: u64 = bench.links().iter().map(|link| link.call_count).sum();
    let mut sent = 0;
    for second in (60..=LATER).step_by(60) {
        bench.send(0, second, &call("web", "shop", 10 + second));
        bench.send(1, second, &call("cart", "stock", 10_000 + second));
        sent += 2;
    }
    assert!(bench.names().contains("stock") && bench.names().contains("shop"));
    assert!(bench.calls_at("stock", LATER) > 0);
    assert_eq!(bench.calls_at("shop", LATER), IDLE_MINUTES + 1);
    assert!(bench.has_edge("cart > stock") && bench.has_edge("web > shop"));
    let later: u64 = bench.links().iter().map(|link| link.call_count).sum();
    assert_eq!(later, calls + sent);
}

/// *Guarantees*: an endless stream of made-up names never evicts a service that keeps sending; its calls are
/// its own in every block.
#[test]
fn an_endless_flood_displaces_nothing_in_use() {
    let mut bench = Bench::new();
    let minutes = 4 * IDLE_MINUTES;
    for minute in 0..minutes {
        bench.send(1, minute * 60, &call("web", "shop", minute + 1));
        bench.flood(minute * 60, made_up("flood", minute as usize));
    }
    let shop = bench.figures.red.totals();
    let shop: u64 = shop
        .iter()
        .filter(|operation| operation.name == "server shop")
        .map(|operation| operation.total.calls)
        .sum();
    assert_eq!(shop, minutes);
    assert!(bench.has_edge(&format!("web > shop {minutes}/")));
}

/// *Scenario*: made-up operations and breakers of one service fill its share.
/// *Guarantees*: other services have room at once, the same one within minutes.
#[test]
fn a_service_takes_no_more_than_its_share() {
    let mut bench = Bench::new();
    let made_up = |n: usize| {
        let mut span = hand("loud", Server, 1, 0).with(BREAKER_NAME, &format!("breaker {n}"));
        (span.trace, span.name) = (n as u64 + 1, format!("GET /{n}"));
        span
    };
    let spans: Vec<_> = (0..CIRCUITS_PER_SERVICE_MAX + 100).map(made_up).collect();
    bench.send(0, 0, &spans);
    let breaker_of = |service, trace| {
        let mut span = hand(service, Client, 1, 0).with(BREAKER_NAME, "real");
        span.trace = trace;
        vec![span, {
            let mut span = hand("stock", Server, 2, 1);
            span.trace = trace;
            span
        }]
    };
    let learnt = |bench: &Bench, service: &str| {
        let mut learnt = bench.learnt.iter();
        learnt.any(|(holder, name, _)| holder == service && name == "real")
    };
    bench.send(0, 0, &breaker_of("quiet", 5_001));
    assert!(learnt(&bench, "quiet"));
    bench.send(0, 0, &breaker_of("loud", 5_002));
    assert!(!learnt(&bench, "loud"));
    bench.send(0, LATER, &breaker_of("loud", 5_003));
    assert!(learnt(&bench, "loud"));
    let mut real = hand("loud", Server, 1, 0);
    (real.trace, real.name) = (5_004, "GET /real".to_owned());
    bench.send(0, LATER, &[made_up(5_004), real.clone()]);
    real.trace = 5_005;
    bench.send(0, LATER + 1, &[real]);
    let now = UnixNanos::new(NOW + LATER * SECOND);
    let operations = bench.figures.service("loud", now).operations;
    assert!(
        operations
            .iter()
            .any(|operation| operation.name == "GET /real")
    );
}

/// *Scenario*: a restart, before which the tables were full of names seen once.
/// *Guarantees*: a service that started after them gets its entry from the journal, and one that starts now
/// gets one at once.
#[test]
fn a_restart_ages_names_by_their_records() {
    let edge = |child: &str, minute: u64| {
        SeriesRecord::Dependency(DependencyMinute {
            parent: "web".to_owned(),
            child: child.to_owned(),
            child_is_virtual: false,
            minute: UnixNanos::new(NOW - NOW % nanos(MINUTE) + minute * nanos(MINUTE)),
            calls: 1,
            errors: 0,
            circuits: Vec::new(),
        })
    };
    let mut bench = Bench::new();
    for n in 0..1_100 {
        bench.figures.restore(&edge(&format!("junk-{n}"), 0));
    }
    for minute in 20..23 {
        bench.figures.restore(&edge("shop", minute));
    }
    assert!(bench.has_edge("web > shop"));
    bench.send(0, 24 * 60, &call("cart", "stock", 1));
    assert!(bench.has_edge("cart > stock"));
    assert!(bench.has_edge(&format!("{OTHER} > {OTHER}")));
}
