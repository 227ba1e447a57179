//! Writes the filters of sections and the covers of time ranges, while the lane turns the rows of segments into points.
//!
//! Sections follow from the journal alone: after a crash the same ones are written again. A cover is written once every row
//! of its range is in a section, and behind the filters, so that it never promises more than was sent.

use std::collections::{HashMap, HashSet};

use super::Section;
use super::filter::{self, PARTITIONS};
use super::tokens::Tokens;
use crate::codec::otlp::SpanVisitor;
use crate::model::{DAY, HOUR, nanos};
use crate::store::influxdb::schema::{COLLECTOR, SHARD, SPAN_COVER, SPAN_FILTER};
use crate::store::influxdb::ship::lane::Batch;
use crate::store::influxdb::wire::line::Lines;

/// A section ends with the block that reaches this: what a false positive reads is read in some ten milliseconds.
const SECTION_ROWS: u64 = if cfg!(test) { 64 } else { 16_384 };
/// Sections in a cover: their text stays below what InfluxDB keeps in a field.
const SECTIONS_MAX: usize = 500;
/// Longest range of a cover, so that readers know how far before a moment the one of that moment begins.
pub(super) const COVER_NANOS_MAX: u64 = nanos(HOUR);
/// After a longer time without rows, the rest of it is left without covers.
const BEHIND_NANOS_MAX: u64 = nanos(DAY);

/// The sections that are not covered yet, and the lines to be sent.
#[derive(Debug)]
pub(crate) struct Coverage {
    collector: String,
    /// What arrived before is covered, or never will be.
    covered: u64,
    pub(crate) section_rows: u64,
    /// The section that grows, by segment.
    open: HashMap<u64, Open>,
    /// Complete sections with rows that are not covered.
    closed: Vec<Section>,
    has_ended: bool,
    /// Segments of which rows were sent that cannot be read any more.
    spoiled: HashSet<u64>,
    lines: Lines,
}

#[derive(Debug)]
struct Open {
    section: Section,
    tokens: Tokens,
    /// Whether rows were sent in another form than that of the tokens, or are missing.
    is_spoiled: bool,
}

impl Coverage {
    /// Begins where everything that arrived before `covered` was covered.
    pub(crate) fn new(collector: &str, covered: u64) -> Self {
        Self {
            collector: collector.to_owned(),
            covered,
            section_rows: SECTION_ROWS,
            open: HashMap::new(),
            closed: Vec::new(),
            has_ended: false,
            spoiled: HashSet::new(),
            lines: Lines::default(),
        }
    }

    /// Returns the arrival time before which everything is covered that ever will be.
    pub(crate) fn covered(&self) -> u64 {
        self.covered
    }

    /// Gives up what arrived before.
    pub(crate) fn skip_to(&mut self, covered: u64) {
        self.covered = self.covered.max(covered);
    }

    /// Returns the visitor of a block's rows, of which the first arrived at `base`.
    pub(crate) fn rows(&mut self, segment: u64, base: u64) -> &mut impl SpanVisitor {
        let is_spoiled = self.spoiled.contains(&segment);
        let open = self.open.entry(segment).or_insert_with(|| Open {
            section: Section {
                from: base,
                until: base,
                rows: 0,
                longest: 0,
            },
            tokens: Tokens::default(),
            is_spoiled,
        });
        &mut open.tokens
    }

    /// Ends a block; its last row arrived before `until`.
    pub(crate) fn end_block(&mut self, segment: u64, until: u64, rows: u64) {
        if let Some(open) = self.open.get_mut(&segment) {
            open.section.until = until;
            open.section.rows += rows;
            if open.section.rows >= self.section_rows {
                self.end_section(segment);
            }
        }
    }

    /// Leaves the growing section of a segment without a filter.
    pub(crate) fn spoil(&mut self, segment: u64) {
        if let Some(open) = self.open.get_mut(&segment) {
            open.is_spoiled = true;
        }
    }

    /// Leaves all sections of a segment without a filter.
    pub(crate) fn spoil_all(&mut self, segment: u64) {
        self.spoiled.insert(segment);
    }

    /// Ends the section of a segment that does not grow any more.
    pub(crate) fn end_section(&mut self, segment: u64) {
        let Some(Open {
            mut section,
            tokens,
            is_spoiled,
        }) = self.open.remove(&segment)
        else {
            return;
        };
        section.longest = tokens.longest;
        let tokens = tokens.into_sorted().filter(|_| !is_spoiled);
        if let Some(tokens) = tokens {
            self.push_filters(&section, &tokens);
        }
        self.closed.push(section);
        self.has_ended = true;
    }

    /// Forgets a segment that is covered or gone.
    pub(crate) fn forget(&mut self, segment: u64) {
        self.open.remove(&segment);
        self.spoiled.remove(&segment);
    }

    fn push_filters(&mut self, section: &Section, mut tokens: &[u64]) {
        for partition in 0..PARTITIONS {
            let is_here = |token: &u64| filter::partition_of(*token) == partition;
            let (here, rest) = tokens.split_at(tokens.partition_point(is_here));
            tokens = rest;
            let Some(text) = filter::encode(section, partition, here) else {
                continue;
            };
            let point = self
                .lines
                .point(&SPAN_FILTER)
                .tag(COLLECTOR, &self.collector);
            let fields = point.tag(SHARD, &filter::tag_of(partition)).fields();
            fields.escaped("f", &text).at(section.from);
        }
    }

    /// Returns whether sections have ended since the last call.
    pub(crate) fn take_ended(&mut self) -> bool {
        std::mem::take(&mut self.has_ended)
    }

    /// Returns the arrival of the first row of the section that grows in a segment.
    pub(crate) fn open_since(&self, segment: u64) -> Option<u64> {
        self.open.get(&segment).map(|open| open.section.from)
    }

    /// Covers what arrived before `until`, all of which is in complete sections or was never sent.
    pub(crate) fn cover(&mut self, until: u64) {
        self.skip_to(until.saturating_sub(BEHIND_NANOS_MAX));
        while self.covered < until {
            let end = until.min(self.covered.saturating_add(COVER_NANOS_MAX));
            let mut sections = self.closed.clone();
            sections.retain(|section| section.overlaps(self.covered, end));
            sections.sort_unstable_by_key(|section| section.from);
            let end = match sections.get(SECTIONS_MAX) {
                Some(next) if next.from > self.covered => end.min(next.from),
                _ => end,
            };
            sections.retain(|section| section.from < end);
            // More than that begin at once only if hundreds of segments grow.
            if sections.len() <= SECTIONS_MAX {
                self.push_cover(end, &sections);
            }
            self.covered = end;
            self.closed.retain(|section| section.until > end);
        }
    }

    fn push_cover(&mut self, until: u64, sections: &[Section]) {
        let point = self
            .lines
            .point(&SPAN_COVER)
            .tag(COLLECTOR, &self.collector);
        let fields = point.fields().string("s", &Section::print(sections));
        fields.string("until", &until.to_string()).at(self.covered);
    }

    /// Returns the lines since the last call.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        let points = self.lines.count() as u64;
        (points > 0).then(|| Batch {
            lines: self.lines.take(),
            points,
            ..Batch::default()
        })
    }
}
