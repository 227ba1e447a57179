//! A request: query parameters by the rules of Zipkin's `QueryRequest`, trace ids, and the search of the
//! store that finds the candidates.
//!
//! Unknown parameters are ignored, of repeated ones the first counts, and an empty number counts as absent.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use super::refusal::Refusal;
use super::span;
use crate::api::dialect::{self, short_id, shortened};
use crate::model::{
    Condition, EVENT_NAME, Place, StatusCode, Test, TimeRange, TraceCondition, TraceQuery,
    UnixNanos,
};
use crate::query::read_trace_id;

/// Default range: a day, as in Zipkin.
const DEFAULT_LOOKBACK: Duration = Duration::from_secs(24 * 3600);
/// Default limit, as in Zipkin.
const DEFAULT_LIMIT: usize = 10;
/// Terms of an annotation query, as in Zipkin; the last one takes the rest of the text.
const TERMS_MAX: usize = 100;
const NANOS_OF_MILLI: u64 = 1_000_000;
const NANOS_OF_MICRO: u64 = 1_000;
/// How long after its trace's start a span is still searched for when the range ends in the past.
const SPREAD: Duration = Duration::from_secs(10 * 60);
/// Largest page of the store.
const PAGE_MAX: usize = 100;
/// Smallest page of the store, so that filtering a few traces does not take a page each.
const PAGE_MIN: usize = 20;

pub(super) type Params = dialect::Params<Refusal>;

/// A search. Names are in lower case. A trace matches if each condition is met by one of its spans, of the
/// service if one is given, and not necessarily all by the same span.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    pub(super) service: Option<String>,
    pub(super) remote_service: Option<String>,
    pub(super) span_name: Option<String>,
    /// Tags with their values; an empty value matches the key of a tag or the text of an annotation.
    pub(super) terms: BTreeMap<String, String>,
    /// Microseconds.
    pub(super) min_duration: Option<u64>,
    /// Microseconds.
    pub(super) max_duration: Option<u64>,
    pub(super) range: TimeRange,
    pub(super) limit: usize,
}

impl Question {
    pub(super) fn read(params: &Params) -> Result<Self, Refusal> {
        let range = range(params)?;
        let limit = params.positive::<i32>("limit")?;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let (min_duration, max_duration) = durations(params)?;
        Ok(Self {
            service: params.name("serviceName"),
            remote_service: params.name("remoteServiceName"),
            span_name: params.name("spanName").filter(|name| name != "all"),
            terms: params
                .text("annotationQuery")
                .map(terms)
                .unwrap_or_default(),
            min_duration,
            max_duration,
            range,
            limit: limit.unwrap_or(DEFAULT_LIMIT),
        })
    }
}

/// Returns the range of `endTs` and `lookback` (milliseconds), including all of the last millisecond.
fn range(params: &Params) -> Result<TimeRange, Refusal> {
    let end = params.positive::<i64>("endTs")?.map(i64::cast_unsigned);
    let end = end.unwrap_or_else(|| UnixNanos::now().millis());
    range_before(end, params)
}

/// Returns the range that ends with that millisecond.
pub(super) fn range_before(end_millis: u64, params: &Params) -> Result<TimeRange, Refusal> {
    let lookback = params.positive::<i64>("lookback")?.map(i64::cast_unsigned);
    let default = DEFAULT_LOOKBACK.as_secs() * 1_000;
    let start_millis = end_millis.saturating_sub(lookback.unwrap_or(default));
    Ok(TimeRange {
        start: UnixNanos::new(start_millis.saturating_mul(NANOS_OF_MILLI)),
        // Zipkin compares microseconds, so a trace in this microsecond is included.
        end: UnixNanos::new(
            end_millis
                .saturating_mul(NANOS_OF_MILLI)
                .saturating_add(NANOS_OF_MICRO),
        ),
    })
}

fn durations(params: &Params) -> Result<(Option<u64>, Option<u64>), Refusal> {
    let min = params.positive::<i64>("minDuration")?;
    let max = params.number::<i64>("maxDuration")?;
    match (min, max) {
        (None, Some(_)) => Err(Refusal::bad("maxDuration is only valid with minDuration")),
        (Some(min), Some(max)) if max < min => Err(Refusal::bad("maxDuration < minDuration")),
        _ => Ok((min.map(i64::cast_unsigned), max.map(i64::cast_unsigned))),
    }
}

/// Parses `error and http.method=GET`: of a repeated tag the last value counts, and a bare word does not
/// replace a tag.
fn terms(query: &str) -> BTreeMap<String, String> {
    let mut terms = BTreeMap::new();
    for term in query.splitn(TERMS_MAX, " and ") {
        match term.split_once('=') {
            Some((key, value)) => {
                terms.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            None => {
                terms.entry(term.trim().to_owned()).or_default();
            }
        }
    }
    terms
}

/// Returns the search that finds every trace that can match. Our store requires one span to meet all
/// conditions, whereas in Zipkin each may be met by another span of the service. So the store is queried for
/// the service and the one most selective condition, and `answer` checks the rest on the traces found.
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
    // In Zipkin a trace is in the range by its earliest span, wherever the matching one is.
    let spans = TimeRange {
        end: question.range.end + SPREAD,
        ..question.range
    };
    let mut search = TraceQuery::in_range(spans).with(conditions.into_iter().flatten());
    search.traces.push(TraceCondition::StartsIn(question.range));
    search.limit = question.limit.clamp(PAGE_MIN, PAGE_MAX);
    search
}

/// Returns the condition of a tag with a value, if the store can evaluate it.
fn term(key: &str, value: &str) -> Option<Condition> {
    if key == span::ERROR || (key == span::STATUS_CODE && value == span::STATUS_ERROR) {
        return Some(Condition::Status(StatusCode::Error));
    }
    // Lists and maps are shown as JSON, but formatted differently in the store.
    let test = match value.starts_with(['[', '{']) {
        true => Test::Exists,
        false => Test::Equals(value.to_owned()),
    };
    let is_attribute = !value.is_empty() && !span::is_made(key);
    is_attribute.then(|| attribute(Place::SPAN_OR_RESOURCE, key, test))
}

/// Returns the condition of a tag or annotation with a name, if the store can evaluate it.
fn word(key: &str, value: &str) -> Option<Condition> {
    // The annotation of an event with attributes starts with a quote and contains more than its name.
    let is_name = !key.is_empty() && !key.starts_with('"') && !span::is_made(key);
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

/// Converts the bounds of the duration: Zipkin's durations are whole microseconds, truncated, and at least
/// one.
fn duration(question: &Question) -> Option<Condition> {
    let min = question.min_duration.filter(|min| *min > 1);
    let max = question.max_duration;
    Condition::duration(
        min.map(|min| min.saturating_mul(1_000)),
        max.map(|max| max.saturating_mul(1_000).saturating_add(999)),
    )
}

/// Returns an id padded to 16 or 32 digits; it must be lower-case hex.
pub(super) fn trace_id(text: &str) -> Result<String, Refusal> {
    let problem = match text.len() {
        0 => "traceId is empty".to_owned(),
        // Not of Zipkin: the forms of logs and headers.
        33.. => match read_trace_id(text) {
            Some(id) => return Ok(short_id(id)),
            None => "traceId.length > 32".to_owned(),
        },
        _ if !text.bytes().all(is_lower_hex) => {
            let shown = shortened(text);
            format!("{shown} should be lower-hex encoded with no prefix")
        }
        _ if text.bytes().all(|byte| byte == b'0') => "traceId is all zeros".to_owned(),
        _ => return Ok(padded(text)),
    };
    Err(Refusal::bad(problem))
}

/// Returns an id with 16 digits, or 32 if its high half is not zero.
fn padded(digits: &str) -> String {
    const ZEROS: &str = "0000000000000000";
    let digits = format!("{digits:0>32}");
    digits.strip_prefix(ZEROS).unwrap_or(&digits).to_owned()
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl Params {
    #[cfg(test)]
    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self::from_pairs(pairs.iter().map(owned).collect())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.given(name).ok_or_else(|| Refusal::missing(name))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// Returns a name in lower case, as Zipkin compares names.
    pub(super) fn name(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_lowercase)
    }

    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let wrong = |_| Refusal::bad(format!("For input string: \"{}\"", shortened(text)));
        text.parse().map(Some).map_err(wrong)
    }

    /// Returns a number greater than zero.
    pub(super) fn positive<T: FromStr + Default + PartialOrd>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Refusal> {
        match self.number(name)? {
            Some(number) if number <= T::default() => Err(Refusal::bad(format!("{name} <= 0"))),
            number => Ok(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_padded_to_one_of_two_lengths() {
        for (given, expected) in [
            ("abc", "0000000000000abc"),
            ("a3ce929d0e0e4736", "a3ce929d0e0e4736"),
            ("1a3ce929d0e0e4736", "0000000000000001a3ce929d0e0e4736"),
            ("0000000000000000a3ce929d0e0e4736", "a3ce929d0e0e4736"),
            (
                "4bf92f3577b34da6a3ce929d0e0e4736",
                "4bf92f3577b34da6a3ce929d0e0e4736",
            ),
        ] {
            assert_eq!(trace_id(given).unwrap(), expected, "{given}");
        }
    }

    #[test]
    fn anything_else_is_refused_in_zipkins_words() {
        for (given, text) in [
            ("", "traceId is empty"),
            ("0", "traceId is all zeros"),
            (
                "ABCDEF",
                "ABCDEF should be lower-hex encoded with no prefix",
            ),
            ("0xab", "0xab should be lower-hex encoded with no prefix"),
            ("a3ce929d0e0e4736a3ce929d0e0e4736a", "traceId.length > 32"),
        ] {
            assert_eq!(trace_id(given).unwrap_err().text(), text);
        }
    }
}
