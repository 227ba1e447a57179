//! Builds the row of a trace from the summaries of all segments.

use std::collections::BTreeMap;

use opentelemetry::TraceId;

use super::super::catalog::Catalog;
use super::super::damage::skip_missing;
use super::super::segment::{NamedPiece, Segment};
use crate::model::{ServiceCount, TraceSummary, UnixNanos};
use crate::store::StoreError;
use crate::store::matching::harmful_first;

/// A trace, merged over all segments.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) summary: TraceSummary,
    /// Its blocks, each with the index of its segment.
    pub(crate) blocks: Vec<(usize, u32)>,
}

/// Looks up traces in every segment and merges the results; `None` for one that no segment has.
pub(crate) fn resolve(
    catalog: &Catalog,
    segments: &[Segment],
    ids: &[u128],
) -> Result<Vec<Option<Resolved>>, StoreError> {
    let mut found: Vec<Vec<NamedPiece>> = ids.iter().map(|_| Vec::new()).collect();
    let mut blocks: Vec<Vec<(usize, u32)>> = ids.iter().map(|_| Vec::new()).collect();
    let shortlist = catalog.shortlist(ids)?;
    for (place, segment) in segments.iter().enumerate() {
        let listed: Vec<usize> = shortlist.of(segment).collect();
        if listed.is_empty() {
            continue;
        }
        let wanted: Vec<u128> = listed.iter().map(|at| ids[*at]).collect();
        for (at, piece) in skip_missing(segment.pieces(&wanted))?.unwrap_or_default() {
            let at = listed[at];
            blocks[at].extend(piece.blocks.iter().map(|&block| (place, block)));
            found[at].push(piece);
        }
    }
    let merged = ids.iter().zip(found).zip(blocks);
    Ok(merged
        .map(|((&id, pieces), blocks)| {
            let summary = merge(id, &pieces)?;
            Some(Resolved { summary, blocks })
        })
        .collect())
}

fn merge(id: u128, pieces: &[NamedPiece]) -> Option<TraceSummary> {
    let first = pieces
        .iter()
        .map(|piece| (piece.piece.first.start, &piece.first))
        .min()?;
    let roots = pieces.iter().filter_map(|piece| {
        let start = piece.piece.root.as_ref()?.start;
        Some((start, piece.root.as_ref()?))
    });
    let root = roots.min();
    let named = root.unwrap_or(first).1.clone();
    let end = pieces.iter().map(|piece| piece.piece.max_end).max()?;
    let sum = |count: fn(&NamedPiece) -> u32| {
        pieces
            .iter()
            .fold(0u32, |sum, piece| sum.saturating_add(count(piece)))
    };
    let marks = pieces.iter().flat_map(|piece| &piece.circuits);
    Some(TraceSummary {
        trace_id: TraceId::from_bytes(id.to_be_bytes()),
        root_service: named.service,
        root_operation: named.operation,
        root_received: root.is_some(),
        root_failed: named.failed,
        start: UnixNanos::new(first.0),
        duration_nanos: end.saturating_sub(first.0),
        span_count: sum(|piece| piece.piece.spans),
        error_count: sum(|piece| piece.piece.errors),
        services: services(pieces),
        circuits: harmful_first(marks.cloned().collect()),
    })
}

/// Sums spans and errors by service, most spans first.
fn services(pieces: &[NamedPiece]) -> Vec<ServiceCount> {
    let mut sums: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for piece in pieces {
        for (name, counts) in piece.services.iter().zip(&piece.piece.services) {
            let sum = sums.entry(name).or_default();
            sum.0 = sum.0.saturating_add(counts.spans);
            sum.1 = sum.1.saturating_add(counts.errors);
        }
    }
    let mut services: Vec<ServiceCount> = sums
        .into_iter()
        .map(|(service, (spans, errors))| ServiceCount {
            service: service.to_owned(),
            spans,
            errors,
        })
        .collect();
    services.sort_by_key(|count| std::cmp::Reverse(count.spans));
    services
}
