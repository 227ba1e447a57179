//! Tail sampling: segments whose spans arrived long enough ago are written anew with the traces that are kept.
//!
//! A trace is judged by what all segments know of it, so that its parts share one verdict. The verdict does not depend on when,
//! or in which order, segments are written anew: failures and breakers at work are there or not, the threshold of an
//! operation is that of the hour in which its trace began, and the share goes by the id. What is left of a trace that was
//! not kept has no root, and so is not kept either.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use fusebox::circuit_breaker::EffectiveState;
use tokio::time::Instant;
use tracing::{info, warn};

use super::block::{BlockReader, PartKind, ints};
use super::catalog::Catalog;
use super::damage::skip_missing;
use super::retention::{delete, delete_replaced};
use super::segment::{NamedPiece, SealedSegment, Segment};
use crate::log::is_older;
use crate::model::{TailSampling, UnixNanos};
use crate::store::StoreError;

/// How long segments are written anew at once; it is done every minute, beside everything else.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Parts of a trace that arrived further apart are judged without each other: all segments would have to be asked.
const TOGETHER: Duration = Duration::from_secs(6 * 3600);
/// The word for what is deleted so on `/metrics`.
const REASON: &str = "sampling";

/// Distinguishes slow requests.
pub(crate) trait SlowRule: Debug + Send + Sync {
    /// Returns whether an operation of a service that began then was slow, among its own.
    ///
    /// # Errors
    /// When what is known of the operation cannot be read.
    fn is_slow(
        &self,
        service: &str,
        operation: &str,
        start: UnixNanos,
        took: Duration,
    ) -> Result<bool, StoreError>;
}

/// What is kept, and which requests were slow.
#[derive(Debug, Clone)]
pub(crate) struct Sampling {
    pub(crate) rule: TailSampling,
    pub(crate) slow: Arc<dyn SlowRule>,
}

/// Writes segments anew that are due, for as long as there is time.
pub(crate) fn sample(
    catalog: &Catalog,
    sampling: &Sampling,
    now: UnixNanos,
) -> Result<(), StoreError> {
    delete_replaced(catalog)?;
    // Followers know spans by their place in a segment.
    if catalog.is_followed {
        return Ok(());
    }
    let begun = Instant::now();
    for segment in catalog.snapshot().iter() {
        if begun.elapsed() > TIME_MAX {
            break;
        }
        let Segment::Sealed(sealed) = segment else {
            continue;
        };
        if !is_due(segment, sampling.rule.after, now) || catalog.stays_whole(segment) {
            continue;
        }
        // A damaged footer is rebuilt meanwhile, or by the next reader.
        let _one_at_a_time = catalog.rebuilding();
        match sample_segment(catalog, sampling, segment, sealed) {
            Err(error @ StoreError::Damaged { .. }) => {
                warn!(%error, "a damaged segment is kept whole");
                catalog.keep_whole(segment);
            }
            // Retention deleted it meanwhile.
            Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

fn is_due(segment: &Segment, after: Duration, now: UnixNanos) -> bool {
    let arrived = UnixNanos::new(segment.totals().written);
    segment.place().replaces().is_none() && !segment.is_broken() && is_older(arrived, after, now)
}

fn sample_segment(
    catalog: &Catalog,
    sampling: &Sampling,
    segment: &Segment,
    sealed: &Arc<SealedSegment>,
) -> Result<(), StoreError> {
    let ids = sealed.trace_ids()?;
    let Some(kept) = judge(catalog, sampling, segment, &ids)? else {
        return Ok(());
    };
    let (rows, bytes) = if kept.is_empty() {
        delete(catalog, segment)?;
        catalog.counters.segments_deleted.add(REASON, 1);
        (0, 0)
    } else {
        let place = catalog.replacement_of(segment.place());
        let rewritten = catalog.rewrite_rows(segment, &place, &|reader| reader.rows_of_any(&kept));
        let rewritten = Segment::Sealed(Arc::new(rewritten?));
        let size = (rewritten.totals().rows, rewritten.bytes());
        catalog.replace(segment.place(), rewritten);
        size
    };
    let spans = segment.totals().rows - rows;
    let bytes = segment.bytes().saturating_sub(bytes);
    catalog.counters.spans_deleted.add(REASON, spans);
    catalog.counters.bytes_deleted.add(REASON, bytes);
    let (traces, kept) = (ids.len(), kept.len());
    info!(traces, kept, spans, bytes, "sampled a segment");
    Ok(())
}

/// What is known of a trace.
#[derive(Debug, Default)]
struct Known {
    is_kept: bool,
    /// The segment that has the root, its start, service and operation.
    root: Option<(usize, u64, String, String)>,
}

impl Known {
    fn add(&mut self, piece: NamedPiece, segment: usize) {
        let is_at_work = |mark: &crate::model::CircuitMark| {
            let is_closed = matches!(mark.state, None | Some(EffectiveState::Closed));
            mark.is_harmed() || !is_closed
        };
        self.is_kept |= piece.piece.errors > 0 || piece.circuits.iter().any(is_at_work);
        let (Some(root), Some(words)) = (piece.piece.root, piece.root) else {
            return;
        };
        let known = self.root.as_ref().map(|(_, start, ..)| *start);
        if known.is_none_or(|known| root.start < known) {
            self.root = Some((segment, root.start, words.service, words.operation));
        }
    }
}

/// Returns which of a segment's traces are kept; `None` where another segment has to be rebuilt first.
fn judge(
    catalog: &Catalog,
    sampling: &Sampling,
    segment: &Segment,
    ids: &[u128],
) -> Result<Option<HashSet<u128>>, StoreError> {
    let mut known: Vec<Known> = ids
        .iter()
        .map(|id| Known {
            is_kept: sampling.rule.keeps_share(*id),
            root: None,
        })
        .collect();
    let arrived = UnixNanos::new(segment.totals().written);
    let segments = catalog.snapshot();
    let is_near = |other: &&Segment| {
        let other = UnixNanos::new(other.totals().written);
        (arrived - other).max(other - arrived) <= TOGETHER
    };
    let near: Vec<&Segment> = segments.iter().filter(is_near).collect();
    for (number, other) in near.iter().enumerate() {
        // What retention deletes meanwhile is no longer a part of the trace.
        let Some(pieces) = skip_missing(other.pieces(ids))? else {
            if other.is_broken() {
                return Ok(None);
            }
            continue;
        };
        for (at, piece) in pieces {
            known[at].add(piece, number);
        }
    }
    keep_slow(sampling, &near, ids, &mut known)?;
    let kept = ids.iter().zip(&known).filter(|(_, known)| known.is_kept);
    Ok(Some(kept.map(|(id, _)| *id).collect()))
}

/// Keeps the slow ones among those that are not kept yet.
fn keep_slow(
    sampling: &Sampling,
    segments: &[&Segment],
    ids: &[u128],
    known: &mut [Known],
) -> Result<(), StoreError> {
    for (number, segment) in segments.iter().enumerate() {
        let open = |(at, known): (usize, &Known)| {
            let (of, ..) = known.root.as_ref().filter(|_| !known.is_kept)?;
            (*of == number).then_some((ids[at], at))
        };
        let open: HashMap<u128, usize> = known.iter().enumerate().filter_map(open).collect();
        if open.is_empty() {
            continue;
        }
        for (id, took) in skip_missing(roots(segment, &open))?.unwrap_or_default() {
            let known = &mut known[open[&id]];
            if let Some((_, start, service, operation)) = &known.root {
                let start = UnixNanos::new(*start);
                known.is_kept = sampling.slow.is_slow(service, operation, start, took)?;
            }
        }
    }
    Ok(())
}

/// Returns how long the earliest root of each of those traces took in a segment.
fn roots(
    segment: &Segment,
    wanted: &HashMap<u128, usize>,
) -> Result<HashMap<u128, Duration>, StoreError> {
    let file = segment.file()?;
    let path = &segment.place().path;
    let mut roots: HashMap<u128, (u64, i64)> = HashMap::new();
    for block in segment.blocks().iter() {
        let reader = BlockReader::open(&file, path, block.offset, block.header_bytes)?;
        let (ids, index) = reader.traces()?;
        if !ids.iter().any(|id| wanted.contains_key(id)) {
            continue;
        }
        let parents = reader.ids::<8>(PartKind::ParentIds)?;
        let starts = reader.row_numbers(PartKind::Starts)?;
        let durations = reader.row_numbers(PartKind::Durations)?;
        for (((trace, parent), start), took) in
            index.iter().zip(&parents).zip(starts).zip(durations)
        {
            let id = ids[*trace as usize];
            if *parent != [0; 8] || !wanted.contains_key(&id) {
                continue;
            }
            let root = roots.entry(id).or_insert((u64::MAX, 0));
            *root = (*root).min((start, ints::from_ordered(took)));
        }
    }
    let took = |nanos: i64| Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
    let roots = roots.into_iter();
    Ok(roots.map(|(id, (_, nanos))| (id, took(nanos))).collect())
}
