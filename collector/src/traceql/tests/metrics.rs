//! What metrics count of the made trace, and what is done with their series.

use super::super::{MetricQuery, Steps};
use super::*;
use crate::model::{TimeRange, nanos};

/// The test trace starts within a step of 60 ms, whose sample is at its end.
fn steps() -> Steps {
    let range = TimeRange {
        start: UnixNanos::new(BEGIN),
        end: UnixNanos::new(BEGIN) + Duration::from_millis(61),
    };
    Steps::aligned(range, Duration::from_millis(60)).unwrap()
}

/// Returns the series of a metric: name, and values by milliseconds since the trace began.
fn series(query: &str, steps: Steps) -> Vec<(String, Vec<(i64, f64)>)> {
    let query = Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let mut counted = MetricQuery::new(Arc::new(query), steps, 5).unwrap();
    counted.add(&trace()).unwrap();
    let (series, bound) = counted.finish();
    assert_eq!(bound, None);
    let since = |time: UnixNanos| (time.get() as i64 - BEGIN as i64) / 1_000_000;
    let samples = |samples: &[(UnixNanos, f64)]| {
        samples
            .iter()
            .map(|(time, value)| (since(*time), *value))
            .collect()
    };
    series
        .iter()
        .map(|one| (one.name(), samples(&one.samples)))
        .collect()
}

/// Expected series: names with samples by milliseconds since the trace began.
type Wanted = &'static [(&'static str, &'static [(i64, f64)])];

/// Metrics with their expected series.
const COUNTED: &[(&str, Wanted)] = &[
    (
        "{ } | count_over_time()",
        &[(
            "{__name__=\"count_over_time\"}",
            &[(0, 1.0), (60, 4.0), (120, 1.0)],
        )],
    ),
    (
        "{ kind = server } | rate()",
        &[(
            "{__name__=\"rate\"}",
            &[(0, 1.0 / 0.06), (60, 1.0 / 0.06), (120, 0.0)],
        )],
    ),
    (
        "{ } | count_over_time() by (resource.service.name)",
        &[
            (
                "{resource_service_name=\"cart\"}",
                &[(0, 0.0), (60, 3.0), (120, 0.0)],
            ),
            (
                "{resource_service_name=\"gateway\"}",
                &[(0, 1.0), (60, 1.0), (120, 1.0)],
            ),
        ],
    ),
    (
        "{ status = error } | count_over_time() by (span.db.system, status)",
        &[
            (
                "{span_db_system=\"<nil>\", status=\"error\"}",
                &[(0, 0.0), (60, 1.0), (120, 0.0)],
            ),
            (
                "{span_db_system=\"postgresql\", status=\"error\"}",
                &[(0, 0.0), (60, 1.0), (120, 0.0)],
            ),
        ],
    ),
    (
        "{ } | max_over_time(duration)",
        &[(
            "{__name__=\"max_over_time\"}",
            &[(0, 0.1), (60, 0.05), (120, 0.02)],
        )],
    ),
    (
        "{ } | min_over_time(span:duration)",
        &[(
            "{__name__=\"min_over_time\"}",
            &[(0, 0.1), (60, 0.01), (120, 0.02)],
        )],
    ),
    (
        "{ kind = client } | sum_over_time(duration)",
        &[("{__name__=\"sum_over_time\"}", &[(60, 0.08)])],
    ),
    (
        "{ } | avg_over_time(span.http.status_code)",
        &[("{__name__=\"avg_over_time\"}", &[(0, 200.0), (60, 500.0)])],
    ),
    (
        "{ } | sum_over_time(span.sizes)",
        &[("{__name__=\"sum_over_time\"}", &[(60, 12.0)])],
    ),
    (
        "{ } | histogram_over_time(span.http.status_code)",
        &[
            ("{__bucket=\"256\"}", &[(0, 1.0), (60, 0.0), (120, 0.0)]),
            ("{__bucket=\"512\"}", &[(0, 0.0), (60, 1.0), (120, 0.0)]),
        ],
    ),
    (
        "{ } | count_over_time() by (name) | topk(1) > 0",
        &[
            ("{name=\"GET /buy\"}", &[(0, 1.0)]),
            ("{name=\"INSERT\"}", &[(60, 1.0)]),
            ("{name=\"render\"}", &[(120, 1.0)]),
        ],
    ),
    (
        "{ } | count_over_time() by (resource.service.name) | bottomk(1)",
        &[
            ("{resource_service_name=\"cart\"}", &[(0, 0.0), (120, 0.0)]),
            ("{resource_service_name=\"gateway\"}", &[(60, 1.0)]),
        ],
    ),
    (
        "{ } | max_over_time(duration) >= 50ms",
        &[("{__name__=\"max_over_time\"}", &[(0, 0.1), (60, 0.05)])],
    ),
    (
        "{ } | rate() != -1 < 20",
        &[("{__name__=\"rate\"}", &[(0, 1.0 / 0.06), (120, 1.0 / 0.06)])],
    ),
    ("{ name = \"absent\" } | rate()", &[]),
];

/// Guarantees: a span counts at the first sample at or after its start.
#[test]
fn spans_are_counted_by_step() {
    for (query, wanted) in COUNTED {
        let named =
            |(name, samples): &(&str, &[(i64, f64)])| ((*name).to_owned(), samples.to_vec());
        let wanted: Vec<_> = wanted.iter().map(named).collect();
        assert_eq!(series(query, steps()), wanted, "{query}");
    }
}

/// Guarantees: bounds of durations are powers of two of a nanosecond, and a quantile is accurate to 2.2 %.
#[test]
fn durations_fall_into_buckets() {
    let whole = Steps::once(TimeRange {
        start: UnixNanos::new(BEGIN - 1),
        end: UnixNanos::new(BEGIN) + Duration::from_secs(1),
    });
    let buckets = series("{ } | histogram_over_time(duration)", whole);
    let bound = |power: i32| format!("{{__bucket=\"{}\"}}", 2_f64.powi(power) / 1e9);
    let names: Vec<_> = buckets
        .iter()
        .map(|(name, samples)| (name.clone(), samples[0].1))
        .collect();
    // 10, 20, 20, 46, 50 and 100 ms.
    assert_eq!(
        names,
        [
            (bound(24), 1.0),
            (bound(25), 2.0),
            (bound(26), 2.0),
            (bound(27), 1.0)
        ]
    );
    let quantiles = series("{ } | quantile_over_time(duration, 0, .5, .8, 1)", whole);
    let near = [0.01, 0.02, 0.05, 0.1];
    for ((name, samples), wanted) in quantiles.iter().zip(near) {
        let value = samples[0].1;
        assert!(
            value >= wanted && value <= wanted * 1.022,
            "{name}: {value}"
        );
    }
    assert_eq!(quantiles[1].0, "{p=\"0.5\"}");
}

#[test]
fn steps_are_aligned_and_bounded() {
    let range = |seconds: u64| TimeRange {
        start: UnixNanos::new(1_000_000_000_000),
        end: UnixNanos::new(1_000_000_000_000) + Duration::from_secs(seconds),
    };
    let aligned = Steps::aligned(range(60), Duration::from_secs(7)).unwrap();
    // 994 s to 1064 s: 11 samples, the first of which counts what began after 987 s.
    assert_eq!(aligned.times().count(), 11);
    let counted = aligned.range();
    assert_eq!(
        (counted.start.get(), counted.end.get()),
        (987_000_000_001, 1_064_000_000_001)
    );
    assert!(Steps::aligned(range(3_600), Duration::from_millis(1)).is_err());
    assert!(Steps::aligned(range(60), Duration::ZERO).is_err());
    for (seconds, step) in [
        (6, 50),
        (60, 1_000),
        (3_600, 15_000),
        (86_400, 300_000),
        (604_800, 2_400_000),
    ] {
        assert_eq!(
            nanos(Steps::of(range(seconds))) / 1_000_000,
            step,
            "{seconds}"
        );
    }
}

/// *Scenario*: a trace of many names, whose every bucket is a series with a sample at each step.
/// *Guarantees*: an answer exceeds its limit of samples by at most one series, is always the same, and says
/// so.
#[test]
fn samples_of_an_answer_are_bounded() {
    let mut trace = trace();
    let first = trace.spans[0].clone();
    for number in 0..60 {
        let mut span = first.clone();
        span.name = format!("step {number:02}");
        span.end = span.start + Duration::from_millis(1 << (number % 8));
        trace.spans.push(span);
    }
    let range = TimeRange {
        start: UnixNanos::new(BEGIN),
        end: UnixNanos::new(BEGIN) + Duration::from_millis(10_900),
    };
    let steps = Steps::aligned(range, Duration::from_millis(1)).unwrap();
    let query = "{ } | histogram_over_time(duration) by (name)";
    let finish = || {
        let query = Arc::new(Query::parse(query).unwrap());
        let mut counted = MetricQuery::new(query, steps, 0).unwrap();
        counted.add(&trace).unwrap();
        counted.finish()
    };
    let (series, bound) = finish();
    let samples: usize = series.iter().map(|one| one.samples.len()).sum();
    assert!((500_000..511_000).contains(&samples), "{samples}");
    assert!(
        bound.as_ref().unwrap().contains("a longer step"),
        "{bound:?}"
    );
    assert_eq!((series, bound), finish());
}
