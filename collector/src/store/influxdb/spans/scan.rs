//! Looks backwards through what arrived, in windows that grow: whatever matches often is found in the first minutes,
//! and only what matches seldom reads a week.
//!
//! With conditions on tags and durations the index points are read. Attributes are only in the payloads: with them
//! the server matches a regex that may let too much through, and the spans themselves decide.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::TraceId;
use tokio::time::Instant;

use super::by_id::texts_of;
use super::payload::{self, stored_double, stored_text};
use super::{Found, push_tag};
use crate::model::{Span, TraceQuery};
use crate::store::StoreError;
use crate::store::influxdb::schema::{
    BREAKER, ERROR, FALLBACK, OPERATION, OUTCOME, SERVICE, SPAN, SPAN_IDX,
};
use crate::store::influxdb::wire::client::Client;
use crate::store::influxdb::wire::query::{Query, regex_of};
use crate::store::matching::span_matches;

/// How far a sender's clock may be ahead of ours and its spans still be in their place.
pub(crate) const CLOCK_SKEW_NANOS: u64 = 2 * 1_000_000_000;
/// The first window; each next one is longer by `WINDOW_GROWTH`: 5 min, 30 min, 3 h, 18 h, the rest of the week.
const FIRST_WINDOW_NANOS: u64 = 5 * 60 * 1_000_000_000;
const WINDOW_GROWTH: u64 = 6;
/// A window grows while it is read faster than that, so that the next one is read in time too.
const QUICK: Duration = Duration::from_secs(1);
/// Index points in the first answer, and in the largest.
const ROWS_FIRST: usize = 200;
const ROWS_MAX: usize = 5_000;
/// Payloads in one answer; each has up to 60 KB.
const PAYLOADS_MAX: usize = 100;

/// What a service is called that gave no name; the payload does not repeat that.
const UNKNOWN_SERVICE: &str = "unknown_service";
/// Where a payload names a service: among the attributes, or beside them where its name was cut.
const SERVICE_KEY: &str = "\\x{22}service(?:\\x{2e}name)?\\x{22}";
/// What may follow a bare value in a payload.
const VALUE_END: &str = "[,\\]\\x{7d}]";
/// How a wrapped value begins.
const WRAPPED: &str = "\\x{7b}";

/// A look backwards.
#[derive(Debug)]
pub(crate) struct Scan {
    client: Arc<Client>,
    query: TraceQuery,
    /// Where the look ends.
    since: u64,
    /// What arrived before is still to be looked at.
    until: u64,
    window: u64,
    rows: usize,
}

impl Scan {
    pub(super) fn new(client: Arc<Client>, query: &TraceQuery, since: u64, until: u64) -> Self {
        Self {
            client,
            query: query.clone(),
            since,
            until: until.max(since),
            window: FIRST_WINDOW_NANOS,
            rows: ROWS_FIRST,
        }
    }

    /// Returns before when nothing has been looked at; `None` when all has.
    pub(crate) fn frontier(&self) -> Option<u64> {
        (self.until > self.since).then_some(self.until)
    }

    /// Looks at the next stretch and returns the traces with a matching span in it.
    pub(crate) async fn step(&mut self) -> Result<Vec<Found>, StoreError> {
        let from = self.until.saturating_sub(self.window).max(self.since);
        let by_payload = !self.query.attributes.is_empty();
        let most = if by_payload { PAYLOADS_MAX } else { self.rows };
        let query = match by_payload {
            true => payload_query(&self.query, from, self.until, most),
            false => index_query(&self.query, from, self.until, most),
        };
        let begun = Instant::now();
        let answer = self.client.query(&query).await?;
        let is_quick = begun.elapsed() < QUICK;
        let rows: Vec<(u64, &str)> = answer.iter().flat_map(texts_of).collect();
        self.until = match rows.iter().map(|(time, _)| *time).min() {
            // Several collectors may have written at the same nanosecond: that one is looked at again.
            Some(oldest) if rows.len() >= most => oldest.saturating_add(1).min(self.until - 1),
            _ => from,
        };
        if rows.len() < most && is_quick {
            self.window = self.window.saturating_mul(WINDOW_GROWTH);
        }
        self.rows = (self.rows * 2).min(ROWS_MAX);
        let found = |(time, text): &(u64, &str)| match by_payload {
            true => found_in_payload(&self.query, *time, text),
            false => found_in_index(*time, text),
        };
        Ok(rows.iter().flat_map(found).collect())
    }
}

/// Asks for index points; the newest first.
fn index_query(query: &TraceQuery, from: u64, until: u64, most: usize) -> Query {
    let measurement = SPAN_IDX.name;
    let mut asked = Query::new(format!(
        "SELECT \"v\" FROM \"{measurement}\" WHERE time >= {from} AND time < {until}"
    ));
    let tags = [
        (SERVICE, &query.service),
        (OPERATION, &query.operation),
        (BREAKER, &query.circuit),
    ];
    for (tag, name) in tags {
        if let Some(name) = name {
            push_tag(&mut asked, tag, name);
        }
    }
    match query.outcome.as_deref() {
        Some("fallback") => asked.push(&format!(" AND \"{FALLBACK}\" = 'success'")),
        Some(outcome) => push_tag(&mut asked, OUTCOME, outcome),
        None => {}
    }
    if query.error == Some(true) {
        asked.push(&format!(" AND \"{ERROR}\" = '1'"));
    }
    let bound = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
    if let Some(nanos) = query.min_duration_nanos {
        asked.push(" AND \"dur\" >= ");
        asked.int(bound(nanos));
    }
    if let Some(nanos) = query.max_duration_nanos {
        asked.push(" AND \"dur\" <= ");
        asked.int(bound(nanos));
    }
    asked.push(&format!(" ORDER BY time DESC LIMIT {most}"));
    asked
}

/// Asks for payloads whose text has every attribute somewhere.
fn payload_query(query: &TraceQuery, from: u64, until: u64, most: usize) -> Query {
    let measurement = SPAN.name;
    let mut asked = Query::new(format!(
        "SELECT \"d\" FROM \"{measurement}\" WHERE time >= {from} AND time < {until}"
    ));
    for (key, text) in &query.attributes {
        asked.push(&format!(" AND \"d\" =~ /{}/", attribute_regex(key, text)));
    }
    if let Some(service) = query
        .service
        .as_ref()
        .filter(|name| *name != UNKNOWN_SERVICE)
    {
        let name = regex_of(&stored_text(service));
        asked.push(&format!(" AND \"d\" =~ /{SERVICE_KEY}:{name}/"));
    }
    if let Some(operation) = &query.operation {
        asked.push(&format!(
            " AND \"d\" =~ /{}/",
            regex_of(&stored_text(operation))
        ));
    }
    asked.push(&format!(" ORDER BY time DESC LIMIT {most}"));
    asked
}

/// Returns a regex for an attribute as the payload has it. It lets through every value that prints as that text, and
/// little else: a wrapped value (list, map, bytes, NaN) is only known by its first character.
fn attribute_regex(key: &str, text: &str) -> String {
    let key = regex_of(&stored_text(key));
    let mut values = vec![regex_of(&stored_text(text))];
    if text.parse::<i64>().is_ok() || text.parse::<bool>().is_ok() {
        values.push(format!("{}{VALUE_END}", regex_of(text)));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => {
            values.push(format!("{}{VALUE_END}", regex_of(&stored_double(number))));
        }
        Ok(_) => values.push(WRAPPED.to_owned()),
        Err(_) if text.is_empty() => values.push(format!("null|{WRAPPED}")),
        Err(_) if text.starts_with('[') => values.push("\\[".to_owned()),
        Err(_) if text.starts_with('{') => values.push(WRAPPED.to_owned()),
        Err(_) => {}
    }
    // Bytes print as hex digits.
    if text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        values.push(WRAPPED.to_owned());
    }
    format!("{key}:(?:{})", values.join("|"))
}

/// Reads an index point's text: trace id, span id, start.
fn found_in_index(time: u64, text: &str) -> Option<Found> {
    let mut parts = text.split(' ');
    let id = TraceId::from_hex(parts.next()?).ok()?;
    let start = parts.nth(1)?.parse().ok()?;
    Some(Found {
        id,
        start,
        arrival: Some(time),
    })
}

/// Returns the trace of a payload if one of its spans matches, by the earliest that does.
fn found_in_payload(query: &TraceQuery, time: u64, text: &str) -> Option<Found> {
    let spans = payload::decode(text)?;
    let matching = spans.iter().filter(|span| span_matches(span, query));
    let first: &Span = matching.min_by_key(|span| span.start_unix_nanos)?;
    Some(Found {
        id: first.trace_id,
        start: first.start_unix_nanos,
        arrival: Some(time),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_words_and_wrapped_values_are_looked_for_as_they_are_stored() {
        assert_eq!(
            attribute_regex("k", "200"),
            "\\x{22}k\\x{22}:(?:\\x{22}200\\x{22}|200[,\\]\\x{7d}]|200\\x{2e}0[,\\]\\x{7d}])"
        );
        assert_eq!(
            attribute_regex("k", "GET"),
            "\\x{22}k\\x{22}:(?:\\x{22}GET\\x{22})"
        );
        assert!(attribute_regex("k", "[1, 2]").ends_with("|\\[)"));
        assert!(attribute_regex("k", "NaN").ends_with("|\\x{7b})"));
        assert!(attribute_regex("k", "0a").ends_with("|\\x{7b})"));
        assert!(attribute_regex("k", "").contains("null"));
    }
}
