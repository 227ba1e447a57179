//! Combines both stores: the local journal, which has everything recent, and InfluxDB, which has the rest.

mod logs;
pub(crate) mod series;
#[cfg(test)]
mod tests;
mod traces;

use std::collections::HashMap;

pub use logs::Logs;
pub use traces::Traces;

#[cfg(test)]
use {
    self::series::MergedSeries,
    crate::log::Position,
    crate::store::ShipProgress,
    crate::store::embedded::EmbeddedStore,
    crate::store::influxdb::series::InfluxSeries,
    crate::store::influxdb::{Client, InfluxTraces, InfluxdbOptions, Peers},
    crate::store::series::SeriesLog,
    std::{path::Path, sync::Arc, time::Duration},
    tokio::runtime::Handle,
};

use crate::model::{Span, Trace};
use crate::store::content::{Contents, Head, Key};
use crate::store::{Received, StoreError, cancel};

/// Assembles one trace from the spans received by two stores; spans in both are included once.
///
/// Takes spans as received, because what one store's reader merged or corrected in its part would not match
/// the other part.
///
/// # Errors
/// When the query was cancelled or its time is over.
pub(crate) fn union(local: Received, remote: Received) -> Result<Option<Trace>, StoreError> {
    let is_cut = local.is_cut || remote.is_cut;
    let mut spans = local.spans;
    let remote = without_copies(&mut spans, remote.spans)?;
    spans.extend(remote);
    Received { spans, is_cut }.assemble()
}

/// Returns the spans of `remote` that are not in `local`. Copies of a span that a store shortened are
/// recognised by their head; the more complete one stays.
fn without_copies(local: &mut Vec<Span>, remote: Vec<Span>) -> Result<Vec<Span>, StoreError> {
    let mut contents = Contents::default();
    // A sender may send a span repeatedly, so each span here cancels only one copy in the other store.
    let mut whole: HashMap<Key, Vec<usize>> = HashMap::new();
    for (place, span) in local.iter().enumerate() {
        whole.entry(contents.key(span)).or_default().push(place);
    }
    cancel::check()?;
    let mut is_copied = vec![false; local.len()];
    let mut rest = remote;
    rest.retain(|span| {
        let copy = whole.get_mut(&contents.key(span)).and_then(Vec::pop);
        copy.map(|place| is_copied[place] = true).is_none()
    });
    cancel::check()?;
    let head = |span: &Span| Key::of(&(span.span_id.to_bytes(), Head::from(span)));
    let mut heads: HashMap<Key, Vec<usize>> = HashMap::new();
    for (place, span) in local.iter().enumerate().filter(|(at, _)| !is_copied[*at]) {
        heads.entry(head(span)).or_default().push(place);
    }
    let mut is_shorter = vec![false; local.len()];
    rest.retain(|span| {
        let Some(places) = heads.get_mut(&head(span)) else {
            return true;
        };
        if contents.is_shortened(span) {
            return places.pop().is_none();
        }
        let shortened = places
            .iter()
            .position(|at| contents.is_shortened(&local[*at]));
        if let Some(at) = shortened {
            is_shorter[places.swap_remove(at)] = true;
        }
        true
    });
    let mut is_shorter = is_shorter.into_iter();
    local.retain(|_| !is_shorter.next().unwrap_or(false));
    Ok(rest)
}

/// Returns readers of the local stores and of an unreachable InfluxDB with possible other collectors. Must be
/// called within a runtime.
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
    let followed =
        Arc::new(ShipProgress::open(&dir.join("deleted.json"), Position::default()).unwrap());
    let traces = InfluxTraces::new(Arc::clone(&client), week);
    let traces = Traces::merged(local.clone(), followed, traces, Arc::clone(&peers));
    let others = InfluxSeries::new(client, "aaaaaa", week, Handle::current());
    (
        traces,
        Arc::new(MergedSeries::new(log.clone(), others, peers)),
    )
}
