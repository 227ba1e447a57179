//! What a frame says of the wall's breakers, and when a reader gets it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::Wanted;
use super::frame::{Frame, Peaks};
use super::reader::Reader;
use crate::live::circuits::CircuitFigures;
use crate::model::{
    CircuitCalls, CircuitInstanceView, CircuitKey, CircuitSettings, CircuitView, LatencyView,
    Source, UnixNanos,
};

fn instance(id: &str, state: EffectiveState, stale: bool) -> CircuitInstanceView {
    CircuitInstanceView {
        id: id.to_owned(),
        state,
        since: UnixNanos::default(),
        heard: None,
        last_seen: UnixNanos::default(),
        stale,
        error_percent: None,
        calls: CircuitCalls::default(),
        calls_per_second: 0.0,
        latency: LatencyView::default(),
        in_flight: 0,
    }
}

fn figures(in_flight: u64, instances: Vec<CircuitInstanceView>) -> CircuitFigures {
    let view = CircuitView {
        key: CircuitKey {
            service: "shop".to_owned(),
            name: "stock".to_owned(),
        },
        target: String::new(),
        source: Source::Resilience4j,
        state: EffectiveState::Closed,
        since: UnixNanos::default(),
        retry_at: None,
        forced: None,
        error_percent: None,
        window_ms: 10_000,
        calls: CircuitCalls {
            success: 12,
            failure: 4,
            timeout: 2,
            rejected: 5,
            bulkhead_full: 2,
            ignored: 1,
            ..CircuitCalls::default()
        },
        calls_per_second: 2.6,
        rejected_per_second: 0.5,
        latency: LatencyView::default(),
        in_flight,
        spark: Vec::new(),
        reason: String::new(),
        last_opened_by: None,
        outage: None,
        own_window: None,
        settings: CircuitSettings {
            minimum_calls: Some(20),
            ..CircuitSettings::default()
        },
        instances,
    };
    let index = LatencyHistogram::index_of_seconds(0.03);
    CircuitFigures {
        view,
        latency: LatencyHistogram::from_buckets([(index, 18)]),
    }
}

fn frame(peaks: &mut Peaks, figures: CircuitFigures) -> (usize, Vec<Value>) {
    let now = UnixNanos::new(1_795_428_000_000_000_000);
    let frame = Frame::new(&[figures], Vec::new(), peaks, now);
    let object = |row: &super::row::Row| {
        serde_json::to_value(row.event("stock", None, frame.time_ms)).unwrap()
    };
    (frame.hosts, frame.rows.iter().map(object).collect())
}

/// Guarantees: the hosts are the reporting instances, and each figure is their sum.
#[test]
fn a_breaker_of_three_instances_is_one_object() {
    use EffectiveState::{Closed, HalfOpen, Open};
    let instances = vec![
        instance("a", Open, false),
        instance("b", HalfOpen, false),
        instance("c", Closed, false),
        instance("d", Open, true),
    ];
    let (hosts, objects) = frame(&mut Peaks::default(), figures(3, instances));
    assert_eq!((hosts, objects.len()), (3, 1));
    let object = &objects[0];
    assert_eq!(
        object["isCircuitBreakerOpen"],
        serde_json::json!({ "true": 2, "false": 1 })
    );
    for (field, value) in [
        ("reportingHosts", 3_i64),
        // Of 20 judged calls 8 failed, as the library did not say that calls without a slot are none.
        ("requestCount", 20),
        ("errorCount", 8),
        ("errorPercentage", 3 * 40),
        ("rollingCountShortCircuited", 5),
        ("rollingCountBadRequests", 1),
        ("currentConcurrentExecutionCount", 3),
        ("propertyValue_circuitBreakerRequestVolumeThreshold", 20),
        ("currentTime", 1_795_428_000_000),
    ] {
        assert_eq!(object[field], value, "{field}");
    }
    assert_eq!(object["group"], "shop");
    let median = object["latencyExecute"]["50"].as_u64().unwrap() / 3;
    assert!((28..=32).contains(&median), "{median}");
}

#[test]
fn a_breaker_without_a_living_instance_is_not_sent() {
    let gone = vec![instance("a", EffectiveState::Open, true)];
    assert_eq!(
        frame(&mut Peaks::default(), figures(0, gone)),
        (0, Vec::new())
    );
}

#[test]
fn the_most_running_calls_are_those_of_ten_looks() {
    let mut peaks = Peaks::default();
    let mut look = |running| {
        let one = vec![instance("a", EffectiveState::Closed, false)];
        let (_, objects) = frame(&mut peaks, figures(running, one));
        objects[0]["rollingMaxConcurrentExecutionCount"]
            .as_u64()
            .unwrap()
    };
    assert_eq!((look(2), look(7), look(1)), (2, 7, 7));
    assert_eq!((0..8).map(|_| look(1)).max(), Some(7));
    assert_eq!(look(1), 1);
}

/// *Scenario*: a reader requests a frame a minute; then the collector stops.
/// *Guarantees*: it gets the newest frame of each minute, and its stream ends at once.
#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_ends_with_the_collector() {
    let (sender, receiver) = broadcast::channel(1);
    let send = |second: u64| {
        let one = vec![instance("a", EffectiveState::Closed, false)];
        let now = UnixNanos::new(second * 1_000_000_000);
        let frame = Frame::new(&[figures(0, one)], Vec::new(), &mut Peaks::default(), now);
        sender.send(Arc::new(frame)).unwrap();
    };
    send(1);
    let minute = Duration::from_secs(60);
    let reader = Reader::start(receiver, Wanted::Everything, minute).await;
    let started = Instant::now();
    let mut chunks = pin!(reader.unwrap().chunks());
    for second in [1, 3] {
        let text = chunks.next().await.unwrap().unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        let time = format!("\"currentTime\":{second}000,");
        assert!(text.contains(&time), "{text}");
        send(2);
        send(3);
    }
    assert_eq!(started.elapsed(), minute);
    drop(sender);
    assert!(chunks.next().await.is_none());
    assert_eq!(started.elapsed(), minute);
}
