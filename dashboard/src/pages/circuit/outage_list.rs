//! The list of outages on the page: words, links and times of each line.

use std::collections::BTreeSet;

use fusebox_collector::model::UnixNanos;

use super::outages::{Line, Outage};
use crate::pages::view::href::Href;
use crate::pages::view::text;
use crate::pages::view::{message, moment};

/// Most lines; the log has the others.
const LINES_MAX: usize = 30;
/// Most outages listed below the line of a flapping breaker.
const RUN_MAX: usize = 30;

/// One line of the list.
#[derive(Debug)]
pub(super) struct OutageRow {
    /// Its start, as HTML.
    pub(super) when: String,
    /// The link to the wall at that time.
    pub(super) at_href: String,
    /// Its duration.
    pub(super) lasted: String,
    /// Whether it is in progress.
    pub(super) is_under_way: bool,
    /// The reason of its start.
    pub(super) why: String,
    /// Probes and instances.
    pub(super) details: String,
    /// The link to the call that started it.
    pub(super) call: Option<String>,
    /// The outages of a flapping breaker; empty for a single outage.
    pub(super) run: Vec<OutageRow>,
}

/// Returns the rows of these lines; `is_out` tells whether the newest outage may be in progress.
pub(super) fn rows(lines: &[Line], is_out: bool, now: u64) -> Vec<OutageRow> {
    let row = |(index, line): (usize, &Line)| {
        let is_out = is_out && index == 0;
        match line {
            Line::One(outage) => one(outage, is_out, now),
            Line::Flapping(run) => flapping(run, is_out, now),
        }
    };
    lines.iter().take(LINES_MAX).enumerate().map(row).collect()
}

fn one(outage: &Outage, is_out: bool, now: u64) -> OutageRow {
    let is_under_way = is_out && outage.end.is_none();
    let start = outage.start;
    let length = |end: UnixNanos| text::age(end.get().saturating_sub(start.get()));
    let lasted = match outage.end {
        Some(end) if outage.began_before => t!("until {age} later", age = length(end)),
        Some(end) => length(end),
        None if is_under_way => t!("{age} so far", age = length(UnixNanos::new(now))),
        None => t!("no end reported").to_owned(),
    };
    OutageRow {
        when: moment::short(start.get(), now),
        at_href: wall_at(start),
        lasted,
        is_under_way,
        why: match outage.began_before {
            true => t!("began earlier").to_owned(),
            false => message::shown(&outage.reason, 300).into_owned(),
        },
        details: details(outage.failed_probes, outage.instances.len()),
        call: outage
            .call
            .map(|(id, span)| Href::trace(id).with_some("span", span).to_string()),
        run: Vec::new(),
    }
}

fn flapping(run: &[Outage], is_out: bool, now: u64) -> OutageRow {
    let end_of = |outage: &Outage| outage.end.map_or(now, UnixNanos::get);
    let out_for: u64 = run
        .iter()
        .map(|outage| end_of(outage).saturating_sub(outage.start.get()))
        .sum();
    let first = run.last().map_or(UnixNanos::new(now), |first| first.start);
    let whole = run.first().map_or(now, end_of).saturating_sub(first.get());
    let instances: BTreeSet<&String> = run.iter().flat_map(|outage| &outage.instances).collect();
    let rows = run.iter().take(RUN_MAX).enumerate();
    OutageRow {
        when: moment::short(first.get(), now),
        at_href: wall_at(first),
        lasted: text::age(whole),
        is_under_way: is_out && run.first().is_some_and(|last| last.end.is_none()),
        why: t!(
            "{n} outages, out for {age} in all",
            n = run.len(),
            age = text::age(out_for)
        ),
        details: details(run.iter().map(|o| o.failed_probes).sum(), instances.len()),
        call: None,
        run: rows
            .map(|(index, outage)| one(outage, is_out && index == 0, now))
            .collect(),
    }
}

fn details(failed_probes: u64, instances: usize) -> String {
    let instances = tn!(instances, "{n} instance", "{n} instances");
    match failed_probes {
        0 => instances,
        n => format!(
            "{} · {instances}",
            tn!(n, "{n} probe failed", "{n} probes failed")
        ),
    }
}

fn wall_at(at: UnixNanos) -> String {
    Href::new("/")
        .with("at", text::datetime_local(at.get()))
        .to_string()
}
