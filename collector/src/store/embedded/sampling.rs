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
use super::damage::{repair_all, skip_missing, tolerate};
use super::rebuild::rebuild_broken;
use super::retention::{delete, delete_replaced};
use super::segment::{NamedPiece, Replacement, SealedSegment, Segment};
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
    /// Returns whether an operation of a service that began and arrived then was slow, among its own.
    ///
    /// # Errors
    /// When what is known of the operation cannot be read.
    fn is_slow(
        &self,
        service: &str,
        operation: &str,
        began_and_arrived: (UnixNanos, UnixNanos),
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
    // Nothing near a damaged footer is judged, and perhaps no reader meets it.
    rebuild_broken(catalog);
    let begun = Instant::now();
    let mut outcome = Ok(());
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
        let sample = || sample_segment(catalog, sampling, segment, sealed);
        let sampled = match sample() {
            Err(StoreError::Damaged { .. }) if repair_all(catalog, segment) > 0 => sample(),
            sampled => sampled,
        };
        match sampled {
            Err(error @ StoreError::Damaged { .. }) => {
                warn!(%error, "a damaged segment is kept whole");
                catalog.keep_whole(segment);
            }
            Err(error) if is_gone(&error) => {}
            // One that cannot be read must not hold up the others.
            sampled => outcome = outcome.and(sampled),
        }
    }
    outcome
}

/// Returns whether retention deleted a segment meanwhile.
fn is_gone(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

fn is_due(segment: &Segment, after: Duration, now: UnixNanos) -> bool {
    let arrived = UnixNanos::new(segment.totals().written);
    !segment.place().is_sampled() && !segment.is_broken() && is_older(arrived, after, now)
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
        let place = catalog.replacement_of(segment.place(), Replacement::Sampled);
        let rewritten = catalog.rewrite_rows(segment, &place, &|reader| reader.rows_of_any(&kept));
        let rewritten = Segment::Sealed(Arc::new(rewritten?));
        if !catalog.replace(segment.place(), &rewritten) {
            return delete(catalog, &rewritten);
        }
        (rewritten.totals().rows, rewritten.bytes())
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
    keep_slow(catalog, sampling, &near, ids, &mut known)?;
    let kept = ids.iter().zip(&known).filter(|(_, known)| known.is_kept);
    Ok(Some(kept.map(|(id, _)| *id).collect()))
}

/// Keeps the slow ones among those that are not kept yet.
fn keep_slow(
    catalog: &Catalog,
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
        match roots(catalog, segment, &open) {
            Ok(Some(roots)) => judge_roots(sampling, segment, &open, roots, known)?,
            // Those that may have been slow stay.
            Ok(None) => open.values().for_each(|at| known[*at].is_kept = true),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Keeps the slow ones among those of a segment's roots.
fn judge_roots(
    sampling: &Sampling,
    segment: &Segment,
    open: &HashMap<u128, usize>,
    roots: Vec<Root>,
    known: &mut [Known],
) -> Result<(), StoreError> {
    let arrived = UnixNanos::new(segment.totals().written);
    for root in roots {
        let known = &mut known[open[&root.trace]];
        if let Some((_, start, service, operation)) = &known.root {
            let times = (UnixNanos::new(*start), arrived);
            let slow = &sampling.slow;
            known.is_kept = slow.is_slow(service, operation, times, root.took)?;
        }
    }
    Ok(())
}

/// A root of a trace; the earliest is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Root {
    start: u64,
    took: Duration,
    trace: u128,
}

/// Returns the earliest root of each of those traces in a segment, in the order of their starts; `None` if some cannot be read.
fn roots(
    catalog: &Catalog,
    segment: &Segment,
    wanted: &HashMap<u128, usize>,
) -> Result<Option<Vec<Root>>, StoreError> {
    let file = segment.file()?;
    let path = &segment.place().path;
    let mut roots: HashMap<u128, Root> = HashMap::new();
    for (number, block) in (0..).zip(segment.blocks().iter()) {
        let read = || {
            let reader = BlockReader::open(&file, path, block.offset, block.header_bytes)?;
            roots_of_block(&reader, wanted)
        };
        let Some(found) = tolerate(catalog, segment, number, read)? else {
            return Ok(None);
        };
        for root in found {
            let earliest = roots.entry(root.trace).or_insert(root);
            *earliest = root.min(*earliest);
        }
    }
    let mut roots: Vec<Root> = roots.into_values().collect();
    roots.sort_unstable();
    Ok(Some(roots))
}

/// Returns the roots of those traces in a block.
fn roots_of_block(
    reader: &BlockReader<'_>,
    wanted: &HashMap<u128, usize>,
) -> Result<Vec<Root>, StoreError> {
    let (ids, index) = reader.traces()?;
    if !ids.iter().any(|id| wanted.contains_key(id)) {
        return Ok(Vec::new());
    }
    let parents = reader.ids::<8>(PartKind::ParentIds)?;
    let starts = reader.row_numbers(PartKind::Starts)?;
    let durations = reader.row_numbers(PartKind::Durations)?;
    let rows = index.iter().zip(&parents).zip(starts).zip(durations);
    let roots = rows.filter(|(((_, parent), _), _)| **parent == [0; 8]);
    let roots = roots.map(|(((trace, _), start), took)| {
        let nanos = u64::try_from(ints::from_ordered(took)).unwrap_or(0);
        Root {
            start,
            took: Duration::from_nanos(nanos),
            trace: ids[*trace as usize],
        }
    });
    Ok(roots
        .filter(|root| wanted.contains_key(&root.trace))
        .collect())
}
