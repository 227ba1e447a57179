//! Opens the store's folder: reads the footers of sealed segments; recovers and seals segments left by a
//! crash.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::catalog::{Catalog, SEGMENT_SUFFIX};
use super::retention;
use super::segment::recovery::{Found, recover};
use super::segment::seal::REWRITE_SUFFIX;
use super::segment::{Place, SealedSegment, Segment};
use crate::counters::Incident;
use crate::log::Day;
use crate::store::StoreError;

/// Loads the segments in the folder into the catalog.
pub(crate) fn load(catalog: &Catalog) -> Result<(), StoreError> {
    let folder = catalog.folder();
    for day in Day::all(folder)? {
        for path in entries(&day.folder(folder))? {
            load_file(catalog, path)?;
        }
    }
    finish_replacements(catalog)?;
    catalog.note_sequence(catalog.groups.load()?);
    for segment in catalog.snapshot().iter() {
        let totals = segment.totals();
        catalog
            .arrival
            .note(totals.written.saturating_add(totals.rows));
    }
    Ok(())
}

/// Deletes what another segment took the place of before a crash: a replacement has its name once it is whole.
fn finish_replacements(catalog: &Catalog) -> Result<(), StoreError> {
    let segments = catalog.snapshot();
    for old in segments.iter().filter_map(|new| new.place().replaces()) {
        if let Ok(at) = segments.binary_search_by_key(&old, |segment| segment.place().sequence) {
            retention::delete(catalog, &segments[at])?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    list().map_err(|error| StoreError::io("list", folder, error))
}

/// Adds one file to the catalog; foreign files are left alone.
fn load_file(catalog: &Catalog, path: PathBuf) -> Result<(), StoreError> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let is_ours = [Some(REWRITE_SUFFIX), Some(SEGMENT_SUFFIX)].contains(&extension);
    // A FIFO, a link or a folder with a segment's name is foreign too.
    if is_ours
        && !path
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_file())
    {
        if let Some(sequence) = sequence(&path) {
            catalog.note_sequence(sequence);
        }
        catalog.counters.incidents.add(Incident::ForeignFile, 1);
        warn!(path = %path.display(), "this is no regular file, left alone");
        return Ok(());
    }
    if extension == Some(REWRITE_SUFFIX) {
        // A rewrite interrupted by a crash: the old file is still there, complete.
        return fs::remove_file(&path).map_err(|error| StoreError::io("remove", &path, error));
    }
    let Some(sequence) = sequence(&path).filter(|_| extension == Some(SEGMENT_SUFFIX)) else {
        return Ok(());
    };
    catalog.note_sequence(sequence);
    let place = Place { sequence, path };
    match SealedSegment::open(place.clone(), Arc::clone(&catalog.caches))? {
        Some(sealed) => catalog.put(Segment::Sealed(Arc::new(sealed))),
        None => recover_file(catalog, place)?,
    }
    Ok(())
}

/// Reads and seals a segment that was never sealed.
fn recover_file(catalog: &Catalog, place: Place) -> Result<(), StoreError> {
    let path = place.path.clone();
    let incidents = &catalog.counters.incidents;
    let Some(mut recovered) = recover(place)? else {
        let empty = fs::metadata(&path).is_ok_and(|metadata| metadata.len() < 8);
        if empty {
            return fs::remove_file(&path).map_err(|error| StoreError::io("remove", &path, error));
        }
        incidents.add(Incident::ForeignFile, 1);
        warn!(path = %path.display(), "file is no segment of ours, left alone");
        return Ok(());
    };
    incidents.add(Incident::TornTail, u64::from(recovered.torn));
    let damage = recovered.damage;
    damage.count(incidents);
    if recovered.torn || damage != Found::default() {
        warn!(path = %path.display(), ?damage, "segment was not closed cleanly, repaired");
    }
    if recovered.open.state().totals.rows == 0 {
        return fs::remove_file(&path).map_err(|error| StoreError::io("remove", &path, error));
    }
    let sealed = catalog.seal(&recovered.open, &mut recovered.file);
    match sealed {
        Ok(sealed) => catalog.put(Segment::Sealed(Arc::new(sealed))),
        Err(error) => {
            // A full disk must not prevent opening: the segment is readable as it is.
            warn!(%error, "could not seal a recovered segment");
            incidents.add(Incident::SealFailed, 1);
            recovered.open.abandon();
            catalog.put(Segment::Open(recovered.open));
        }
    }
    Ok(())
}

fn sequence(path: &Path) -> Option<u64> {
    let name = path.file_stem()?.to_str()?;
    name.split_once('-')?.0.parse().ok()
}
