//! Filters of the spans in InfluxDB, so that a search for what few spans have, or none, reads no payloads of the others.
//!
//! `coverage` writes them behind the spans: the rows of a segment are divided into sections, each with filters of its
//! attributes by hash (`tokens`, `filter`) and its longest duration, and covers list the sections of all rows of a time range.
//! `plan` reads them. Whatever is missing, damaged or from another run is searched as if there were no filter.

mod coverage;
mod filter;
mod plan;
mod tokens;

pub(crate) use coverage::Coverage;
pub(crate) use plan::{Part, Probe};

/// Rows of consecutive blocks of a segment, with a filter in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Section {
    /// Arrival of the first row.
    from: u64,
    /// Behind the arrival of the last row.
    until: u64,
    rows: u64,
    /// Longest duration, nanoseconds.
    longest: u64,
}

impl Section {
    /// Returns whether it has rows in that range; perhaps, as rows of other sections lie between.
    fn overlaps(&self, from: u64, until: u64) -> bool {
        self.from < until && self.until > from
    }

    /// Returns sections as text: four numbers each.
    fn print(sections: &[Self]) -> String {
        let text = |section: &Self| {
            let Self {
                from,
                until,
                rows,
                longest,
            } = section;
            format!("{from} {until} {rows} {longest}")
        };
        sections.iter().map(text).collect::<Vec<_>>().join(";")
    }

    /// Reads what `print` wrote; `None` if it is something else.
    fn parse(text: &str) -> Option<Vec<Self>> {
        let section = |text: &str| {
            let mut numbers = text.split(' ').map(|number| number.parse().ok());
            let mut next = || numbers.next().flatten();
            Some(Self {
                from: next()?,
                until: next()?,
                rows: next()?,
                longest: next()?,
            })
        };
        text.split(';').map(section).collect()
    }
}
