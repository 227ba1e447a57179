//! What instances report of their policies, second by second.

use std::sync::Arc;

use super::*;
use crate::counters::Counters;
use crate::model::policy::{COLLAPSER, POOL};
use crate::store::series::SeriesLog;

const NOW: UnixNanos = UnixNanos::new(1_795_397_400_000_000_000);

fn report(instance: &str, figure: Figure, reading: Reading) -> PolicyReport {
    PolicyReport {
        service: "shop".to_owned(),
        instance: instance.to_owned(),
        id: PolicyId {
            kind: POOL,
            name: "warehouse".to_owned(),
        },
        figure,
        reading,
    }
}

fn count(start: UnixNanos, time: UnixNanos, count: u64) -> Reading {
    Reading::Count {
        temporality: Temporality::Cumulative,
        start,
        time,
        count,
        sizes: LatencyHistogram::default(),
    }
}

fn after(seconds: u32) -> UnixNanos {
    NOW + SECOND * seconds
}

/// Guarantees: counts cover the last ten seconds and survive a restart of the instance; those from long
/// before the first report are not counted.
#[test]
fn counts_grow_and_age() {
    let executed = || Figure::Count("executed");
    let mut policies = Policies::default();
    let mut take = |instance, second, start, value| {
        let reading = count(start, after(second), value);
        assert!(policies.take(report(instance, executed(), reading), after(second)));
        let views = policies.views(Some("shop"), Some(after(second)));
        (views[0].recently("executed"), views[0].total["executed"])
    };
    assert_eq!(take("young", 0, NOW, 4), (4, 4), "it began just now");
    assert_eq!(take("young", 1, NOW, 9), (9, 9));
    assert_eq!(take("young", 2, after(2), 3), (12, 3), "it started again");
    assert_eq!(
        take("young", 11, after(2), 3),
        (3, 3),
        "nine are older than ten seconds"
    );
    let long_ago = NOW - Duration::from_secs(60);
    assert_eq!(take("old", 12, long_ago, 500), (0, 503));
    assert_eq!(take("old", 13, long_ago, 501), (1, 504));
}

/// Guarantees: current values are summed over the reporting instances, with the peak of the last ten seconds.
#[test]
fn values_have_peaks_and_end_with_their_instance() {
    let active = || Figure::Now("active");
    let mut policies = Policies::default();
    for (instance, second, value) in [("a", 0, 7), ("a", 1, 2), ("b", 1, 3)] {
        policies.take(
            report(instance, active(), Reading::Value(value)),
            after(second),
        );
    }
    let look = |policies: &Policies, second| {
        let views = policies.views(None, Some(after(second)));
        views
            .first()
            .map(|view| (view.hosts, view.now("active"), view.peak["active"]))
    };
    assert_eq!(look(&policies, 1), Some((2, 5, 10)));
    assert_eq!(look(&policies, 10), Some((2, 5, 5)));
    policies.take(report("b", active(), Reading::Value(1)), after(5));
    assert_eq!(look(&policies, 32), Some((1, 1, 0)));
    assert_eq!(look(&policies, 60), None);
}

#[test]
fn callers_and_sizes_are_those_of_the_window() {
    let mut policies = Policies::default();
    let caller = Figure::Caller("stock".to_owned());
    policies.take(report("a", caller.clone(), count(NOW, NOW, 0)), NOW);
    policies.take(report("a", caller, count(NOW, after(1), 2)), after(1));
    let index = |size| LatencyHistogram::index_of_seconds(f64::from(size));
    let mut batches = report("a", Figure::Count("batches"), Reading::Value(0));
    batches.id.kind = COLLAPSER;
    batches.reading = Reading::Count {
        temporality: Temporality::Cumulative,
        start: NOW,
        time: after(1),
        count: 2,
        sizes: LatencyHistogram::from_buckets([(index(3), 2)]),
    };
    policies.take(batches, after(1));
    let views = policies.views(None, Some(after(1)));
    let [collapser, pool] = views.as_slice() else {
        panic!("{views:?}");
    };
    assert_eq!(pool.callers["stock"], 2);
    assert_eq!(
        (collapser.recently("batches"), collapser.sizes.count()),
        (2, 2)
    );
}

/// Guarantees: a service that makes up names fills only its own share, and stale numbers are evicted.
#[test]
fn numbers_are_bounded_for_each_service_and_in_all() {
    let mut policies = Policies::default();
    let mut take = |service: &str, name: usize, now| {
        let mut one = report("a", Figure::Now("active"), Reading::Value(1));
        one.service = service.to_owned();
        one.id.name = name.to_string();
        policies.take(one, now)
    };
    let kept = (0..PER_SERVICE_MAX + 9).filter(|name| take("loud", *name, NOW));
    assert_eq!(kept.count(), PER_SERVICE_MAX);
    assert!(take("loud", 0, NOW), "what is known goes on");
    for service in ["b", "c", "d"] {
        (0..PER_SERVICE_MAX).for_each(|name| assert!(take(service, name, after(1))));
    }
    assert!(!take("e", 0, after(1)));
    assert!(take("e", 0, after(31)), "the loud one is stale");
}

/// Scenario: a service reports a pool for a minute; the collector restarts, and the service goes on.
/// Guarantees: the values are there at once, the counts continue, and the past shows the values of then.
#[tokio::test(start_paused = true)]
async fn a_restart_and_the_past_show_what_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    let began = UnixNanos::now() - MINUTE;
    let at = |second: u32| began + SECOND * second;
    let open = |now| {
        let counters = Arc::new(Counters::default());
        let log = SeriesLog::open(dir.path(), MINUTE * 60, Arc::clone(&counters)).unwrap();
        Circuits::with_log(log, counters, now).unwrap()
    };
    let reports = |second: u32, executed: u64| {
        let now = at(second);
        let counted = |value| count(began, now, value);
        vec![
            report("a", Figure::Count("executed"), counted(executed)),
            report(
                "a",
                Figure::Caller("stock".to_owned()),
                counted(executed / 10),
            ),
            report(
                "a",
                Figure::Now("active"),
                Reading::Value(u64::from(second)),
            ),
        ]
    };
    let look = |views: Vec<PolicyView>| {
        let views = views.iter();
        let seen = views.map(|view| {
            (
                view.now("active"),
                view.total["executed"],
                view.recently("executed"),
            )
        });
        seen.collect::<Vec<_>>()
    };
    let circuits = open(at(0));
    for (second, executed) in [(0, 4), (1, 30), (55, 80), (60, 90)] {
        let taken = circuits.take_policies(reports(second, executed), at(second));
        taken.await.unwrap();
    }
    drop(circuits);
    let circuits = open(at(62));
    let now = |second| {
        let policies = circuits.inner.policies.lock();
        look(policies.views(Some("shop"), Some(at(second))))
    };
    assert_eq!(now(62), [(60, 90, 10)]);
    circuits
        .take_policies(reports(64, 95), at(64))
        .await
        .unwrap();
    assert_eq!(now(64), [(64, 95, 15)]);
    for (second, expected) in [(59, (0, 4, 4)), (61, (60, 90, 10))] {
        let past = circuits.policies_at(Some("shop"), at(second)).await;
        let past = past.unwrap().value;
        assert_eq!(past[0].callers["stock"], expected.2 / 10);
        assert_eq!(look(past), [expected]);
    }
    let before = circuits.policies_at(None, began - SECOND).await;
    assert!(before.unwrap().value.is_empty());
}

/// Guarantees: what does not change is stored every five minutes, what ended no more.
#[test]
fn idle_policies_are_stored_rarely() {
    let mut policies = Policies::default();
    let mut stored = 0;
    for minute in 0..=10 {
        let now = NOW + MINUTE * minute;
        let value = Reading::Value(u64::from(minute == 0));
        policies.take(report("a", Figure::Now("active"), value), now);
        stored += policies.take_due(now).len();
    }
    assert_eq!(stored, 3, "in minutes 0, 1 and 6");
    assert!(policies.take_due(NOW + MINUTE * 20).is_empty());
}

/// *Scenario*: an instance reports each minute, as Micrometer does by default, and ends.
/// *Guarantees*: it is shown between its reports, and hidden once it missed three.
#[test]
fn rare_reports_are_shown_until_the_next_one() {
    let mut policies = Policies::default();
    let mut take = |second| {
        let reading = Reading::Value(7);
        policies.take(
            report("rare", Figure::Now("active"), reading),
            after(second),
        );
    };
    take(0);
    take(60);
    let is_shown = |second| !policies.views(None, Some(after(second))).is_empty();
    assert!(is_shown(119) && is_shown(240) && !is_shown(241));
}
