//! Both stores as one: the local journal, which has everything recent, and InfluxDB, which has everything else.

pub(crate) mod series;
#[cfg(test)]
mod tests;
mod traces;

use std::collections::HashSet;

use opentelemetry::SpanId;

pub use traces::Traces;

#[cfg(test)]
use {
    self::series::MergedSeries,
    crate::log::Position,
    crate::store::embedded::{EmbeddedStore, ShipProgress},
    crate::store::influxdb::series::InfluxSeries,
    crate::store::influxdb::{Client, InfluxTraces, InfluxdbOptions, Peers},
    crate::store::series::SeriesLog,
    std::{path::Path, sync::Arc, time::Duration},
    tokio::runtime::Handle,
};

use crate::model::{Note, Trace};
use crate::store::content::Contents;
use crate::store::{StoreError, try_assemble};

/// Makes one trace of its parts in two stores; a span that is in both is there once.
///
/// # Errors
/// When no caller waits for it any more.
pub(crate) fn union(
    local: Option<Trace>,
    remote: Option<Trace>,
) -> Result<Option<Trace>, StoreError> {
    let (local, remote) = match (local, remote) {
        (Some(local), Some(remote)) => (local, remote),
        (one, other) => return Ok(one.or(other)),
    };
    let truncated = local.truncated || remote.truncated;
    let mut notes = local.notes;
    notes.extend(remote.notes);
    let mut spans = local.spans;
    let mut contents = Contents::default();
    let known: HashSet<_> = spans.iter().map(|span| contents.key(span)).collect();
    let mut remote = remote.spans;
    remote.retain(|span| !known.contains(&contents.key(span)));
    spans.append(&mut remote);
    let mut trace = try_assemble(spans)?;
    trace.truncated = truncated;
    add_notes(&mut trace.notes, notes);
    Ok(Some(trace))
}

/// Returns readers of what is here and of an InfluxDB that other collectors may write to; it does not answer. Must be called
/// within a runtime.
#[cfg(test)]
pub(crate) fn with_influxdb_away(
    local: &EmbeddedStore,
    log: &SeriesLog,
    dir: &Path,
) -> (Traces, Arc<MergedSeries>) {
    let week = Duration::from_secs(604_800);
    let away = InfluxdbOptions::at("http://127.0.0.1:9");
    let client = Arc::new(Client::new(away).unwrap());
    let peers = Arc::new(Peers::new(Arc::clone(&client), "aaaaaa", Arc::default()));
    let followed = Arc::new(ShipProgress::open(dir, Position::default()).unwrap());
    let traces = InfluxTraces::new(Arc::clone(&client), week);
    let traces = Traces::merged(local.clone(), followed, traces, Arc::clone(&peers));
    let others = InfluxSeries::new(client, "aaaaaa", week, Handle::current());
    (
        traces,
        Arc::new(MergedSeries::new(log.clone(), others, peers)),
    )
}

/// Adds the notes on what each part's reader changed. What is missing is known only of the whole.
fn add_notes(notes: &mut Vec<Note>, of_parts: Vec<Note>) {
    let mut known: HashSet<(&str, SpanId)> =
        notes.iter().map(|note| (note.code, note.span_id)).collect();
    for note in of_parts {
        let of_part = matches!(
            note.code,
            "duplicate_dropped" | "parts_merged" | "end_before_start" | "no_end_time"
        );
        if of_part && known.insert((note.code, note.span_id)) {
            notes.push(note);
        }
    }
}
