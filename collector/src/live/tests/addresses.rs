//! Calls without an answer, of clients that name only an address.

use opentelemetry::TraceId;

use super::*;
use crate::codec::otlp::{ScopeView, decode};
use crate::live::dependencies::SHARED_SECONDS;
use crate::live::registry::Registry;
use crate::model::{Port, Registration, Span, Trace};
use crate::store::series::SeriesLog;

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

/// The spans that it visited, as readers get them.
#[derive(Default)]
struct Read(Vec<Span>);

impl SpanVisitor for Read {
    fn resource(&mut self, _resource: &ResourceView<'_>) {}

    fn scope(&mut self, _scope: &ScopeView<'_>) {}

    fn span(&mut self, span: &SpanView<'_>) {
        let (resource, scope) = (Arc::default(), Arc::default());
        self.0.push(decode::span(span, &resource, &scope));
    }
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
/// *Guarantees*: a call without an answer is of neither, until only one of them answered for a while.
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

/// *Scenario*: an instance registered by Eureka's API, in capitals, and was killed before it answered any call; another
/// address is that of two services.
/// *Guarantees*: links that were counted for the address before are those of the service; so is what follows.
#[tokio::test]
async fn the_registry_names_addresses_at_which_none_answered() {
    let dir = tempfile::TempDir::new().unwrap();
    let counters = Arc::new(Counters::default());
    let log = SeriesLog::open(dir.path(), WEEK, Arc::clone(&counters)).unwrap();
    let circuits = Circuits::with_log(log.clone(), Arc::clone(&counters), UnixNanos::now());
    let live = Live::new(circuits.unwrap(), counters);
    let now = UnixNanos::now();
    let registry = Registry::open(log, now).unwrap();
    for (service, host) in [("REVIEW", "10.0.0.7"), ("A", "10.0.0.9"), ("B", "10.0.0.9")] {
        let registration = Registration {
            service: service.to_owned(),
            instance: "one".to_owned(),
            host: host.to_owned(),
            port: Port {
                number: 8080,
                is_enabled: true,
            },
            ..Registration::default()
        };
        registry.register(registration, now).await.unwrap();
    }
    registry.leave("REVIEW", "one", now).await.unwrap();
    let send = |trace, address, at: UnixNanos| {
        let mut tap = live.span_tap();
        tap.begin_request();
        let mut spans = call(trace, address, "");
        spans.push(hand("review", Server, 9, 0));
        spans.iter().for_each(|span| span.visit(&mut tap));
        tap.publish(at);
        live.maintain(at + Duration::from_secs(60));
    };
    send(1, "10.0.0.7:8080", now);
    send(2, "10.0.0.9:8080", now);
    let children = || {
        let mut links = live.dependencies(TimeRange::ALL);
        live.name_callees(&mut links, UnixNanos::now());
        let mut children: Vec<_> = links.into_iter().map(|link| link.child).collect();
        children.sort();
        children
    };
    assert_eq!(children(), ["10.0.0.7:8080", "10.0.0.9:8080"]);
    live.ask_registry(&registry, UnixNanos::now());
    assert_eq!(children(), ["10.0.0.9:8080", "review"]);
    let mut read = Read::default();
    call(4, "10.0.0.7:8080", "")[0].visit(&mut read);
    let mut trace = Trace {
        id: TraceId::from(4),
        spans: read.0,
        notes: Vec::new(),
        truncated: false,
    };
    let callee = |trace: &Trace| live.callees(trace).get(&trace.spans[0].span_id).cloned();
    assert_eq!(callee(&trace).as_deref(), Some("review"));
    trace.spans[0].end = now - Duration::from_secs(3_600);
    assert_eq!(callee(&trace), None, "it had not registered");
    assert!(live.addresses_of("review").contains("10.0.0.7:8080"));
    send(3, "10.0.0.7:8080", now + Duration::from_secs(120));
    assert!(
        live.dependencies(TimeRange::ALL)
            .iter()
            .any(|link| link.child == "review")
    );
}
