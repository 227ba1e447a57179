//! Arithmetic with metrics.

use std::time::Duration;

use super::*;
use crate::traceql::{Formula, MetricQuery, Series, Steps};

/// Returns what a formula comes to over the test trace, as one step, by its series' names.
fn calculated(text: &str) -> Vec<(String, f64)> {
    let formula = Formula::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let begin = UnixNanos::new(BEGIN);
    let range = crate::model::TimeRange {
        start: begin - Duration::from_secs(5),
        end: begin + Duration::from_secs(5),
    };
    let counted = formula.metrics().into_iter().map(|query| {
        let mut metric = MetricQuery::new(query, Steps::once(range), 0).unwrap();
        metric.add(&trace()).unwrap();
        metric.finish().0
    });
    let series = formula.calculate(counted.collect());
    let value = |one: &Series| match one.samples[..] {
        [(_, value)] => value,
        _ => panic!("{text}: {one:?}"),
    };
    series.iter().map(|one| (one.name(), value(one))).collect()
}

fn named(list: &[(&str, f64)]) -> Vec<(String, f64)> {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect()
}

/// Two of the six spans failed, three are of the cart.
#[test]
fn metrics_are_calculated_with() {
    let failed = "({ status = error } | count_over_time())";
    let all = "({ } | count_over_time())";
    let by = "({ } | count_over_time() by (resource.service.name))";
    for (text, expected) in [
        (
            format!("{failed} / {all} * 100"),
            "(count_over_time / count_over_time)",
        ),
        (
            format!("100 * {failed} / {all}"),
            "(count_over_time / count_over_time)",
        ),
        (
            format!("100 * ({failed} / {all})"),
            "(count_over_time / count_over_time)",
        ),
    ] {
        let expected = format!("{{__name__=\"{expected}\"}}");
        let [(name, value)] = &calculated(&text)[..] else {
            panic!("{text}")
        };
        assert_eq!(*name, expected, "{text}");
        assert!((value - 200.0 / 6.0).abs() < 1e-9, "{text}: {value}");
    }
    let of_services = |gateway, cart| {
        named(&[
            ("{resource_service_name=\"cart\"}", cart),
            ("{resource_service_name=\"gateway\"}", gateway),
        ])
    };
    for (text, expected) in [
        (format!("{by} + 1 + 2"), of_services(6.0, 6.0)),
        (
            format!("-2 - 20 / {by}"),
            of_services(-2.0 - 20.0 / 3.0, -2.0 - 20.0 / 3.0),
        ),
        (format!("{by} * 3 - {by}"), of_services(6.0, 6.0)),
        (format!("{by} * {all}"), of_services(18.0, 18.0)),
        (format!("{all} - {by}"), of_services(3.0, 3.0)),
        (
            format!("({by} + {by}) | topk(1)"),
            named(&[("{resource_service_name=\"cart\"}", 6.0)]),
        ),
        (format!("({by} * 2 > 1 + 5) - 1"), vec![]),
        (format!("{by} > 1 / 2"), of_services(3.0, 3.0)),
        (
            format!("(({by}) >= 3) with (sample=true)"),
            of_services(3.0, 3.0),
        ),
        (
            "({ } | max_over_time(duration)) > 90ms".to_owned(),
            named(&[("{__name__=\"max_over_time\"}", 0.1)]),
        ),
    ] {
        assert_eq!(calculated(&text), expected, "{text}");
    }
}

/// Guarantees: a ratio to nothing is no number; series of one side alone are left out.
#[test]
fn what_has_no_counterpart_is_left_out() {
    let none =
        calculated("({ } | count_over_time()) / ({ name = \"absent\" } | count_over_time())");
    assert!(none.iter().all(|(_, value)| value.is_nan()), "{none:?}");
    let by = "({ } | count_over_time() by (resource.service.name))";
    let cart =
        "({ resource.service.name = \"cart\" } | count_over_time() by (resource.service.name))";
    let both = calculated(&format!("{by} - {cart}"));
    assert_eq!(both, named(&[("{resource_service_name=\"cart\"}", 0.0)]));
}

#[test]
fn what_is_no_formula_is_named() {
    let metric = "({ } | rate())";
    for (text, problem) in [
        (format!("{metric} + "), "a number, or a metric in brackets"),
        (
            format!("{metric} + {{ }}"),
            "a number, or a metric in brackets",
        ),
        (
            format!("{metric} * 2s"),
            "a number, or a metric in brackets",
        ),
        (
            format!("{metric} + ({{ }} | count() > 1)"),
            "a metric is expected here",
        ),
        (
            format!("{metric} > {metric}"),
            "col 18: a number is expected here",
        ),
        (format!("{metric} % 2"), "an operator, `|`, or the end"),
        ([metric; 5].join(" + "), "at most 4 metrics"),
        (
            format!("{}{metric}{}", "(".repeat(40), ")".repeat(40)),
            "nested at most 32 deep",
        ),
        ("{ } | rate() + 1".to_owned(), "put it in brackets"),
    ] {
        let error = Formula::parse(&text).unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
}
