//! Groups of sealed segments, each with one filter of their traces in a file of its own: a lookup reads a page of each
//! group instead of a Bloom filter of each segment.
//!
//! A group repeats what footers say, so one that is missing or damaged costs only time: its segments are asked
//! themselves, and grouped again.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::place_filter::{self, PAGE_BYTES, Precision, at};
use super::segment::{SealedSegment, Segment};
use crate::files;
use crate::log::LogFile;
use crate::store::StoreError;
use crate::store::bytes::{Reader, put_varint};
use crate::store::cancel;
use crate::store::hash::Seed;
use crate::sync::{Mutex, RwLock};

/// Below the folder of segments.
const FOLDER: &str = "groups";
const SUFFIX: &str = "grp";
const UNFINISHED: &str = "tmp";
/// First bytes of a file, with its version.
const MAGIC: [u8; 8] = *b"FUSEBXG1";
/// Magic, length of the header, its checksum.
const HEAD_BYTES: usize = 16;
const HEADER_BYTES_MAX: usize = 4_096;
/// Segments of a group: the bits of a mask.
const SEGMENTS_MAX: usize = if cfg!(test) { 4 } else { 64 };
/// Bytes of trace indexes after which a group has fewer segments: half a million traces, 4 MiB while it is written.
const INDEX_BYTES_MAX: usize = 10 << 20;
/// One false positive in 1,024, which then reads the Bloom filter of the segment.
const PRECISION: Precision = Precision {
    remainder_bits: 10,
    place_bits: 7,
};
/// How long groups are written at once, every minute; after an upgrade there are many.
const TIME_MAX: Duration = Duration::from_secs(5);

/// The groups of a store.
#[derive(Debug)]
pub(crate) struct Groups {
    folder: PathBuf,
    list: RwLock<Arc<GroupList>>,
    /// Segments whose traces did not fit a filter: each is asked itself, and none is tried again in this run.
    unfit: Mutex<HashSet<u64>>,
}

#[derive(Debug, Default)]
struct GroupList {
    groups: Vec<Arc<Group>>,
    /// Group and place in it, by the number of a segment.
    places: HashMap<u64, (usize, usize)>,
}

#[derive(Debug)]
struct Group {
    path: PathBuf,
    /// Of the hashes of traces: random, so that senders cannot choose ids that fill a page.
    seed: Seed,
    /// Numbers of its segments.
    segments: Vec<u64>,
    /// Where its pages begin.
    begin: u64,
    pages: u64,
    is_damaged: AtomicBool,
}

/// Which segments may have which of the wanted traces.
#[derive(Debug)]
pub(crate) struct Shortlist {
    list: Arc<GroupList>,
    /// By group and wanted trace: a bit per segment.
    masks: Vec<Vec<u64>>,
    wanted: usize,
}

impl Groups {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.join(FOLDER),
            list: RwLock::default(),
            unfit: Mutex::default(),
        }
    }

    /// Reads the heads of the groups in the folder, and deletes damaged and unfinished ones. Returns the highest number of
    /// their segments, even deleted ones: no other segment may get such a number.
    pub(crate) fn load(&self) -> Result<u64, StoreError> {
        let list = |error| StoreError::io("list", &self.folder, error);
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries.map_err(list)?,
        };
        let mut groups: Vec<Arc<Group>> = Vec::new();
        for entry in entries {
            let path = entry.map_err(list)?.path();
            match open_or_delete(&path) {
                Ok(group) => groups.extend(group.map(Arc::new)),
                Err(error) => warn!(%error, "could not open a group of segments"),
            }
        }
        let numbers = groups.iter().flat_map(|group| &group.segments);
        let highest = numbers.max().copied().unwrap_or_default();
        self.put(groups);
        Ok(highest)
    }

    /// Returns the size of all groups on disk.
    pub(crate) fn bytes(&self) -> u64 {
        let list = self.list.read();
        list.groups.iter().map(|group| group.bytes()).sum()
    }

    /// Looks up traces by the low halves of their ids.
    pub(crate) fn shortlist(
        &self,
        lows: impl ExactSizeIterator<Item = u64> + Clone,
    ) -> Result<Shortlist, StoreError> {
        let list = Arc::clone(&self.list.read());
        let wanted = lows.len();
        let mut masks = Vec::with_capacity(list.groups.len());
        for group in &list.groups {
            cancel::check()?;
            cancel::spend(wanted * PAGE_BYTES)?;
            let found = group.masks(lows.clone());
            masks.push(found.unwrap_or_else(|error| {
                group.note_damage(&error);
                // Its segments are asked themselves.
                vec![u64::MAX; wanted]
            }));
        }
        Ok(Shortlist {
            list,
            masks,
            wanted,
        })
    }

    /// Deletes the groups without a segment and damaged ones, and groups the segments that are in none.
    pub(crate) fn maintain(&self, segments: &[Segment]) -> Result<(), StoreError> {
        let begun = Instant::now();
        let (mut groups, mut outcome) = self.delete_dead(segments);
        let mut settled: HashSet<u64> = groups.iter().flat_map(|g| g.segments.clone()).collect();
        settled.extend(self.unfit.lock().iter());
        let mut next = Vec::new();
        let mut index_bytes = 0;
        for segment in segments {
            let Segment::Sealed(sealed) = segment else {
                continue;
            };
            if segment.is_broken() || settled.contains(&sealed.place.sequence) {
                continue;
            }
            index_bytes += sealed.index_bytes();
            next.push(sealed);
            if next.len() == SEGMENTS_MAX || index_bytes >= INDEX_BYTES_MAX {
                let segments = std::mem::take(&mut next);
                match self.write(&segments) {
                    Ok(Some(written)) => groups.push(Arc::new(written)),
                    Ok(None) => {
                        let numbers = segments.iter().map(|segment| segment.place.sequence);
                        self.unfit.lock().extend(numbers);
                    }
                    // Perhaps retention deleted one of them.
                    Err(error) => outcome = Err(error),
                }
                self.put(groups.clone());
                index_bytes = 0;
            }
            if begun.elapsed() > TIME_MAX {
                break;
            }
        }
        outcome
    }

    /// Returns the groups that stay.
    fn delete_dead(&self, segments: &[Segment]) -> (Vec<Arc<Group>>, Result<(), StoreError>) {
        let live: HashSet<u64> = segments.iter().map(|s| s.place().sequence).collect();
        let is_dead = |group: &Arc<Group>| {
            group.is_damaged.load(Ordering::Relaxed)
                || !group.segments.iter().any(|number| live.contains(number))
        };
        self.unfit.lock().retain(|number| live.contains(number));
        let all = self.list.read().groups.clone();
        let (dead, stay): (Vec<_>, Vec<_>) = all.into_iter().partition(is_dead);
        if !dead.is_empty() {
            self.put(stay.clone());
        }
        let deleted = dead.iter().map(|group| remove(&group.path));
        (stay, deleted.fold(Ok(()), Result::and))
    }

    fn put(&self, groups: Vec<Arc<Group>>) {
        let mut places = HashMap::new();
        for (number, group) in groups.iter().enumerate() {
            let segments = group.segments.iter().zip(0..);
            places.extend(segments.map(|(segment, place)| (*segment, (number, place))));
        }
        *self.list.write() = Arc::new(GroupList { groups, places });
    }

    /// Writes a group; `None` if its traces do not fit a filter.
    fn write(&self, segments: &[&Arc<SealedSegment>]) -> Result<Option<Group>, StoreError> {
        let seed = Seed::random();
        let mut pairs = Vec::new();
        for (segment, place) in segments.iter().zip(0..) {
            let lows = segment.trace_lows()?;
            pairs.extend(lows.into_iter().map(|low| at(hash(seed, low), place)));
        }
        let numbers = segments.iter().map(|segment| segment.place.sequence);
        let numbers: Vec<u64> = numbers.collect();
        let Some(pages) = place_filter::encode(&mut pairs, segments.len(), PRECISION) else {
            return Ok(None);
        };
        let mut bytes = encode_header(seed, pages.len() / PAGE_BYTES, &numbers);
        bytes.extend_from_slice(&pages);
        // A reader that still has an earlier file of the same segments never reads this one in its place.
        let name = format!(
            "{:010}-{}.{SUFFIX}",
            numbers[0],
            u64::from_le_bytes(seed.to_bytes())
        );
        let path = self.folder.join(name);
        let unfinished = path.with_extension(UNFINISHED);
        create(&unfinished, &bytes, &path).inspect_err(|_| {
            let _ = fs::remove_file(&unfinished);
        })?;
        let opened = Group::open(&path);
        opened.map_err(|error| StoreError::io("open", &path, error))
    }
}

fn create(unfinished: &Path, bytes: &[u8], path: &Path) -> Result<(), StoreError> {
    let mut file = LogFile::create(unfinished, &MAGIC)?;
    file.append(bytes)?;
    file.sync()?;
    file.rename(path)
}

/// Opens a group; `None` if the file is a foreign one, or was deleted because it is damaged or unfinished.
fn open_or_delete(path: &Path) -> Result<Option<Group>, StoreError> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let group = match extension {
        Some(SUFFIX) => Group::open(path).map_err(|error| StoreError::io("open", path, error))?,
        Some(UNFINISHED) => None,
        _ => return Ok(None),
    };
    if group.is_none() {
        remove(path)?;
    }
    Ok(group)
}

/// Encodes what stands between the magic and the pages.
fn encode_header(seed: Seed, pages: usize, segments: &[u64]) -> Vec<u8> {
    let mut header = seed.to_bytes().to_vec();
    put_varint(&mut header, pages as u64);
    put_varint(&mut header, segments.len() as u64);
    for number in segments {
        put_varint(&mut header, *number);
    }
    let mut out = (header.len() as u32).to_le_bytes().to_vec();
    out.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    out.extend_from_slice(&header);
    out
}

fn hash(seed: Seed, low: u64) -> u64 {
    seed.hash(&low.to_le_bytes())
}

impl Group {
    /// Opens a file; `None` if it is no group.
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = files::open_regular(path)?;
        let length = file.metadata()?.len();
        let mut head = [0; HEAD_BYTES];
        if length < HEAD_BYTES as u64 {
            return Ok(None);
        }
        file.read_exact_at(&mut head, 0)?;
        let mut reader = Reader::new(&head);
        let (magic, bytes, crc) = (reader.take(8), reader.fixed_u32(), reader.fixed_u32());
        let bytes = bytes.unwrap_or_default() as usize;
        let begin = (HEAD_BYTES + bytes) as u64;
        if magic != Some(&MAGIC) || bytes > HEADER_BYTES_MAX || begin > length {
            return Ok(None);
        }
        let mut header = vec![0; bytes];
        file.read_exact_at(&mut header, HEAD_BYTES as u64)?;
        if Some(crc32fast::hash(&header)) != crc {
            return Ok(None);
        }
        let group = decode_header(&header).map(|(seed, pages, segments)| Self {
            path: path.to_owned(),
            seed,
            segments,
            begin,
            pages,
            is_damaged: AtomicBool::new(false),
        });
        // Of a file that was cut, the pages would be others.
        Ok(group.filter(|group| group.pages > 0 && group.bytes() == length))
    }

    fn note_damage(&self, error: &StoreError) {
        if !self.is_damaged.swap(true, Ordering::Relaxed) {
            warn!(%error, "a group of segments cannot be read, it is written anew");
        }
    }

    fn bytes(&self) -> u64 {
        let pages = self.pages.saturating_mul(PAGE_BYTES as u64);
        self.begin.saturating_add(pages)
    }

    /// Returns per trace a bit for each segment that may have it.
    fn masks(&self, lows: impl Iterator<Item = u64>) -> Result<Vec<u64>, StoreError> {
        let file = files::open_regular(&self.path)
            .map_err(|error| StoreError::io("open", &self.path, error))?;
        lows.map(|low| self.mask(&file, hash(self.seed, low)))
            .collect()
    }

    fn mask(&self, file: &File, token: u64) -> Result<u64, StoreError> {
        let mut page = [0; PAGE_BYTES];
        let number = place_filter::page_of(token, self.pages);
        file.read_exact_at(&mut page, self.begin + number * PAGE_BYTES as u64)
            .map_err(|error| StoreError::io("read", &self.path, error))?;
        let places = place_filter::places(&page, token, self.pages)
            .ok_or_else(|| StoreError::damaged(&self.path, "page of a filter"))?;
        let bit = |place: u8| 1u64.checked_shl(place.into()).unwrap_or(u64::MAX);
        Ok(places.into_iter().fold(0, |mask, place| mask | bit(place)))
    }
}

fn decode_header(header: &[u8]) -> Option<(Seed, u64, Vec<u64>)> {
    let mut reader = Reader::new(header);
    let seed = Seed::fixed(reader.fixed_u64()?);
    let pages = reader.varint()?;
    let count = usize::try_from(reader.varint()?).ok()?;
    let segments: Option<Vec<u64>> = (0..count.min(u64::BITS as usize))
        .map(|_| reader.varint())
        .collect();
    reader.is_empty().then_some((seed, pages, segments?))
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("delete", path, error))
        }
        _ => Ok(()),
    }
}

impl Shortlist {
    /// Returns whether a segment may have the wanted trace with that index.
    pub(crate) fn may_have(&self, segment: &Segment, at: usize) -> bool {
        match self.list.places.get(&segment.place().sequence) {
            Some(&(group, place)) => self.masks[group][at] >> place & 1 == 1,
            None => true,
        }
    }

    /// Returns the indexes of the wanted traces that a segment may have.
    pub(crate) fn of<'a>(&'a self, segment: &'a Segment) -> impl Iterator<Item = usize> + 'a {
        (0..self.wanted).filter(|at| self.may_have(segment, *at))
    }
}
