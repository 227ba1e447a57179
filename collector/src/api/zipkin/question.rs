//! What a search for traces asks, read by the rules of Zipkin's `QueryRequest`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::params::Params;
use super::refusal::Refusal;
use crate::model::{TimeRange, now_unix_nanos};

/// How far back is searched unless said otherwise: a day, as in Zipkin.
const DEFAULT_LOOKBACK: Duration = Duration::from_secs(24 * 3600);
/// Traces of an answer unless said otherwise, as in Zipkin.
const DEFAULT_LIMIT: usize = 10;
/// Terms of an annotation query, as in Zipkin; the last takes the rest of the text.
const TERMS_MAX: usize = 100;
const NANOS_OF_MILLI: u64 = 1_000_000;
const NANOS_OF_MICRO: u64 = 1_000;

/// A search. Names are in lower case; a trace matches when each condition is met by one of its spans, of that service
/// where one is given, and not necessarily all by the same.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    pub(super) service: Option<String>,
    pub(super) remote_service: Option<String>,
    pub(super) span_name: Option<String>,
    /// Tags with their value; with an empty one, keys of tags or texts of annotations.
    pub(super) terms: BTreeMap<String, String>,
    /// Microseconds.
    pub(super) min_duration: Option<u64>,
    /// Microseconds.
    pub(super) max_duration: Option<u64>,
    pub(super) range: TimeRange,
    pub(super) limit: usize,
}

impl Question {
    /// Reads a search.
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

/// Returns the range that `endTs` and `lookback` (milliseconds) ask for; the whole last millisecond is in it.
fn range(params: &Params) -> Result<TimeRange, Refusal> {
    let end = params.positive::<i64>("endTs")?.map(i64::cast_unsigned);
    let end = end.unwrap_or_else(|| now_unix_nanos() / NANOS_OF_MILLI);
    range_before(end, params)
}

/// Returns the range that ends with that millisecond.
pub(super) fn range_before(end_millis: u64, params: &Params) -> Result<TimeRange, Refusal> {
    let lookback = params.positive::<i64>("lookback")?.map(i64::cast_unsigned);
    let default = DEFAULT_LOOKBACK.as_secs() * 1_000;
    let start_millis = end_millis.saturating_sub(lookback.unwrap_or(default));
    Ok(TimeRange {
        start_unix_nanos: start_millis.saturating_mul(NANOS_OF_MILLI),
        // Zipkin compares microseconds: a trace of this very microsecond is in.
        end_unix_nanos: end_millis
            .saturating_mul(NANOS_OF_MILLI)
            .saturating_add(NANOS_OF_MICRO),
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

/// Reads `error and http.method=GET`: a tag given twice has its last value, and a bare word does not replace a tag.
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
