//! Rebuilds a sealed segment whose footer is damaged: reads its blocks as after a crash and writes them to a
//! new file.
//!
//! The new file gets a new number and name, so that readers and caches never mix the two. The name has the old number: after a
//! crash between the two steps, the start deletes the old file.

use std::sync::Arc;

use tracing::warn;

use super::catalog::Catalog;
use super::retention;
use super::segment::recovery::reread;
use super::segment::{Replacement, Segment};
use crate::counters::Incident;
use crate::store::StoreError;

/// Rebuilds every segment whose footer was found damaged.
pub(crate) fn rebuild_broken(catalog: &Catalog) {
    // One thread rebuilds; others that met the same damage then find it repaired.
    let _one_at_a_time = catalog.rebuilding();
    for segment in catalog.snapshot().iter().filter(|s| s.is_broken()) {
        if let Err(error) = rebuild(catalog, segment) {
            catalog.counters.incidents.add(Incident::RebuildFailed, 1);
            warn!(%error, "could not rebuild a segment");
        }
    }
}

fn rebuild(catalog: &Catalog, segment: &Segment) -> Result<(), StoreError> {
    let incidents = &catalog.counters.incidents;
    let old = segment.place().clone();
    incidents.add(Incident::DamagedFooter, 1);
    let Some((open, damage)) = reread(old.clone())? else {
        // Not even the magic number is intact.
        catalog.remove(old.sequence);
        return Ok(());
    };
    damage.count(incidents);
    warn!(path = %old.path.display(), "footer of a segment is damaged, rebuilt from its blocks");
    let kind = match old.is_sampled() {
        true => Replacement::Sampled,
        false => Replacement::Rebuilt,
    };
    let place = catalog.replacement_of(&old, kind);
    match catalog.rewrite(&open, &place) {
        Ok(sealed) => {
            catalog.put(Segment::Sealed(Arc::new(sealed)));
            retention::delete(catalog, segment)
        }
        Err(error) => {
            // It is still readable, from memory.
            incidents.add(Incident::SealFailed, 1);
            warn!(%error, "could not write a rebuilt segment");
            catalog.put(Segment::Open(open));
            Ok(())
        }
    }
}
