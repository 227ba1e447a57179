//! Parameters of a search by Zipkin's rules.

use std::time::Duration;

use super::super::question::{Params, Question};
use crate::model::UnixNanos;

fn read(pairs: &[(&str, &str)]) -> Question {
    Question::read(&Params::of(pairs)).unwrap()
}

#[test]
fn nothing_asks_for_ten_traces_of_the_last_day() {
    let before = UnixNanos::now().millis();
    let question = read(&[]);
    let after = UnixNanos::now().millis();
    let end = question.range.end.millis();
    assert!((before..=after).contains(&end), "{before} {end} {after}");
    let length = question.range.end - question.range.start;
    assert_eq!(length, Duration::from_micros(86_400_000_000 + 1));
    assert_eq!(question.limit, 10);
    assert!(question.service.is_none() && question.terms.is_empty());
}

#[test]
fn times_are_milliseconds_and_durations_microseconds() {
    let question = read(&[
        ("endTs", "5000"),
        ("lookback", "3000"),
        ("limit", "7"),
        ("minDuration", "5"),
        ("maxDuration", "5"),
    ]);
    assert_eq!(question.range.start, UnixNanos::new(2_000_000_000));
    // A trace of the very last microsecond is in.
    assert_eq!(question.range.end, UnixNanos::new(5_000_001_000));
    assert_eq!(question.limit, 7);
    assert_eq!(question.min_duration, Some(5));
    assert_eq!(question.max_duration, Some(5));
    let far = read(&[
        ("endTs", "9223372036854775807"),
        ("lookback", "9223372036854775807"),
    ]);
    assert_eq!(far.range.start, UnixNanos::new(0));
    assert_eq!(far.range.end, UnixNanos::MAX);
}

#[test]
fn names_are_compared_in_lower_case_and_all_is_no_name() {
    let question = read(&[
        ("serviceName", "Gateway"),
        ("remoteServiceName", "STOCK"),
        ("spanName", "GET /Buy"),
        ("serviceName", "second"),
        ("unknown", "1"),
    ]);
    assert_eq!(question.service.as_deref(), Some("gateway"));
    assert_eq!(question.remote_service.as_deref(), Some("stock"));
    assert_eq!(question.span_name.as_deref(), Some("get /buy"));
    let question = read(&[
        ("serviceName", ""),
        ("spanName", "All"),
        ("minDuration", ""),
    ]);
    assert_eq!((question.service, question.span_name), (None, None));
}

#[test]
fn terms_are_tags_or_bare_words() {
    let question = read(&[(
        "annotationQuery",
        "http.method = GET and error and error=a=b and http.method and x=",
    )]);
    let terms: Vec<(&str, &str)> = question
        .terms
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    // The last value of a tag counts, and a bare word does not take it away.
    let expected = [("error", "a=b"), ("http.method", "GET"), ("x", "")];
    assert_eq!(terms, expected);
    let many = vec!["a"; 5_000].join(" and ");
    assert_eq!(read(&[("annotationQuery", &many)]).terms.len(), 2);
}

#[test]
fn what_zipkin_refuses_is_refused_in_its_words() {
    let cases: [(&[(&str, &str)], &str); 10] = [
        (&[("limit", "0")], "limit <= 0"),
        (&[("limit", "x")], "For input string: \"x\""),
        (
            &[("limit", "99999999999")],
            "For input string: \"99999999999\"",
        ),
        (&[("endTs", "0")], "endTs <= 0"),
        (&[("lookback", "-1")], "lookback <= 0"),
        (&[("minDuration", "0")], "minDuration <= 0"),
        (
            &[("maxDuration", "5")],
            "maxDuration is only valid with minDuration",
        ),
        (
            &[("maxDuration", "0")],
            "maxDuration is only valid with minDuration",
        ),
        (
            &[("minDuration", "9"), ("maxDuration", "5")],
            "maxDuration < minDuration",
        ),
        (&[("endTs", "1.5")], "For input string: \"1.5\""),
    ];
    for (pairs, text) in cases {
        let refusal = Question::read(&Params::of(pairs)).unwrap_err();
        assert_eq!(refusal.text(), text, "{pairs:?}");
    }
}
