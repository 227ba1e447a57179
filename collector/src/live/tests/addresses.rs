//! Calls that nobody answered, of clients that name only an address.

use super::*;
use crate::live::dependencies::SHARED_SECONDS;

/// A call from `shop` to `address`, through a breaker; `served_by` answered it unless it is empty.
fn call(trace: u64, address: &str, served_by: &'static str) -> Vec<Hand> {
    let (host, port) = address.rsplit_once(':').expect("host and port");
    let mut client = hand("shop", Client, 2, 1)
        .with(BREAKER_NAME, "review")
        .with("server.address", host)
        .with("server.port", port);
    client.error = served_by.is_empty();
    let mut spans = vec![client];
    if !served_by.is_empty() {
        spans.push(hand(served_by, Server, 3, 2));
    }
    spans.iter_mut().for_each(|span| span.trace = trace);
    spans
}

fn later(bench: &mut Bench, second: u64) {
    bench.send(0, second, &[]);
}

/// *Scenario*: a service answers at an address, then its process is killed, and calls are refused.
/// *Guarantees*: refused calls are calls of that service, and its breaker protects it.
#[test]
fn a_refused_call_is_one_of_the_service_that_was_at_the_address() {
    let mut bench = Bench::new();
    bench.send(0, 0, &call(1, "10.0.0.7:8080", "review"));
    bench.send(1, 60, &call(2, "10.0.0.7:8080", ""));
    bench.send(0, 60, &call(3, "10.0.0.8:8080", ""));
    later(&mut bench, 200);
    assert_eq!(
        bench.edges(),
        ["shop > 10.0.0.8:8080 1/1", "shop > review 2/1"]
    );
    let target = |target: &str| ("shop".to_owned(), "review".to_owned(), target.to_owned());
    assert!(bench.learnt.contains(&target("review")));
}

/// *Scenario*: one attribute is the whole URL, another service answers at the same host through another port.
#[test]
fn addresses_of_urls_are_known_as_well() {
    let mut bench = Bench::new();
    let url = |trace, port: &str, served_by: &'static str| {
        let mut spans = call(trace, "x:1", served_by);
        let url = format!("http://user@localhost:{port}/a?b");
        spans[0].attributes = vec![("http.url", url)];
        spans
    };
    bench.send(0, 0, &url(1, "81", "review"));
    bench.send(0, 0, &url(2, "82", "price"));
    bench.send(0, 60, &url(3, "81", ""));
    later(&mut bench, 200);
    assert_eq!(bench.edges(), ["shop > price 1/0", "shop > review 2/1"]);
}

/// *Scenario*: two services answer at one address, by turns.
/// *Guarantees*: a call that nobody answered is of neither, until only one of them answered for a while.
#[test]
fn an_address_of_several_services_is_of_none() {
    let mut bench = Bench::new();
    for (at, service) in [(0, "review"), (1, "price"), (2, "review")] {
        bench.send(0, at, &call(at, "proxy:80", service));
    }
    bench.send(0, 10, &call(11, "proxy:80", ""));
    later(&mut bench, 100);
    assert!(bench.edges().contains(&"shop > proxy:80 1/1".to_owned()));
    let end = 2 + u64::from(SHARED_SECONDS);
    bench.send(0, end, &call(12, "proxy:80", ""));
    later(&mut bench, end + 100);
    assert!(bench.edges().contains(&"shop > review 3/1".to_owned()));
}

/// *Scenario*: a call names a database at an address at which a service answered, and another names its peer.
#[test]
fn a_named_peer_is_not_one_of_the_address() {
    let mut bench = Bench::new();
    bench.send(0, 0, &call(1, "10.0.0.7:8080", "review"));
    for (trace, key, name) in [(2, "db.name", "orders"), (3, "peer.service", "stock")] {
        let mut spans = call(trace, "10.0.0.7:8080", "");
        spans[0] = spans[0].clone().with(key, name);
        bench.send(0, 1, &spans);
    }
    later(&mut bench, 200);
    assert_eq!(
        bench.edges(),
        ["shop > orders 1/1", "shop > review 1/0", "shop > stock 1/1"]
    );
}
