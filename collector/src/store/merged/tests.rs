//! Two collectors behind a load balancer that share one real InfluxDB: each shows what both know.

use std::sync::Arc;
use std::time::Duration;

use fusebox::circuit_breaker::EffectiveState;

use super::series::MergedSeries;
use super::union;
use crate::codec::circuits::request::{FakeBreaker, events, observed};
use crate::live::circuits::{CircuitChange, CircuitSink, Circuits};
use crate::model::{
    CircuitKey, CircuitView, CircuitWall, SHORTENED, Span, TimeRange, UnixNanos, Value,
};
use crate::store::Received;
use crate::store::embedded::tests::support::span;
use crate::store::influxdb::Peers;
use crate::store::influxdb::series::SeriesLane;
use crate::store::influxdb::series::tests::{Journal, Server};
use crate::store::influxdb::testing::Influxd;
use crate::store::series::{DependencyMinute, RedMinute, SeriesRecord};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

/// A collector with the lane that ships its journal.
struct Collector {
    journal: Journal,
    merged: Arc<MergedSeries>,
    circuits: Circuits,
    lane: SeriesLane,
}

impl Collector {
    fn new(server: &Server, own: &str) -> Self {
        let journal = Journal::new();
        let (log, counters) = (journal.log.clone(), Arc::clone(&journal.counters));
        let peers = Peers::new(Arc::clone(&server.client), own, counters.clone());
        let merged = MergedSeries::new(log.clone(), server.reader(own), Arc::new(peers));
        let merged = Arc::new(merged);
        let circuits = Circuits::with_others(log, merged.clone(), counters).unwrap();
        Self {
            lane: journal.lane(own),
            journal,
            merged,
            circuits,
        }
    }

    fn report(&self, server: &Server, breaker: &FakeBreaker, time: u64) {
        let ingested = self
            .circuits
            .ingest_metrics(observed(&breaker.metrics(time)), UnixNanos::new(time));
        server.runtime.block_on(ingested).unwrap();
    }

    fn turn(&self, server: &Server, breaker: &mut FakeBreaker, to: EffectiveState, time: u64) {
        let request = breaker.turn(to, time, "it failed");
        let ingested = self
            .circuits
            .ingest_events(events(&request), UnixNanos::new(time));
        server.runtime.block_on(ingested).unwrap();
    }

    /// Ships everything as of slightly later, so that the last seconds are complete.
    fn ship(&mut self, server: &Server) {
        let later = UnixNanos::now().get() + 20 * SECOND;
        server.ship_at(&mut self.lane, later);
    }

    fn wall(&self, server: &Server, at: Option<u64>) -> CircuitWall {
        server
            .runtime
            .block_on(self.circuits.wall(at.map(UnixNanos::new)))
            .unwrap()
            .value
    }

    fn view(&self, server: &Server, name: &str, at: Option<u64>) -> Option<CircuitView> {
        let key = key(name);
        let found = self.circuits.circuit(&key, at.map(UnixNanos::new));
        server.runtime.block_on(found).unwrap().value
    }
}

fn key(name: &str) -> CircuitKey {
    CircuitKey {
        service: "product-page".to_owned(),
        name: name.to_owned(),
    }
}

fn breaker(name: &'static str, instance: &'static str, start: u64) -> FakeBreaker {
    FakeBreaker {
        name,
        ..FakeBreaker::new(instance, start)
    }
}

/// Waits up to five minutes for a condition, because machines may be busy.
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("not within five minutes: {what}");
}

/// Scenario: breaker `stock` reports to one collector, `price` to another; `stock` opens.
/// Guarantees: both walls show both, now and in the past, with their calls and state changes; each change is
/// announced once per collector.
#[test]
fn two_collectors_show_the_breakers_of_both() {
    let dir = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(dir.path());
    let server = Server::connect(influxd.options("fusebox"));
    let mut a = Collector::new(&server, "aaaaaa");
    let mut b = Collector::new(&server, "bbbbbb");
    let now = UnixNanos::now().get();
    let begin = now - 120 * SECOND;
    let mut stock = breaker("stock", "pod-1", begin);
    let mut price = breaker("price", "pod-2", begin);
    for second in 0..110 {
        stock.count("success", -40, 8);
        price.count("success", -40, 4);
        a.report(&server, &stock, begin + second * SECOND);
        b.report(&server, &price, begin + second * SECOND);
    }
    a.turn(
        &server,
        &mut stock,
        EffectiveState::Open,
        begin + 60 * SECOND,
    );
    a.ship(&server);
    b.ship(&server);
    for (collector, of_other) in [(&a, "price"), (&b, "stock")] {
        server.runtime.spawn(collector.circuits.follow_others());
        wait_for("both breakers on the wall", || {
            collector.wall(&server, None).circuits.len() == 2
        });
        shows_the_past_of_both(collector, &server, begin);
        let view = collector.view(&server, of_other, Some(now)).unwrap();
        assert!(!view.instances[0].stale, "what it did may be on its way");
        counts_every_call_of_stock(collector, &server, begin);
    }
    let mut changes = b.circuits.subscribe();
    a.turn(
        &server,
        &mut stock,
        EffectiveState::HalfOpen,
        UnixNanos::now().get(),
    );
    a.ship(&server);
    wait_for(
        "the change of state at the other collector",
        || matches!(changes.try_recv(), Ok(CircuitChange::Transition(t)) if t.to == EffectiveState::HalfOpen),
    );
    let view = b.view(&server, "stock", None).unwrap();
    assert_eq!(view.state, EffectiveState::HalfOpen);
}

fn shows_the_past_of_both(collector: &Collector, server: &Server, begin: u64) {
    let past = Some(begin + 50 * SECOND);
    for (name, calls) in [("stock", 80), ("price", 40)] {
        let view = collector.view(server, name, past).unwrap();
        assert_eq!(view.calls.success, calls);
        assert_eq!(view.state, EffectiveState::Closed);
        assert!(!view.instances[0].stale, "{name}");
    }
    let view = collector.view(server, "stock", Some(begin + 70 * SECOND));
    assert_eq!(view.unwrap().state, EffectiveState::Open);
    let transitions = collector.circuits.transitions(None, TimeRange::ALL, 10);
    let transitions = server.runtime.block_on(transitions).unwrap().value;
    assert_eq!(transitions.len(), 1);
    assert_eq!(transitions[0].key, key("stock"));
}

fn counts_every_call_of_stock(collector: &Collector, server: &Server, begin: u64) {
    let range = TimeRange {
        start: UnixNanos::new(begin / MINUTE * MINUTE),
        end: UnixNanos::new((begin / MINUTE + 3) * MINUTE),
    };
    let stock = key("stock");
    let history = collector.circuits.history(&stock, range, 3);
    let history = server.runtime.block_on(history).unwrap().value;
    let calls = history.buckets.iter().map(|bucket| bucket.calls.success);
    assert_eq!(calls.sum::<u64>(), 110 * 8, "{history:?}");
}

/// Scenario: one instance alternates between two collectors every second; the opening reaches the first.
/// Guarantees: the wall shows one instance, all its calls, its state, and the call that opened it.
#[test]
fn an_instance_that_reports_by_turns_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(dir.path());
    let server = Server::connect(influxd.options("fusebox"));
    let mut a = Collector::new(&server, "aaaaaa");
    let mut b = Collector::new(&server, "bbbbbb");
    let begin = UnixNanos::now().get() - 40 * SECOND;
    // What goes to one collector is not counted for the other: deltas, as two instances of one name would.
    let mut first = breaker("stock", "pod-1", begin);
    let mut second = breaker("stock", "pod-1", begin);
    for step in 0..20 {
        first.count("success", -40, 10);
        second.count("failure", -40, 10);
        a.report(&server, &first, begin + 2 * step * SECOND);
        b.report(&server, &second, begin + (2 * step + 1) * SECOND);
    }
    a.turn(
        &server,
        &mut first,
        EffectiveState::Open,
        begin + 39 * SECOND,
    );
    a.ship(&server);
    b.ship(&server);
    for collector in [&a, &b] {
        server.runtime.spawn(collector.circuits.follow_others());
        wait_for("the instance as a whole", || {
            let Some(view) = collector.view(&server, "stock", None) else {
                return false;
            };
            let calls = &view.calls;
            view.instances.len() == 1
                && view.state == EffectiveState::Open
                && view.last_opened_by.is_some()
                && calls.success > 0
                && calls.failure > 0
        });
        let wall = collector.wall(&server, None);
        assert_eq!(wall.circuits.len(), 1);
        let spark = wall.circuits[0].spark.iter();
        let calls: u64 = spark.map(|bar| bar.calls.total()).sum();
        assert!((380..=400).contains(&calls), "{calls}");
    }
}

#[test]
fn dependencies_and_services_of_others_are_added_up() {
    let dir = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(dir.path());
    let server = Server::connect(influxd.options("fusebox"));
    let mut a = Collector::new(&server, "aaaaaa");
    let b = Collector::new(&server, "bbbbbb");
    let minute = UnixNanos::now().get() / MINUTE * MINUTE - 10 * MINUTE;
    let edge = |minute, calls| {
        SeriesRecord::Dependency(DependencyMinute {
            parent: "shop".to_owned(),
            child: "stock".to_owned(),
            child_is_virtual: false,
            minute,
            calls,
            errors: 1,
            circuits: vec![key("stock")],
        })
    };
    let red = SeriesRecord::Red(RedMinute {
        service: "stock".to_owned(),
        operation: "GET /".to_owned(),
        minute: UnixNanos::new(minute),
        calls: 1,
        errors: 0,
        latency_buckets: vec![(200, 1)],
    });
    // The same minute twice, as a restart leaves it, and a later one.
    let records = vec![
        edge(UnixNanos::new(minute), 3),
        edge(UnixNanos::new(minute), 4),
        edge(UnixNanos::new(minute + MINUTE), 5),
        red,
    ];
    server
        .runtime
        .block_on(a.journal.log.append(records))
        .unwrap();
    a.ship(&server);
    let links = |start, end| {
        let range = TimeRange { start, end };
        let links = b.merged.dependencies(range).value;
        links
            .first()
            .map(|link| (link.call_count, link.error_count, link.circuits.clone()))
    };
    let circuits = vec![key("stock")];
    assert_eq!(
        links(UnixNanos::new(minute + 1), UnixNanos::new(minute + 2)),
        Some((7, 2, circuits.clone()))
    );
    assert_eq!(
        links(UnixNanos::new(0), UnixNanos::MAX),
        Some((12, 3, circuits))
    );
    assert_eq!(
        links(UnixNanos::new(minute + 5 * MINUTE), UnixNanos::MAX),
        None
    );
    assert!(b.merged.service_names().value.contains("stock"));
    assert!(a.merged.dependencies(TimeRange::ALL).value.is_empty());
}

/// Scenario: InfluxDB stops.
/// Guarantees: local data is shown, data of other collectors for a while; the failure is counted.
#[test]
fn without_influxdb_what_is_local_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut influxd = Influxd::start(dir.path());
    let server = Server::connect(influxd.options("fusebox"));
    let mut a = Collector::new(&server, "aaaaaa");
    let b = Collector::new(&server, "bbbbbb");
    assert!(b.merged.ask(|_| Ok(())).unwrap().is_none());
    let now = UnixNanos::now().get();
    let stock = breaker("stock", "pod-1", now - 5 * SECOND);
    let price = breaker("price", "pod-2", now - 5 * SECOND);
    a.report(&server, &stock, now - SECOND);
    b.report(&server, &price, now - SECOND);
    a.ship(&server);
    let b_anew = Collector::new(&server, "bbbbbb");
    b_anew.report(&server, &price, now - SECOND);
    server.runtime.spawn(b_anew.circuits.follow_others());
    wait_for("both breakers", || {
        b_anew.wall(&server, None).circuits.len() == 2
    });
    influxd.stop();
    let past = |at| server.runtime.block_on(b_anew.circuits.wall(Some(at)));
    let own = past(UnixNanos::now()).unwrap();
    assert_eq!(own.value.circuits.len(), 1);
    let words = own.missing_words().unwrap();
    assert!(
        words.contains("what other collectors may have received is missing"),
        "{words}"
    );
    let nothing = past(UnixNanos::new(now - 3_600 * SECOND));
    assert!(nothing.is_err(), "others may have had breakers then");
    let (key, range) = (key("stock"), TimeRange::ALL);
    let history = b_anew.circuits.history(&key, range, 3);
    assert!(server.runtime.block_on(history).is_err());
    let transitions = b_anew.circuits.transitions(None, range, 10);
    assert!(server.runtime.block_on(transitions).is_err());
    assert!(b_anew.merged.dependencies(range).missing.is_some());
    assert_eq!(b_anew.wall(&server, None).circuits.len(), 2);
    let failures = b_anew.journal.counters.incidents.all();
    assert!(
        failures
            .get("influxdb_read_failed")
            .is_some_and(|count| *count > 0)
    );
}

fn received(spans: Vec<Span>) -> Received {
    let is_cut = false;
    Received { spans, is_cut }
}

/// *Scenario*: both stores have the same 20,000 different spans with one id, and each has one more.
/// *Guarantees*: spans in both appear once, without comparing all pairs.
#[test]
fn many_spans_of_one_id_are_joined() {
    let made = |numbers: std::ops::Range<i64>| {
        let one = |number| {
            let mut one = span(1, 1, "shop");
            one.attributes = vec![("n".to_owned(), Value::Int(number))];
            one
        };
        received(numbers.map(one).collect())
    };
    let trace = union(made(0..20_001), made(1..20_002)).unwrap().unwrap();
    assert_eq!(trace.spans.len(), 20_002);
    let codes: Vec<_> = trace.notes.iter().map(|note| note.code).collect();
    assert_eq!(codes, ["differs"]);
}

/// *Scenario*: a span was reported when it began and again when it ended; one store has one part, the other
/// both.
/// *Guarantees*: it is one span, and a repeat by its sender is still counted.
#[test]
fn parts_of_a_span_in_two_stores_are_one_span() {
    let end = span(1, 1, "shop");
    let mut begin = end.clone();
    begin.end = UnixNanos::new(0);
    begin.attributes = vec![("part".to_owned(), Value::Int(1))];
    let both = vec![begin.clone(), end.clone()];
    for (local, remote) in [
        (vec![begin.clone()], both.clone()),
        (both.clone(), vec![end.clone()]),
        (vec![end.clone()], vec![begin.clone()]),
        (both.clone(), both),
    ] {
        let trace = union(received(local), received(remote)).unwrap().unwrap();
        let [whole] = &trace.spans[..] else {
            panic!("one span: {:?}", trace.spans);
        };
        assert_eq!(whole.end, end.end);
        assert!(whole.attribute("part").is_some());
        let codes: Vec<_> = trace.notes.iter().map(|note| note.code).collect();
        assert_eq!(codes, ["parts_merged"]);
    }
    let twice = vec![end.clone(), end.clone()];
    let trace = union(received(vec![end]), received(twice)).unwrap();
    let notes = trace.unwrap().notes;
    assert_eq!(notes[0].message, "received 2 times, shown once");
}

/// *Scenario*: one store shortened a span that did not fit; the other has it whole.
/// *Guarantees*: the whole one is shown, without a note about a repeat.
#[test]
fn a_shortened_copy_makes_room_for_the_whole() {
    let mut whole = span(1, 1, "shop");
    whole.attributes = vec![("long".to_owned(), Value::String("x".repeat(100)))];
    let mut short = whole.clone();
    short.attributes = vec![(SHORTENED.to_owned(), Value::Bool(true))];
    for (local, remote) in [(&whole, &short), (&short, &whole)] {
        let parts = [local, remote].map(|one| received(vec![one.clone()]));
        let [local, remote] = parts;
        let trace = union(local, remote).unwrap().unwrap();
        assert_eq!(trace.spans, [whole.clone()]);
        assert!(trace.notes.is_empty(), "{:?}", trace.notes);
    }
}
