//! Seconds of made streams.

use fusebox::circuit_breaker::{EffectiveState, OverrideKind};
use serde_json::{Value, json};

use super::*;
use crate::codec::hystrix::decode;

const SECOND: u64 = 1_000_000_000;

fn command(name: &str, second: u64, success: u64, is_open: bool) -> Value {
    json!({"type": "HystrixCommand", "name": name, "group": "shop", "currentTime": 1_795_428_000_000 + second * 1_000,
        "isCircuitBreakerOpen": is_open, "rollingCountSuccess": success, "errorPercentage": 0, "requestCount": success,
        "currentConcurrentExecutionCount": 2, "threadPool": "warehouse",
        "propertyValue_executionIsolationStrategy": "THREAD",
        "latencyExecute": {"25": 10, "50": 20, "75": 30, "90": 40, "95": 50, "99": 60, "99.5": 70, "100": 80}})
}

fn read(followed: &mut Followed, object: &Value, second: u64) -> bool {
    let object = decode(&object.to_string()).unwrap();
    followed.read(object, UnixNanos::new((1_795_428_000 + second) * SECOND))
}

fn take(followed: &mut Followed, second: u64) -> Second {
    followed.take_second(UnixNanos::new((1_795_428_000 + second) * SECOND))
}

/// Guarantees: each second has the calls read in it, their latencies and the state; settings are reported
/// when they change.
#[test]
fn a_second_has_what_came_in_it() {
    let mut followed = Followed::new("shop", "127.0.0.1:8081".to_owned());
    assert!(read(&mut followed, &command("stock", 0, 0, false), 0));
    let first = take(&mut followed, 0);
    assert_eq!((first.observations.len(), first.settings.len()), (1, 1));
    assert!(first.observations[0].counts.is_empty());
    assert!(
        take(&mut followed, 1).observations.is_empty(),
        "nothing was read"
    );
    let pool = json!({"type": "HystrixThreadPool", "name": "warehouse", "currentCorePoolSize": 7});
    assert!(read(&mut followed, &pool, 1));
    assert!(read(&mut followed, &command("stock", 1, 80, false), 1));
    assert!(read(&mut followed, &command("stock", 2, 200, true), 2));
    let second = take(&mut followed, 2);
    let stock = &second.observations[0];
    assert_eq!(
        (stock.key.service.as_str(), stock.key.name.as_str()),
        ("shop", "stock")
    );
    assert_eq!(
        (stock.state, stock.in_flight),
        (Some(EffectiveState::Open), Some(2))
    );
    let point = &stock.counts[0];
    assert_eq!(
        (stock.counts.len(), point.what, point.count),
        (1, Count::Outcome(Outcome::Success), 200)
    );
    for (share, ms) in [(0.5, 20.0), (0.9, 40.0), (0.99, 60.0), (1.0, 80.0)] {
        let got = point.latency.quantile(share).unwrap().as_secs_f64() * 1e3;
        assert!((got / ms - 1.0).abs() < 0.05, "{share}: {got}");
    }
    assert_eq!(second.settings[0].settings.max_concurrent, Some(7));
}

/// Guarantees: a collapser is reported with its counts, settings and the sizes of its batches, once a second.
#[test]
fn a_second_has_the_collapsers_of_its_stream() {
    let mut followed = Followed::new("shop", "a:1".to_owned());
    let collapser = json!({"type": "HystrixCollapser", "name": "prices", "currentTime": 1_795_428_000_000_u64,
        "rollingCountRequestsBatched": 30, "rollingCountBatches": 10, "rollingCountResponsesFromCache": 4,
        "batchSize_mean": 3, "batchSize": {"25": 2, "50": 3, "75": 3, "90": 4, "95": 4, "99": 5, "99.5": 5, "100": 5},
        "propertyValue_maxRequestsInBatch": 100, "propertyValue_timerDelayInMilliseconds": 10, "reportingHosts": 1});
    assert!(read(&mut followed, &collapser, 0));
    let policies = take(&mut followed, 0).policies;
    let prices = PolicyId {
        kind: COLLAPSER,
        name: "prices".to_owned(),
    };
    assert!(policies.iter().all(|report| report.id == prices));
    let reading = |figure: Figure| {
        let report = policies.iter().find(|report| report.figure == figure);
        report.map(|report| report.reading.clone())
    };
    assert_eq!(reading(Figure::Count("calls")), Some(window(30)));
    assert_eq!(reading(Figure::Count("from_cache")), Some(window(4)));
    assert_eq!(reading(Figure::Now("size_max")), Some(Reading::Value(100)));
    assert_eq!(reading(Figure::Now("delay_ms")), Some(Reading::Value(10)));
    let Some(Reading::Window(10, sizes)) = reading(Figure::Count("batches")) else {
        panic!("{policies:?}");
    };
    let median = sizes.quantile(0.5).unwrap().as_secs_f64();
    assert!((median / 3.0 - 1.0).abs() < 0.05, "{median}");
    assert_eq!(take(&mut followed, 1).policies, []);
}

/// Guarantees: a forced state is reported when it begins and ends, and everything is reported again on a
/// new connection.
#[test]
fn settings_are_reported_when_they_change_and_over_a_new_connection() {
    let mut followed = Followed::new("shop", "a:1".to_owned());
    let mut sent = |second, is_forced: bool, is_connected| {
        if is_connected {
            followed.connected();
        }
        let mut stock = command("stock", second, 0, false);
        stock["propertyValue_circuitBreakerForceOpen"] = is_forced.into();
        assert!(read(&mut followed, &stock, second));
        let settings = take(&mut followed, second).settings.into_iter();
        let forced = settings.map(|report| report.forced.map(|forced| forced.kind));
        forced.collect::<Vec<_>>()
    };
    assert_eq!(sent(0, false, true), [None]);
    assert_eq!(sent(1, true, false), [Some(OverrideKind::ForcedOpen)]);
    assert_eq!(sent(2, true, false), []);
    assert_eq!(sent(3, false, false), [None]);
    assert_eq!(sent(4, false, true), [None]);
}

/// Guarantees: the first calls of a command count if it was first called while the stream was read.
#[test]
fn calls_of_a_new_command_count() {
    let mut followed = Followed::new("shop", "a:1".to_owned());
    assert!(read(&mut followed, &command("stock", 0, 5, false), 0));
    assert!(read(&mut followed, &command("price", 1, 5, false), 1));
    assert!(read(&mut followed, &command("mail", 60, 5, false), 60));
    followed.connected();
    assert!(read(&mut followed, &command("cart", 70, 5, false), 70));
    let observations = take(&mut followed, 70).observations.into_iter();
    let with_calls = observations.filter(|one| !one.counts.is_empty());
    let names: Vec<_> = with_calls
        .map(|one| (one.key.name, one.counts[0].count))
        .collect();
    assert_eq!(names, [("mail".to_owned(), 5)]);
}

#[test]
fn names_are_bounded_and_idle_ones_make_room() {
    let mut followed = Followed::new("shop", "a:1".to_owned());
    for n in 0..NAMES_MAX {
        assert!(read(
            &mut followed,
            &command(&format!("c{n}"), 0, 0, false),
            0
        ));
    }
    assert!(!read(&mut followed, &command("one more", 0, 0, false), 0));
    assert!(read(&mut followed, &command("c7", 1, 0, false), 1));
    take(&mut followed, 1);
    assert!(!read(
        &mut followed,
        &command("one more", 901, 0, false),
        901
    ));
    assert!(read(
        &mut followed,
        &command("one more", 902, 0, false),
        902
    ));
    assert_eq!(followed.commands.len(), 1);
}
