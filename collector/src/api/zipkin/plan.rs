//! Which traces the store is asked for. Our store wants one span to meet all its conditions, Zipkin lets each be met by
//! another span of the service: so the store is asked for the service and the one condition that narrows most, and
//! `matching` judges the rest on the traces it finds.

use super::question::Question;
use super::tags;
use crate::model::{
    Condition, EVENT_NAME, Place, StatusCode, Test, TimeRange, TraceCondition, TraceQuery,
};

/// How long after its trace's start a span is still looked for when a search ends in the past.
const SPREAD_NANOS: u64 = 600_000_000_000;
/// Rows of one page of the store.
const PAGE_MAX: usize = 100;
/// ... and at least so many, so that filtering a few does not take a page each.
const PAGE_MIN: usize = 20;

/// Returns the search that finds every trace that can match.
pub(super) fn search(question: &Question) -> TraceQuery {
    let in_lower_case = |name: &String| Test::InLowerCase(name.clone());
    let service = question.service.as_ref().map(in_lower_case);
    let terms = || question.terms.iter();
    let narrowest = terms()
        .find_map(|(key, value)| term(key, value))
        .or_else(|| {
            let name = question.span_name.as_ref().map(in_lower_case);
            name.map(Condition::Operation)
        })
        .or_else(|| terms().find_map(|(key, value)| word(key, value)))
        .or_else(|| duration(question));
    let conditions = [service.map(Condition::Service), narrowest];
    // A trace lies in Zipkin's range by its earliest span, wherever the one that matches is.
    let spans = TimeRange {
        end_unix_nanos: question.range.end_unix_nanos.saturating_add(SPREAD_NANOS),
        ..question.range
    };
    let mut search = TraceQuery::in_range(spans).with(conditions.into_iter().flatten());
    search.traces.push(TraceCondition::StartsIn(question.range));
    search.limit = question.limit.clamp(PAGE_MIN, PAGE_MAX);
    search
}

/// Returns what every span meets that has a tag of that value, where the store has such tags.
fn term(key: &str, value: &str) -> Option<Condition> {
    if key == tags::ERROR || (key == tags::STATUS_CODE && value == tags::STATUS_ERROR) {
        return Some(Condition::Status(StatusCode::Error));
    }
    // Lists and maps are shown as JSON, and printed otherwise in the store.
    let test = match value.starts_with(['[', '{']) {
        true => Test::Exists,
        false => Test::Equals(value.to_owned()),
    };
    let is_attribute = !value.is_empty() && !tags::is_made(key);
    is_attribute.then(|| attribute(Place::SPAN_OR_RESOURCE, key, test))
}

/// Returns what every span meets that has a tag or an annotation of that name.
fn word(key: &str, value: &str) -> Option<Condition> {
    // The annotation of an event with attributes begins with a quote and has more than its name.
    let is_name = !key.is_empty() && !key.starts_with('"') && !tags::is_made(key);
    (value.is_empty() && is_name).then(|| {
        Condition::Any(vec![
            attribute(Place::SPAN_OR_RESOURCE, key, Test::Exists),
            attribute(&[Place::Event], EVENT_NAME, Test::Equals(key.to_owned())),
        ])
    })
}

fn attribute(places: &'static [Place], key: &str, test: Test) -> Condition {
    Condition::Attribute {
        places,
        key: key.to_owned(),
        test,
    }
}

/// Returns the durations of the store: Zipkin's are whole microseconds, cut off, and at least one.
fn duration(question: &Question) -> Option<Condition> {
    let min = question.min_duration.filter(|min| *min > 1);
    let max = question.max_duration;
    Condition::duration(
        min.map(|min| min.saturating_mul(1_000)),
        max.map(|max| max.saturating_mul(1_000).saturating_add(999)),
    )
}
