//! Spans by hand through taps into figures.

mod addresses;
mod flood;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fusebox::semconv::BREAKER_NAME;
use proptest::prelude::*;

use super::Live;
use super::aging::Age;
use super::circuits::Circuits;
use super::dependencies::{CALLS_MAX, OTHERS_MAX, WAIT_SECONDS};
use super::figures::Figures;
use super::tap::{Gathered, LiveTap};
use crate::codec::otlp::{AttributeView, ResourceView, SpanView, SpanVisitor, ValueView};
use crate::counters::{Counters, Incident};
use crate::model::{
    CircuitKey, DAY, DependencyLink, Dropped, SpanKind, TimeRange, UnixNanos, nanos,
};
use crate::store::series::{DependencyMinute, SeriesRecord};

const SECOND: u64 = 1_000_000_000;
const WEEK: Duration = Duration::from_secs(604_800);
const NOW: u64 = 1_800_000_000 * SECOND;
const KNOWS_REMOTE: u32 = 0x101;
const IS_REMOTE: u32 = 0x301;

/// A handwritten span.
#[derive(Debug, Clone)]
struct Hand {
    service: &'static str,
    trace: u64,
    id: u64,
    parent: u64,
    kind: SpanKind,
    flags: u32,
    error: bool,
    attributes: Vec<(&'static str, String)>,
    name: String,
}

fn hand(service: &'static str, kind: SpanKind, id: u64, parent: u64) -> Hand {
    Hand {
        service,
        trace: 7,
        id,
        parent,
        kind,
        flags: 0,
        error: false,
        attributes: Vec::new(),
        name: format!("{} {service}", kind.as_str()),
    }
}

impl Hand {
    fn with(mut self, key: &'static str, value: &str) -> Self {
        self.attributes.push((key, value.to_owned()));
        self
    }

    fn failed(mut self) -> Self {
        self.error = true;
        self
    }

    fn flagged(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    fn visit(&self, visitor: &mut impl SpanVisitor) {
        let attributes: Vec<_> = self
            .attributes
            .iter()
            .map(|(key, value)| AttributeView {
                key,
                value: ValueView::String(value),
            })
            .collect();
        visitor.resource(&ResourceView {
            attributes: &[],
            service_name: self.service,
            instance_id: "one",
            ..ResourceView::default()
        });
        visitor.span(&SpanView {
            trace_id: u128::from(self.trace).to_be_bytes(),
            span_id: self.id.to_be_bytes(),
            parent_span_id: self.parent.to_be_bytes(),
            trace_state: "",
            flags: self.flags,
            name: &self.name,
            kind: self.kind.as_otlp(),
            start: NOW,
            end: NOW + 5_000_000,
            status_code: if self.error { 2 } else { 0 },
            status_message: "",
            attributes: &attributes,
            events: &[],
            links: &[],
            dropped_attributes_count: 0,
            dropped_events_count: 0,
            dropped_links_count: 0,
            dropped_here: Dropped::default(),
        });
    }
}

/// Shards and their shared figures.
struct Bench {
    figures: Figures,
    shards: Vec<Gathered>,
    learnt: BTreeSet<(String, String, String)>,
    incidents: Vec<(Incident, u64)>,
}

impl Bench {
    fn new() -> Self {
        Self {
            figures: Figures::new(UnixNanos::new(NOW - 600 * SECOND), WEEK),
            shards: vec![Gathered::new(42), Gathered::new(42)],
            learnt: BTreeSet::new(),
            incidents: Vec::new(),
        }
    }

    /// Sends a request to a shard in a given second and publishes it.
    fn send(&mut self, shard: usize, second: u64, spans: &[Hand]) {
        self.figures
            .dependencies
            .expire((NOW / SECOND + second) as u32);
        let now = UnixNanos::new(NOW + second * SECOND);
        self.figures.make_room(Age::now(now));
        let tap = &mut self.shards[shard];
        tap.begin_request();
        spans.iter().for_each(|span| span.visit(tap));
        tap.publish(&mut self.figures, now);
        self.collect();
    }

    fn expire(&mut self) {
        let second = (NOW / SECOND) as u32 + 10 * WAIT_SECONDS;
        self.figures.dependencies.expire(second);
        self.collect();
    }

    fn collect(&mut self) {
        for (key, target) in self.figures.take_learnt() {
            self.learnt.insert((key.service, key.name, target));
        }
        let incidents = self.figures.take_incidents();
        self.incidents
            .extend(incidents.into_iter().filter(|(_, count)| *count > 0));
    }

    fn incident(&self, word: &str) -> u64 {
        let counts = self
            .incidents
            .iter()
            .filter(|(incident, _)| incident.as_str() == word);
        counts.map(|(_, count)| count).sum()
    }

    fn links(&self) -> Vec<DependencyLink> {
        self.figures.dependencies(TimeRange::ALL)
    }

    /// Returns the edges as `parent > child calls/errors`.
    fn edges(&self) -> Vec<String> {
        let mut edges: Vec<_> = self
            .links()
            .iter()
            .map(|link| {
                let DependencyLink {
                    parent,
                    child,
                    call_count,
                    error_count,
                    ..
                } = link;
                format!("{parent} > {child} {call_count}/{error_count}")
            })
            .collect();
        edges.sort();
        edges
    }

    fn calls(&self, service: &str) -> (u64, u64) {
        let red = self
            .figures
            .service(service, UnixNanos::new(NOW + 5 * SECOND))
            .red;
        (red.calls, red.errors)
    }
}

use SpanKind::{Client, Consumer, Internal, Producer, Server, Unspecified};

/// A request through three services, a breaker, a database and a queue.
fn shop() -> Vec<Hand> {
    vec![
        hand("gateway", Server, 1, 0).flagged(KNOWS_REMOTE),
        hand("gateway", Internal, 2, 1)
            .flagged(KNOWS_REMOTE)
            .with(BREAKER_NAME, "product"),
        hand("gateway", Client, 3, 2)
            .flagged(KNOWS_REMOTE)
            .with("server.address", "10.0.0.7"),
        hand("product", Server, 4, 3).flagged(IS_REMOTE),
        hand("product", Client, 5, 4)
            .with("db.system", "postgresql")
            .with("db.name", "shop"),
        hand("product", Internal, 6, 4).with(BREAKER_NAME, "inventory"),
        hand("product", Internal, 7, 6),
        hand("product", Client, 8, 7)
            .failed()
            .with("http.url", "http://inventory:80/x"),
        hand("inventory", Server, 9, 8),
        hand("product", Producer, 10, 4).with("messaging.system", "kafka"),
        hand("mail", Consumer, 11, 10),
        hand("product", Client, 12, 4)
            .with(BREAKER_NAME, "pay")
            .with("url.full", "https://pay.example/1"),
        hand("product", Client, 13, 12).with("url.full", "https://pay.example/1"),
        hand("legacy", Unspecified, 14, 9),
    ]
}

fn shop_edges() -> Vec<&'static str> {
    vec![
        "gateway > product 1/0",
        "inventory > legacy 1/0",
        "product > inventory 1/1",
        "product > mail 1/0",
        "product > pay.example 1/0",
        "product > postgresql/shop 1/0",
    ]
}

#[test]
fn a_request_through_a_shop_makes_each_edge_once() {
    let mut bench = Bench::new();
    bench.send(0, 0, &shop());
    bench.expire();
    assert_eq!(bench.edges(), shop_edges());
    let links = bench.links();
    let inventory = links.iter().find(|link| link.child == "inventory").unwrap();
    assert!(!inventory.child_is_virtual);
    assert_eq!(
        inventory.circuits,
        [CircuitKey {
            service: "product".to_owned(),
            name: "inventory".to_owned()
        }]
    );
    let database = links
        .iter()
        .find(|link| link.child.starts_with("postgresql"))
        .unwrap();
    assert!(database.child_is_virtual);
    let learnt: Vec<_> = bench
        .learnt
        .iter()
        .map(|(_, name, target)| (name.as_str(), target.as_str()))
        .collect();
    assert_eq!(
        learnt,
        [
            ("product", "product"),
            ("inventory", "inventory"),
            ("pay", "pay.example")
        ]
    );
    let unpaired = bench.incident("dependency_unpaired");
    assert_eq!(unpaired, 1, "pay.example; no half is missing of a database");
}

#[test]
fn pairs_show_before_anything_expires() {
    let mut bench = Bench::new();
    let spans = shop();
    bench.send(0, 0, &spans[3..]);
    bench.send(1, 6, &spans[..3]);
    assert!(bench.edges().contains(&"gateway > product 1/0".to_owned()));
    assert!(bench.learnt.contains(&(
        "gateway".to_owned(),
        "product".to_owned(),
        "product".to_owned()
    )));
}

#[test]
fn the_same_batch_twice_counts_once() {
    let mut bench = Bench::new();
    bench.send(0, 0, &shop());
    bench.send(1, 3, &shop());
    bench.expire();
    assert_eq!(bench.edges(), shop_edges());
    assert_eq!(bench.calls("product"), (1, 0));
    assert_eq!(bench.incident("live_repeated_span"), shop().len() as u64);
}

#[test]
fn a_root_server_has_no_caller_unless_it_names_one() {
    let mut bench = Bench::new();
    bench.send(
        0,
        0,
        &[
            hand("shop", Server, 1, 0),
            hand("shop", Server, 2, 0)
                .with("peer.service", "browser")
                .failed(),
            hand("shop", Server, 3, 99).with("peer.service", "browser"),
            hand("shop", Server, 4, 98),
        ],
    );
    bench.expire();
    assert_eq!(bench.edges(), ["browser > shop 2/1"]);
    assert_eq!(bench.calls("shop"), (4, 1));
}

#[test]
fn halves_that_share_an_id_are_one_call() {
    let client = hand("shop", Client, 2, 1).with("peer.service", "stock");
    let server = hand("stock", Server, 2, 1);
    let below = hand("stock", Client, 3, 2);
    let last = hand("price", Server, 4, 3);
    for order in [
        vec![client.clone(), server.clone(), below.clone(), last.clone()],
        vec![last, below, server, client],
    ] {
        let mut bench = Bench::new();
        order
            .iter()
            .for_each(|span| bench.send(0, 0, std::slice::from_ref(span)));
        order
            .iter()
            .for_each(|span| bench.send(1, 1, std::slice::from_ref(span)));
        bench.expire();
        assert_eq!(bench.edges(), ["shop > stock 1/0", "stock > price 1/0"]);
    }
}

#[test]
fn a_service_that_calls_itself_has_an_edge_and_work_inside_it_has_none() {
    let mut bench = Bench::new();
    bench.send(
        0,
        0,
        &[
            hand("shop", Server, 1, 0),
            hand("shop", Internal, 2, 1),
            hand("shop", Client, 3, 2),
            hand("shop", Server, 4, 3),
        ],
    );
    bench.expire();
    assert_eq!(bench.edges(), ["shop > shop 1/0"]);
}

#[test]
fn a_kindless_span_that_names_its_peer_is_a_client() {
    let mut bench = Bench::new();
    bench.send(
        0,
        0,
        &[hand("shop", Unspecified, 1, 0).with("peer.service", "cache")],
    );
    bench.expire();
    assert_eq!(bench.edges(), ["shop > cache 1/0"]);
}

/// *Scenario*: two services consume a message from the broker that its producer names; another consumer names
/// the broker itself.
/// *Guarantees*: the broker is between them and got the message once, and a named peer is known at once.
#[test]
fn a_broker_stands_between_producer_and_consumers() {
    for order in [[0, 1, 2], [2, 1, 0]] {
        let spans = [
            hand("shop", Producer, 1, 0).with("peer.service", "kafka"),
            hand("mail", Consumer, 2, 1),
            hand("stock", Consumer, 3, 1).with("peer.service", "kafka"),
        ];
        let mut bench = Bench::new();
        for (second, span) in (0..).zip(order) {
            bench.send(0, second, &spans[span..=span]);
            let [shop, kafka] = ["shop", "kafka"].map(|name| bench.figures.nodes.find(name));
            let peers = shop.map(|shop| bench.figures.dependencies.named_peers(shop));
            assert_eq!(peers.into_iter().flatten().next(), shop.and(kafka));
        }
        bench.expire();
        let links = bench.links();
        let links = links
            .iter()
            .map(|link| (&*link.parent, &*link.child, link.call_count));
        let links: BTreeSet<_> = links.collect();
        let expected = [
            ("kafka", "mail", 1),
            ("kafka", "stock", 1),
            ("shop", "kafka", 1),
        ];
        assert_eq!(links, BTreeSet::from(expected), "{order:?}");
    }
}

#[test]
fn a_late_half_after_the_wait_is_no_pair() {
    let mut bench = Bench::new();
    bench.send(
        0,
        0,
        &[hand("shop", Client, 1, 0).with("server.address", "10.1.1.1")],
    );
    bench.send(
        0,
        u64::from(WAIT_SECONDS) + 2,
        &[hand("stock", Server, 2, 1)],
    );
    bench.expire();
    assert_eq!(bench.edges(), ["shop > 10.1.1.1 1/0"]);
}

#[test]
fn a_request_that_turns_out_malformed_leaves_nothing() {
    let mut bench = Bench::new();
    let tap = &mut bench.shards[0];
    tap.begin_request();
    shop().iter().for_each(|span| span.visit(tap));
    tap.rollback_request();
    tap.publish(&mut bench.figures, UnixNanos::new(NOW));
    bench.expire();
    assert!(bench.links().is_empty());
    assert_eq!(bench.figures.nodes.services().count(), 0);
}

/// Guarantees: random services, operations, ids and peers fill no table beyond its limit, and all are
/// counted.
#[test]
fn a_flood_of_random_names_and_ids_stays_within_bounds() {
    let mut bench = Bench::new();
    let names: Vec<&'static str> = (0..3_000)
        .map(|n| &*Box::leak(format!("service {n}").into_boxed_str()))
        .collect();
    for round in 0..50u64 {
        let spans: Vec<_> = (0..6_000u64)
            .map(|n| {
                let id = 1 + round * 6_000 + n;
                let kind = [Server, Client, Internal][(n % 3) as usize];
                let service = names[(id % 3_000) as usize];
                let mut span =
                    hand(service, kind, id, id + 1_000_000).with("peer.service", &id.to_string());
                span.name = format!("GET /{id}");
                span
            })
            .collect();
        bench.send((round % 2) as usize, 0, &spans);
    }
    assert!(bench.figures.dependencies.waiting() <= CALLS_MAX + OTHERS_MAX);
    assert!(bench.figures.dependencies.capacity() > OTHERS_MAX);
    bench.expire();
    assert_eq!(bench.figures.dependencies.waiting(), 0);
    assert_eq!(bench.figures.dependencies.capacity(), 0);
    assert_eq!(bench.figures.nodes.services().count(), 1_001);
    assert!(bench.links().len() <= 4_097);
    let calls: u64 = bench
        .figures
        .red
        .totals()
        .iter()
        .map(|operation| operation.total.calls)
        .sum();
    assert_eq!(calls, 100_000);
    for word in ["dependency_table_full", "live_operation_limit"] {
        assert!(bench.incident(word) > 0, "{word}");
    }
}

/// Guarantees: a restart restores the calls of the whole retention, not only of a week.
#[tokio::test]
async fn a_restart_takes_back_what_the_retention_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let counters = Arc::new(Counters::default());
    let circuits = Circuits::open(dir.path(), 5 * WEEK, counters.clone()).unwrap();
    let minute = DependencyMinute {
        parent: "shop".to_owned(),
        child: "stock".to_owned(),
        child_is_virtual: false,
        minute: UnixNanos::new(UnixNanos::now().get() - 20 * nanos(DAY)),
        calls: 3,
        errors: 1,
        circuits: Vec::new(),
    };
    let records = vec![SeriesRecord::Dependency(minute)];
    circuits.series().append(records).await.unwrap();
    let live = Live::new(circuits, counters);
    let restored = async {
        while live.dependencies(TimeRange::ALL).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), restored)
        .await
        .unwrap();
    assert_eq!(live.dependencies(TimeRange::ALL)[0].call_count, 3);
}

/// Guarantees: a restart restores the edges, breakers and instances of the previous run.
#[tokio::test]
async fn a_restart_takes_the_map_back() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let counters = Arc::new(Counters::default());
        let circuits = Circuits::open(dir.path(), WEEK, counters.clone());
        Live::new(circuits.unwrap(), counters)
    };
    let now = UnixNanos::now().get();
    let live = open();
    let mut tap = live.span_tap();
    shop().iter().for_each(|span| span.visit(&mut tap));
    tap.publish(UnixNanos::new(now));
    let links = live.dependencies(TimeRange::ALL);
    assert!(!links.is_empty());
    let before = live.service("product", UnixNanos::new(now));
    assert!(before.red.calls > 0);
    live.finish().await;
    drop((tap, live));

    let again = open();
    let restored = async {
        while again.dependencies(TimeRange::ALL) != links {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), restored)
        .await
        .unwrap();
    let product = again.service("product", UnixNanos::new(now));
    assert_eq!(product.instances[0].id, "one");
    assert_eq!(product.instances[0].last_seen, UnixNanos::new(now));
    assert_eq!(
        (product.red.calls, product.red.p50_nanos),
        (before.red.calls, before.red.p50_nanos)
    );
    assert_eq!(product.operations.len(), before.operations.len());
    assert!(
        again.operation_figures(10).is_empty(),
        "nothing is counted twice"
    );

    // A third run, still within the minute: the second must not have written what the first had.
    again.finish().await;
    drop(again);
    let third = open();
    let restored = async {
        while third.service("product", UnixNanos::new(now)).red.calls == 0
            || third.dependencies(TimeRange::ALL).is_empty()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), restored)
        .await
        .unwrap();
    assert_eq!(third.dependencies(TimeRange::ALL), links);
    assert_eq!(
        third.service("product", UnixNanos::new(now)).red.calls,
        before.red.calls
    );
}

/// *Scenario*: the spans of calls arrive hours after they began, before and after their minute was written, after more than
/// the retention, and before they began.
/// *Guarantees*: calls count in the minute in which they began, or else of their arrival; a restart knows the same.
#[test]
fn calls_count_when_they_began() {
    let hour = 3_600;
    let calls = |figures: &Figures, second: u64| {
        let range = TimeRange {
            start: UnixNanos::new(NOW + second * SECOND),
            end: UnixNanos::new(NOW + (second + 20 * 60) * SECOND),
        };
        let links = figures.dependencies(range);
        links.iter().map(|link| link.call_count).sum::<u64>()
    };
    let of_trace = |trace: u64| {
        let one = |mut span: Hand| {
            span.trace = trace;
            span
        };
        shop().into_iter().map(one).collect::<Vec<_>>()
    };
    let mut bench = Bench::new();
    let mut records = Vec::new();
    let mut write = |bench: &mut Bench, second: u64| {
        let now = UnixNanos::new(NOW + second * SECOND);
        records.extend(bench.figures.take_finished(now, false));
    };
    for (trace, second) in [(1, 0), (2, hour), (3, 3 * hour), (4, 9 * 24 * hour)] {
        bench.send(0, second, &of_trace(trace));
        bench
            .figures
            .dependencies
            .expire((NOW / SECOND + second) as u32 + 10 * WAIT_SECONDS);
        write(&mut bench, second + 20 * 60);
        let is_kept = second <= 3 * hour;
        let on_arrival = calls(&bench.figures, second);
        assert_eq!(
            on_arrival,
            if is_kept && second > 0 { 0 } else { 6 },
            "{second}"
        );
        let begun = calls(&bench.figures, 0);
        assert_eq!(begun, if is_kept { 6 * trace } else { 0 }, "{second}");
    }
    let mut again = Figures::new(UnixNanos::new(NOW + 3 * hour * SECOND), WEEK);
    let of_first_day = records.iter().filter(|record| match record {
        SeriesRecord::Dependency(minute) => {
            minute.minute < UnixNanos::new(NOW + 24 * hour * SECOND)
        }
        _ => false,
    });
    of_first_day.for_each(|record| again.restore(record));
    assert_eq!(calls(&again, 0), 18);
    let mut early = Bench::new();
    let before = UnixNanos::new(NOW - 300 * SECOND);
    of_trace(5)
        .iter()
        .for_each(|span| span.visit(&mut early.shards[0]));
    early.shards[0].publish(&mut early.figures, before);
    let range = TimeRange::until(UnixNanos::new(NOW - 200 * SECOND), Duration::from_secs(200));
    assert!(!early.figures.dependencies(range).is_empty());
}

/// *Scenario*: the clock jumps ahead by a thousand years, and back.
/// *Guarantees*: the figures are not scanned for every minute between.
#[test]
fn a_clock_that_jumps_costs_no_more_than_the_minutes_kept() {
    let mut bench = Bench::new();
    bench.send(0, 0, &shop());
    let year = 365 * 24 * 3_600 * SECOND;
    let figures = &mut bench.figures;
    assert!(!figures.take_finished(UnixNanos::new(NOW), true).is_empty());
    assert!(
        figures
            .take_finished(UnixNanos::new(NOW.saturating_add(500 * year)), false)
            .is_empty()
    );
    assert!(figures.take_finished(UnixNanos::new(NOW), false).is_empty());
}

/// *Scenario*: the clock is a day ahead for a moment, during which spans arrive, and is then corrected.
/// *Guarantees*: the minutes before and after it are counted and written under their own times.
#[test]
fn minutes_after_a_corrected_clock_are_written() {
    let mut bench = Bench::new();
    let day = 86_400;
    let requests = |trace| {
        shop()
            .into_iter()
            .map(|span| Hand { trace, ..span })
            .collect::<Vec<_>>()
    };
    let written = |bench: &mut Bench, second| {
        let now = UnixNanos::new(NOW + second * SECOND);
        let records = bench.figures.take_finished(now, false);
        let red = records
            .iter()
            .filter(|record| matches!(record, SeriesRecord::Red(_)));
        let mut minutes: Vec<u64> = red
            .map(|record| (record.time().get() - NOW) / SECOND)
            .collect();
        minutes.dedup();
        minutes
    };
    assert!(written(&mut bench, 0).is_empty());
    bench.send(0, 0, &requests(1));
    bench.send(0, day, &requests(2));
    assert_eq!(written(&mut bench, day + 60), [0, day]);
    for second in [120, 180, 240] {
        bench.send(0, second, &requests(second));
        assert!(written(&mut bench, second).len() <= 1);
    }
    assert_eq!(written(&mut bench, 300), [240]);
    let now = UnixNanos::new(NOW + 300 * SECOND);
    let minutes = bench.figures.service("gateway", now).minutes;
    let calls: Vec<u64> = minutes.iter().map(|minute| minute.calls).collect();
    let [.., a, b, c] = calls[..] else {
        panic!("{calls:?}");
    };
    assert!(a > 0 && a == b && b == c, "{calls:?}");
}

/// A span of a random tree: its parent is an earlier span or none.
fn random_span() -> impl Strategy<Value = (usize, usize, u8, u8, bool, u8)> {
    (
        any::<usize>(),
        0..3usize,
        0..6u8,
        0..3u8,
        any::<bool>(),
        0..6u8,
    )
}

fn tree(shape: &[(usize, usize, u8, u8, bool, u8)]) -> Vec<Hand> {
    const SERVICES: [&str; 3] = ["a", "b", "c"];
    let mut spans: Vec<Hand> = Vec::new();
    for (index, (parent, service, kind, flags, error, attribute)) in shape.iter().enumerate() {
        // One in eight hangs below a span that never comes.
        let parent = match parent % 8 {
            _ if index == 0 => None,
            0 => None,
            _ => Some(spans[parent % index].clone()),
        };
        let parent_id = parent
            .as_ref()
            .map_or(if index % 2 == 0 { 0 } else { 5_000 }, |span| span.id);
        let kind = SpanKind::from_otlp(u64::from(*kind));
        let mut span = hand(SERVICES[*service], kind, index as u64 + 1, parent_id);
        span.error = *error;
        span.flags = match (flags, &parent) {
            (0, _) => 0,
            (_, Some(parent)) if parent.service == span.service => KNOWS_REMOTE,
            _ => IS_REMOTE,
        };
        let circuits = ["x", "y", "z"];
        spans.push(match attribute {
            0 => span.with(BREAKER_NAME, circuits[*service]),
            1 => span.with("server.address", "db"),
            2 => span.with("db.system", "redis"),
            _ => span,
        });
    }
    spans
}

fn outcome(bench: &Bench) -> (Vec<String>, Vec<DependencyLink>, Vec<(u64, u64)>) {
    let calls = ["a", "b", "c"].map(|service| bench.calls(service));
    (bench.edges(), bench.links(), calls.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Guarantees: edges, breakers and calls do not depend on the order of arrival or on how spans are split
    /// into requests and shards, and a repeat changes nothing.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        shape in prop::collection::vec(random_span(), 1..24),
        order in prop::collection::vec((any::<u32>(), 0..2usize, any::<bool>(), 0..5u64), 24),
    ) {
        let spans = tree(&shape);
        let mut straight = Bench::new();
        straight.send(0, 0, &spans);
        straight.expire();

        let mut shuffled: Vec<_> = spans.iter().zip(&order).collect();
        shuffled.sort_by_key(|(_, (rank, ..))| *rank);
        let mut other = Bench::new();
        let mut second = 0;
        for (span, (_, shard, twice, wait)) in shuffled {
            // All within the wait: 24 spans, at most one second each.
            second += wait / 4;
            let times = if *twice { 2 } else { 1 };
            other.send(*shard, second, &vec![span.clone(); times]);
        }
        other.expire();
        prop_assert_eq!(outcome(&straight), outcome(&other));
        prop_assert_eq!(straight.learnt, other.learnt);
    }
}
