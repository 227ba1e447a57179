//! Tests of the properties of spans, the searches that differences link to, and the traces that are compared.

use fusebox_collector::model::{TimeRange, Value};

use super::*;
use crate::pages::frame::params::Params;
use crate::pages::tests::fixtures;
use crate::pages::view::text::DAY;

fn form(pairs: &[(&str, &str)]) -> SearchForm {
    SearchForm::read(&Params::from(pairs), 7 * DAY)
}

fn found(kind: Kind, key: &str, value: &str, is_here: bool) -> Found {
    Found {
        kind,
        key: key.to_owned(),
        value: value.to_owned(),
        is_here,
    }
}

fn href(form: &SearchForm, what: &Found) -> Option<String> {
    form_with(form, what).map(|form| form.href(None).to_string())
}

#[test]
fn a_value_counts_as_that_of_a_span_that_meets_the_conditions() {
    let mut query = TraceQuery::in_range(TimeRange::ALL);
    query.conditions = vec![Condition::service("gateway")];
    let mut trace = fixtures::trace();
    for span in &mut trace.spans {
        let region = ("region".to_owned(), Value::String("icheon".to_owned()));
        span.attributes.push(region);
    }
    let features = features(&trace, &query, Asked::Slow);
    let of = |wanted: &Found| features.iter().filter(|one| *one == wanted).count();
    assert_eq!(of(&found(Kind::Attribute, "region", "icheon", true)), 1);
    assert_eq!(of(&found(Kind::Attribute, "region", "icheon", false)), 0);
    assert_eq!(of(&found(Kind::Service, "", "gateway", true)), 1);
    assert_eq!(of(&found(Kind::Service, "", "review", false)), 1);
    let operation = found(Kind::Operation, "legacy", "SELECT stock", false);
    assert_eq!(of(&operation), 1);
}

#[test]
fn what_says_only_that_a_trace_failed_is_no_difference_of_failed_ones() {
    let query = TraceQuery::in_range(TimeRange::ALL);
    let has = |asked| {
        let features = features(&fixtures::trace(), &query, asked);
        features.iter().any(|one| one.key == "error.type")
    };
    assert!(has(Asked::Slow));
    assert!(!has(Asked::Failed));
}

#[test]
fn a_difference_is_added_to_the_search_or_searched_for_alone() {
    let search = form(&[
        ("service", "shop"),
        ("differs", "slow"),
        ("trace_min", "1s"),
    ]);
    let region = |is_here| found(Kind::Attribute, "region", "ice=on", is_here);
    let added = href(&search, &region(true)).expect("a link");
    assert!(added.contains("service=shop") && added.contains("attribute=region%3Dice%3Don"));
    assert!(!added.contains("differs"), "{added}");
    let alone = href(&search, &region(false)).expect("a link");
    assert!(
        !alone.contains("shop") && alone.contains("trace_min=1s"),
        "{alone}"
    );
    let operation = found(Kind::Operation, "stock", "GET /", false);
    let operation = href(&search, &operation).expect("a link");
    assert!(
        operation.contains("service=stock&operation=GET%20%2F"),
        "{operation}"
    );
    // A condition that is already present, or cannot be written as key=value, has no link.
    assert_eq!(href(&search, &found(Kind::Service, "", "shop", true)), None);
    assert_eq!(
        href(&search, &found(Kind::Attribute, "a<b", "c", true)),
        None
    );
    let written = form(&[("attribute", "region=ice=on")]);
    assert_eq!(href(&written, &region(true)), None);
}

#[test]
fn a_tenth_is_slow_and_the_others_are_spread() {
    let traces = fixtures::found().traces;
    let [slow, others] = Asked::Slow.split(&traces);
    assert_eq!((slow.len(), others.len()), (2, 10));
    let fastest = slow.iter().map(|trace| trace.duration_nanos).min();
    assert!(
        others
            .iter()
            .all(|other| Some(other.duration_nanos) <= fastest)
    );
    let [failed, others] = Asked::Failed.split(&traces);
    assert_eq!((failed.len(), others.len()), (2, 10));
    assert_eq!(spread(&others, 5).len(), 5);
    assert_eq!(spread(&others, 100).len(), 10);
    assert!(spread(&[], 5).is_empty());
}
