//! Looks backwards through the log records in InfluxDB, in windows that grow, until a page is full.
//!
//! Service, level and trace are clauses; words of the text and attributes are regexes that the text of every match contains.
//! All of them may let too much through: the records that are read then decide.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::lane::FUTURE;
use super::payload::{decode, trace_mark};
use crate::model::{LogPage, LogQuery, MINUTE, NANOSECOND, SECOND, Severity, TimeRange, UnixNanos};
use crate::store::cancel::{self, off_worker};
use crate::store::influxdb::names::OTHER;
use crate::store::influxdb::schema::{LEVEL, LOG, SERVICE};
use crate::store::influxdb::spans::attribute_regex;
use crate::store::influxdb::wire::client::{Client, is_too_large};
use crate::store::influxdb::wire::line::tag_value;
use crate::store::influxdb::wire::query::{Cell, Query, regex_of};
use crate::store::logs::Newest;
use crate::store::{LogReader, StoreError, search};

/// The first window; each next one is longer by `WINDOW_GROWTH`: 5 min, 30 min, 3 h, 18 h, the rest of the week.
const FIRST_WINDOW: Duration = Duration::from_secs(5 * 60);
const WINDOW_GROWTH: u32 = 6;
/// A window grows while it is read faster than that, so that the next one is read in time too.
const QUICK: Duration = Duration::from_secs(1);
/// Texts in one answer; each has up to 60 KB.
const TEXTS_MAX: usize = 100;
/// Letters of a word that is looked for in texts; a shorter one is in nearly all of them.
const WORD_MIN: usize = 3;
/// A day for which the server may keep points beyond the retention, as it deletes by days.
const SLACK: Duration = Duration::from_secs(86_400);

/// Reads log records; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct InfluxLogs {
    client: Arc<Client>,
    retention: Duration,
}

/// A search under way.
struct Scan<'a> {
    client: &'a Client,
    query: &'a LogQuery,
    newest: Newest,
    /// Points before are past the range, or not kept any more.
    since: UnixNanos,
    /// Points before are still to be looked at.
    until: UnixNanos,
    window: Duration,
    texts: usize,
    deadline: Instant,
}

impl InfluxLogs {
    /// Returns a reader of what any collector wrote.
    pub(crate) fn new(client: Arc<Client>, retention: Duration) -> Self {
        Self { client, retention }
    }

    /// Returns one page of the records that match; past the deadline it ends early and says so.
    pub(crate) async fn search_until(
        &self,
        query: &LogQuery,
        deadline: Instant,
    ) -> Result<LogPage, StoreError> {
        let now = UnixNanos::now();
        let range = query.page_range();
        let since = range.start.floor(SECOND);
        // A point has the second of its latest record, and its records are of one minute.
        let last_minute = (range.end - NANOSECOND).floor(MINUTE);
        let mut scan = Scan {
            client: &self.client,
            query,
            newest: Newest::new(query),
            since: since.max(now - self.retention - SLACK),
            until: last_minute.min(now + FUTURE) + MINUTE,
            window: FIRST_WINDOW,
            texts: TEXTS_MAX,
            deadline,
        };
        loop {
            // Records of points before `until` lie before the end of its second.
            let unread = scan.until + SECOND;
            if scan.until <= scan.since || scan.newest.is_settled(unread) {
                return Ok(scan.newest.page(None));
            }
            match scan.step().await {
                Err(StoreError::TimeOver) => {
                    let unread = unread.min(range.end - NANOSECOND);
                    return Ok(scan.newest.page(Some(unread)));
                }
                looked => looked?,
            }
        }
    }
}

impl LogReader for InfluxLogs {
    /// Everything must have been written there.
    async fn search(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.search_until(&query, search::deadline()).await
    }
}

impl Scan<'_> {
    /// Looks through the next window, or through as much of it as one answer holds. Where the time is over, what was found
    /// stays.
    async fn step(&mut self) -> Result<(), StoreError> {
        let from = (self.until - self.window).max(self.since);
        let window = TimeRange {
            start: from,
            end: self.until,
        };
        let query = query_of(self.query, window, self.texts);
        let begun = Instant::now();
        let answer = timeout_at(self.deadline, self.client.query(&query)).await;
        let answer = match answer.unwrap_or(Err(StoreError::TimeOver)) {
            // The server may write a character of a text as six.
            Err(error) if is_too_large(&error) && self.texts > 1 => {
                self.texts /= 2;
                return Ok(());
            }
            answer => answer?,
        };
        let rows: Vec<Vec<Cell>> = answer.into_iter().flat_map(|series| series.rows).collect();
        let is_full = rows.len() >= self.texts;
        let oldest = rows.iter().filter_map(|row| time_of(row)).min();
        self.until = match oldest {
            // Several collectors may have written at the same nanosecond: that one is looked at again.
            Some(oldest) if is_full => (oldest + NANOSECOND).min(self.until - NANOSECOND),
            _ => from,
        };
        if !is_full && begun.elapsed() < QUICK {
            self.window = self.window.saturating_mul(WINDOW_GROWTH);
        }
        let newest = std::mem::replace(&mut self.newest, Newest::new(self.query));
        self.newest = read(newest, rows).await?;
        Ok(())
    }
}

/// Offers the records of texts to a page, off the async workers.
async fn read(mut newest: Newest, rows: Vec<Vec<Cell>>) -> Result<Newest, StoreError> {
    off_worker(Path::new("log records"), move || {
        for row in &rows {
            cancel::check()?;
            // A text that is not ours gives nothing.
            let text = row.get(1).and_then(Cell::as_text);
            for record in text.and_then(decode).unwrap_or_default() {
                newest.offer(record)?;
            }
        }
        Ok(newest)
    })
    .await
}

fn time_of(row: &[Cell]) -> Option<UnixNanos> {
    let time = u64::try_from(row.first()?.as_int()?).ok()?;
    Some(UnixNanos::new(time))
}

/// Returns the query for the texts of a window, newest first.
fn query_of(asked: &LogQuery, window: TimeRange, most: usize) -> Query {
    let measurement = LOG.name;
    let mut query = Query::new(format!(
        "SELECT \"d\" FROM \"{measurement}\" WHERE time >= {} AND time < {}",
        window.start.get(),
        window.end.get()
    ));
    if let Some(service) = &asked.service {
        query.push(&format!(" AND (\"{SERVICE}\" = "));
        query.text(&tag_value(service));
        query.push(&format!(" OR \"{SERVICE}\" = '{OTHER}')"));
    }
    if let Some(least) = asked.severity {
        query.push(&format!(" AND ({})", levels_from(least)));
    }
    if let Some(id) = asked.trace_id {
        let mark = regex_of(&trace_mark(id));
        query.push(&format!(" AND \"tr\" =~ /{mark}/"));
    }
    for regex in regexes(asked) {
        query.push(&format!(" AND \"d\" =~ /{regex}/"));
    }
    query.push(&format!(" ORDER BY time DESC LIMIT {most}"));
    query
}

/// Returns the clause for the levels that are at least so bad.
fn levels_from(least: Severity) -> String {
    let words = Severity::words();
    let first = words.iter().position(|word| *word == least.as_str());
    // Without a level, all are.
    let levels = first.map_or_else(
        || [&words[..], &["unset"]].concat(),
        |at| words[at..].to_vec(),
    );
    let clauses: Vec<_> = levels
        .iter()
        .map(|word| format!("\"{LEVEL}\" = '{word}'"))
        .collect();
    clauses.join(" OR ")
}

/// Returns regexes that the text of every match contains.
fn regexes(asked: &LogQuery) -> Vec<String> {
    let attributes = asked.attributes.iter();
    let mut regexes: Vec<_> = attributes
        .map(|(key, value)| attribute_regex(key, value))
        .collect();
    regexes.extend(asked.span_id.map(|id| regex_of(&id.to_string())));
    regexes.extend(word_regex(&asked.text));
    regexes
}

/// Returns a regex for the longest word of a text, in any case; `None` where it has none that stands in a payload as people
/// read it: lists, maps, numbers and bytes are printed differently there.
fn word_regex(text: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_graphic() && !r#""\{}[]:,"#.contains(c);
    let words = text.split(|c| !is_plain(c));
    // Digits may be those of a number or of bytes.
    let is_number = |word: &&str| {
        word.chars()
            .all(|c| c.is_ascii_hexdigit() || "+-.".contains(c))
    };
    let words = words.filter(|word| word.len() >= WORD_MIN && !is_number(word));
    let longest = words.max_by_key(|word| word.len())?;
    Some(longest.chars().map(in_any_case).collect())
}

/// Returns a class of the letters that are that one in lower case.
fn in_any_case(c: char) -> String {
    let more = match c.to_ascii_lowercase() {
        'k' => r"\x{212a}",
        'i' => r"\x{130}",
        _ => "",
    };
    match c.is_ascii_alphabetic() {
        true => format!(
            "[{}{}{more}]",
            c.to_ascii_lowercase(),
            c.to_ascii_uppercase()
        ),
        false => regex_of(&c.to_string()),
    }
}
