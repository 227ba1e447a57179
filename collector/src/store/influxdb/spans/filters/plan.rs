//! Reads covers and filters, and plans which parts of a time range a search must read.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::coverage::COVER_NANOS_MAX;
use super::filter::{may_have, partition_of, tag_of};
use super::{Section, tokens};
use crate::model::{Condition, UnixNanos};
use crate::store::StoreError;
use crate::store::influxdb::schema::{COLLECTOR, SHARD, SPAN_COVER, SPAN_FILTER};
use crate::store::influxdb::wire::client::{Client, is_too_large};
use crate::store::influxdb::wire::query::{Query, Series};

/// Filters that one search asks for; of a list of many texts it asks for none.
const PARTITIONS_MAX: usize = 8;
/// Parts that are read with one request; the range is shortened to the newest ones.
const PARTS_MAX: usize = 16;

/// What a search asks of filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    /// A span that matches has a token of each list.
    tokens: Vec<Vec<u64>>,
    /// A span that matches takes at least so many nanoseconds.
    shortest: u64,
}

/// A time range to be read, of some collectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) from: UnixNanos,
    pub(crate) until: UnixNanos,
    of: Of,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Of {
    Only(Vec<String>),
    /// All but these, of which more is known.
    AllBut(Vec<String>),
}

/// A range of arrival times of a collector, and the sections with all of its rows.
#[derive(Debug)]
struct Cover {
    from: u64,
    until: u64,
    sections: Vec<Section>,
}

/// Texts of filters by collector, tag and time of their section.
type Filters<'a> = HashMap<(&'a str, &'a str, u64), &'a str>;

impl Part {
    pub(crate) fn all(from: UnixNanos, until: UnixNanos) -> Self {
        let of = Of::AllBut(Vec::new());
        Self { from, until, of }
    }

    /// Appends conditions on time and collector.
    pub(crate) fn push(&self, query: &mut Query) {
        let Self { from, until, of } = self;
        query.push(&format!(
            "time >= {} AND time < {}",
            from.get(),
            until.get()
        ));
        let (collectors, operator, between) = match of {
            Of::Only(collectors) => (collectors, "=", " OR "),
            Of::AllBut(collectors) => (collectors, "!=", " AND "),
        };
        for (at, collector) in collectors.iter().enumerate() {
            query.push(if at == 0 { " AND (" } else { between });
            query.push(&format!("\"{COLLECTOR}\" {operator} "));
            query.text(collector);
        }
        query.push(if collectors.is_empty() { "" } else { ")" });
    }
}

impl Probe {
    /// Returns what filters can tell about these conditions; `None` if it is nothing. Index points are found by their names
    /// faster than by filters, but not by their durations.
    pub(crate) fn new(conditions: &[Condition], by_payload: bool) -> Option<Self> {
        let mut tokens = match by_payload {
            true => tokens::needs(conditions),
            false => Vec::new(),
        };
        tokens.sort_by_key(Vec::len);
        let mut probe = Self {
            tokens: Vec::new(),
            shortest: 0,
        };
        for any in tokens {
            probe.tokens.push(any);
            if probe.partitions().len() > PARTITIONS_MAX {
                probe.tokens.pop();
            }
        }
        for condition in conditions {
            if let Condition::Duration { min, .. } = condition {
                probe.shortest = probe.shortest.max(*min);
            }
        }
        (probe.shortest > 0 || !probe.tokens.is_empty()).then_some(probe)
    }

    /// Returns the parts of a range in which spans may match, newest first. What arrived before the returned time was not
    /// looked at.
    pub(crate) async fn parts(
        &self,
        client: &Client,
        range: Range<UnixNanos>,
    ) -> Result<(Vec<Part>, UnixNanos), StoreError> {
        let answers = match client.queries(&self.query(&range)).await {
            Err(error) if is_too_large(&error) => Vec::new(),
            answers => answers?,
        };
        let mut answers = answers.into_iter();
        let (covers, filters) = (answers.next(), answers.next());
        let filters = filters.unwrap_or_default();
        let filters: Filters<'_> = filters.iter().flat_map(filters_of).collect();
        Ok(self.plan(&covers.unwrap_or_default(), &filters, range))
    }

    fn partitions(&self) -> Vec<u64> {
        let tokens = self.tokens.iter().flatten();
        let mut partitions: Vec<u64> = tokens.map(|token| partition_of(*token)).collect();
        partitions.sort_unstable();
        partitions.dedup();
        partitions
    }

    fn query(&self, range: &Range<UnixNanos>) -> Query {
        let (from, until) = (range.start.get(), range.end.get());
        // The cover of the first moment may begin that much earlier, and its sections a while before.
        let cover_from = from.saturating_sub(COVER_NANOS_MAX);
        let filter_from = cover_from.saturating_sub(COVER_NANOS_MAX);
        let mut query = Query::new(format!(
            "SELECT \"s\", \"until\" FROM \"{}\" WHERE time >= {cover_from} AND time < {until} GROUP BY \"{COLLECTOR}\";",
            SPAN_COVER.name
        ));
        let tags = self.partitions().into_iter().map(|partition| {
            let tag = tag_of(partition);
            format!("\"{SHARD}\" = '{tag}'")
        });
        let tags: Vec<String> = tags.collect();
        if !tags.is_empty() {
            query.push(&format!(
                "SELECT \"f\" FROM \"{}\" WHERE time >= {filter_from} AND time < {until} AND ({}) \
                 GROUP BY \"{COLLECTOR}\", \"{SHARD}\";",
                SPAN_FILTER.name,
                tags.join(" OR "),
            ));
        }
        query
    }

    fn plan(
        &self,
        covers: &[Series],
        filters: &Filters<'_>,
        range: Range<UnixNanos>,
    ) -> (Vec<Part>, UnixNanos) {
        let known = covers
            .iter()
            .filter_map(|series| series.tags.get(COLLECTOR));
        let known: Vec<String> = known.cloned().collect();
        // By end, with the earliest begin of those who have it: each end is another one, so that fewer parts are earlier ones.
        let mut by_end: BTreeMap<u64, (u64, Vec<String>)> = BTreeMap::new();
        for series in covers {
            let Some(collector) = series.tags.get(COLLECTOR) else {
                continue;
            };
            let mut covers: Vec<Cover> = covers_of(series).collect();
            covers.sort_unstable_by_key(|cover| cover.from);
            let may = |section: &Section| self.may_be_in(section, collector, filters);
            for Range { start, end } in unread(&covers, &(range.start.get()..range.end.get()), may)
            {
                let (from, collectors) = by_end.entry(end).or_insert((start, Vec::new()));
                *from = start.min(*from);
                collectors.push(collector.clone());
            }
        }
        let mut newest_first = by_end.into_iter().rev();
        let newest = newest_first.by_ref().take(PARTS_MAX);
        let parts = newest.map(|(until, (from, collectors))| Part {
            from: UnixNanos::new(from),
            until: UnixNanos::new(until),
            of: Of::Only(collectors),
        });
        let mut parts: Vec<Part> = parts.collect();
        let rest = newest_first.next().map(|(until, _)| UnixNanos::new(until));
        let begin = rest.unwrap_or(range.start);
        parts
            .iter_mut()
            .for_each(|part| part.from = part.from.max(begin));
        let others = Part {
            of: Of::AllBut(known),
            ..Part::all(begin, range.end)
        };
        parts.push(others);
        parts.retain(|part| part.from < part.until);
        (parts, begin)
    }

    /// Returns whether a span that matches may be in a section: in doubt it may.
    fn may_be_in(&self, section: &Section, collector: &str, filters: &Filters<'_>) -> bool {
        let may_have = |token: &u64| {
            let tag = tag_of(partition_of(*token));
            let text = filters.get(&(collector, tag.as_str(), section.from));
            text.and_then(|text| may_have(text, section, *token)) != Some(false)
        };
        section.longest >= self.shortest && self.tokens.iter().all(|any| any.iter().any(may_have))
    }
}

/// Returns the ranges of a collector that covers and filters do not exclude, in order, none touching the next. Covers are in
/// order.
fn unread(covers: &[Cover], range: &Range<u64>, may: impl Fn(&Section) -> bool) -> Vec<Range<u64>> {
    let mut unread = Vec::new();
    let mut reached = range.start;
    for cover in covers.iter().filter(|cover| cover.until > range.start) {
        unread.push(reached..cover.from);
        let sections = cover.sections.iter().filter(|section| may(section));
        unread.extend(sections.map(|s| s.from.max(cover.from)..s.until.min(cover.until)));
        reached = reached.max(cover.until);
    }
    unread.push(reached..range.end);
    joined(unread, range)
}

/// Clips ranges, and joins those that touch.
fn joined(mut ranges: Vec<Range<u64>>, within: &Range<u64>) -> Vec<Range<u64>> {
    for range in &mut ranges {
        *range = range.start.max(within.start)..range.end.min(within.end);
    }
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

fn covers_of(series: &Series) -> impl Iterator<Item = Cover> {
    let [sections, until] = ["s", "until"].map(|name| series.column(name));
    series.rows.iter().filter_map(move |row| {
        let text = |column: Option<usize>| row.get(column?)?.as_text();
        Some(Cover {
            from: u64::try_from(row.first()?.as_int()?).ok()?,
            until: text(until)?.parse().ok()?,
            sections: match text(sections) {
                Some(text) => Section::parse(text)?,
                None => Vec::new(),
            },
        })
    })
}

fn filters_of(series: &Series) -> impl Iterator<Item = ((&str, &str, u64), &str)> {
    let [collector, tag] = [COLLECTOR, SHARD].map(|key| series.tags.get(key));
    series.rows.iter().filter_map(move |row| {
        let time = u64::try_from(row.first()?.as_int()?).ok()?;
        let key = (collector?.as_str(), tag?.as_str(), time);
        Some((key, row.get(1)?.as_text()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn section(from: u64, until: u64) -> Section {
        Section {
            from,
            until,
            rows: 1,
            longest: 5,
        }
    }

    fn cover(from: u64, until: u64, sections: &[Section]) -> Cover {
        let sections = sections.to_vec();
        Cover {
            from,
            until,
            sections,
        }
    }

    /// *Guarantees*: what no cover spans, and what a filter cannot exclude, is read; nothing else.
    #[test]
    fn only_what_may_match_is_read() {
        let sections = [section(10, 30), section(20, 40), section(40, 60)];
        let covers = [
            cover(10, 20, &sections[..1]),
            cover(20, 40, &sections[..2]),
            cover(40, 60, &sections[2..]),
            cover(80, 90, &[]),
        ];
        let unread =
            |range: Range<u64>, may: &dyn Fn(&Section) -> bool| unread(&covers, &range, may);
        assert_eq!(unread(0..100, &|_| false), [0..10, 60..80, 90..100]);
        assert_eq!(unread(15..60, &|_| false), []);
        assert_eq!(
            unread(15..85, &|section| section.from == 10),
            [15..30, 60..80]
        );
        assert_eq!(unread(0..70, &|_| true).first(), Some(&(0..70)));
        assert_eq!(
            super::unread(&[], &(3..7), |_| false).first(),
            Some(&(3..7))
        );
    }

    #[test]
    fn sections_are_text() {
        let sections = vec![section(1, 2), section(u64::MAX - 1, u64::MAX)];
        assert_eq!(Section::parse(&Section::print(&sections)), Some(sections));
        for wrong in ["", "1 2 3", "1 2 3 x", "1 2 3 4;"] {
            assert_eq!(Section::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_probe_asks_for_few_filters() {
        let of = |text: &str| Condition::parse_attribute(text).unwrap();
        let texts = (0..100).map(|number| format!("{number}")).collect();
        let many = Condition::Attribute {
            places: &[],
            key: "k".to_owned(),
            test: crate::model::Test::OneOf(texts),
        };
        assert_eq!(Probe::new(std::slice::from_ref(&many), true), None);
        assert_eq!(
            Probe::new(&[many, of("a=b")], true).unwrap().tokens.len(),
            1
        );
        assert_eq!(Probe::new(&[Condition::service("shop")], true), None);
        let slow = Condition::Duration { min: 7, max: 9 };
        assert_eq!(Probe::new(&[slow], true).unwrap().shortest, 7);
    }
}
