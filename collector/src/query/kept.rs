//! Traces kept beyond the retention, each as a copy in its own file in `kept` in the data directory. The
//! first line of a file is the `KeptTrace`; its spans follow as OTLP JSON, in the format of downloads. The
//! number and the total size of the files are limited; they are deleted only on request.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::TraceId;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::uploads::{UPLOAD_BYTES_MAX, read_file};
use crate::codec::otlp::encode::ResourceSpans;
use crate::files;
use crate::live::circuits::Control;
use crate::model::{CircuitKey, EventKind, OperatorEvent, Trace, UnixNanos};
use crate::store::cancel::{completed, off_worker};
use crate::store::{StoreError, durable};
use crate::sync::Mutex;

/// Largest copy: reading it costs as much as reading an uploaded file.
pub const KEPT_TRACE_BYTES_MAX: usize = UPLOAD_BYTES_MAX;
/// Number of kept traces: a list of more could not be looked through.
pub const KEPT_MAX: usize = 1_000;
/// Longest note, and longest name of a person, in characters.
pub const NOTE_CHARS_MAX: usize = 500;
/// How long after the end of its last span a trace may still get more: SDKs export every five seconds by default, and may
/// have to try again.
const ARRIVING: Duration = Duration::from_secs(15);
/// The same for a trace in which a parent is missing: that span may still run.
const ARRIVING_WITH_A_GAP: Duration = Duration::from_secs(60);
/// Longest first line: a note, a name, a service and an operation.
const HEAD_BYTES_MAX: u64 = 16 << 10;
/// Longest service and operation in a list, in characters.
const NAME_CHARS_MAX: usize = 200;
const ENDING: &str = "json";

/// A kept trace in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTrace {
    /// Its id, 32 hex digits.
    pub trace_id: String,
    /// The service of its first span.
    pub service: String,
    /// The name of its first span.
    pub operation: String,
    /// The start of its first span, Unix nanoseconds.
    #[serde(rename = "start_unix_nanos")]
    pub start: UnixNanos,
    /// Number of its spans.
    pub spans: usize,
    /// The reason for keeping it.
    pub note: String,
    /// The person who keeps it.
    pub by: String,
    /// The time of the copy, Unix nanoseconds.
    #[serde(rename = "kept_unix_nanos")]
    pub kept: UnixNanos,
}

/// A request to keep a trace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepOrder {
    /// The reason.
    pub note: String,
    /// The person; optional if the request identifies its user.
    #[serde(default)]
    pub by: String,
}

/// Why a trace is not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The order is invalid.
    #[error("{parameter}: {problem}")]
    Invalid {
        /// The invalid field.
        parameter: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It is kept already.
    #[error("this trace is kept already; remove it first to keep what has arrived since")]
    Already,
    /// Spans of it may be on their way.
    #[error("spans of this trace are still arriving, try again in {seconds} s")]
    Arriving {
        /// When none is expected any more.
        seconds: u64,
    },
    /// It is too large.
    #[error("the copy of this trace would be larger than {} MiB", KEPT_TRACE_BYTES_MAX >> 20)]
    TooLarge,
    /// There is not enough space.
    #[error(
        "there is no room for {needed} bytes: kept traces take {taken} of {bytes_max} bytes; remove some"
    )]
    Full {
        /// Size of the copy, bytes.
        needed: u64,
        /// Size of all copies, bytes.
        taken: u64,
        /// Limit of their size, bytes.
        bytes_max: u64,
    },
    /// The limit of traces is reached.
    #[error("{KEPT_MAX} traces are kept already; remove some")]
    TooMany,
    /// The disk is full, whatever the limit of kept traces.
    #[error("the disk is full, so the trace was not kept")]
    DiskFull,
    /// It could not be written.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for KeepError {
    fn from(error: StoreError) -> Self {
        match error.is_disk_full() {
            true => Self::DiskFull,
            false => Self::Store(error),
        }
    }
}

/// The kept traces; cheap to clone.
#[derive(Debug, Clone)]
pub struct Kept(Arc<Area>);

#[derive(Debug)]
struct Area {
    folder: PathBuf,
    bytes_max: u64,
    /// Held while a file is written or removed.
    writing: Mutex<()>,
    files: Mutex<BTreeMap<[u8; 16], KeptFile>>,
    /// Where it is recorded who keeps and removes traces.
    journal: OnceLock<Control>,
}

#[derive(Debug, Clone)]
struct KeptFile {
    head: KeptTrace,
    bytes: u64,
}

impl Default for Kept {
    /// Returns an area without space, for a collector without a data directory.
    fn default() -> Self {
        Self::with(PathBuf::new(), 0, BTreeMap::new())
    }
}

impl Kept {
    /// Opens the area of a data directory. Unreadable files are left alone, with a warning.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn open(data_dir: &Path, bytes_max: u64) -> Result<Self, StoreError> {
        let folder = data_dir.join("kept");
        let failed = |error| StoreError::io("read", &folder, error);
        let mut kept = BTreeMap::new();
        match fs::read_dir(&folder) {
            Ok(entries) => {
                for entry in entries {
                    let path = entry.map_err(failed)?.path();
                    match read_head(&path) {
                        Ok(Some((id, file))) => drop(kept.insert(id, file)),
                        Ok(None) => {}
                        Err(error) => {
                            warn!(path = %path.display(), %error, "could not read a kept trace");
                        }
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(Self::with(folder, bytes_max, kept))
    }

    fn with(folder: PathBuf, bytes_max: u64, files: BTreeMap<[u8; 16], KeptFile>) -> Self {
        Self(Arc::new(Area {
            folder,
            bytes_max,
            writing: Mutex::new(()),
            files: Mutex::new(files),
            journal: OnceLock::new(),
        }))
    }

    /// Records in this journal who keeps and removes traces.
    pub(crate) fn with_journal(self, journal: &Control) -> Self {
        self.0.journal.get_or_init(|| journal.clone());
        self
    }

    async fn note(&self, event: EventKind, trace: &KeptTrace, by: String) {
        let Some(journal) = self.0.journal.get() else {
            return;
        };
        let key = CircuitKey {
            service: trace.service.clone(),
            name: String::new(),
        };
        let noted = journal.note(OperatorEvent {
            id: 0,
            event,
            key,
            object: trace.trace_id.clone(),
            reason: trace.note.clone(),
            by,
            time: UnixNanos::now(),
            expires: None,
        });
        noted.await;
    }

    /// Copies a trace; returns once the copy is on disk.
    ///
    /// # Errors
    /// When the order is invalid, spans are still arriving, there is no space, or the copy cannot be written.
    pub async fn keep(
        &self,
        trace: Trace,
        order: KeepOrder,
        now: UnixNanos,
    ) -> Result<KeptTrace, KeepError> {
        let note = text("note", &order.note)?;
        let by = text("by", &order.by)?;
        if let Some(left) = arriving(&trace, now) {
            let seconds = left.as_secs() + 1;
            return Err(KeepError::Arriving { seconds });
        }
        let this = self.clone();
        let change = async move {
            let area = Arc::clone(&this.0);
            let write = move || Ok(area.write(&trace, note, by, now));
            let kept = off_worker(&this.0.folder, write).await?;
            if let Ok(kept) = &kept {
                this.note(EventKind::KeepTrace, kept, kept.by.clone()).await;
            }
            Ok(kept)
        };
        completed(&self.0.folder, change).await?
    }

    /// Removes a trace and returns its entry. `by` is the user, if known.
    ///
    /// # Errors
    /// When its file cannot be removed.
    pub async fn remove(
        &self,
        id: TraceId,
        by: Option<String>,
    ) -> Result<Option<KeptTrace>, StoreError> {
        let this = self.clone();
        let change = async move {
            let area = Arc::clone(&this.0);
            let removed = off_worker(&this.0.folder, move || area.remove(id)).await?;
            if let Some(trace) = &removed {
                let by = by.unwrap_or_default();
                this.note(EventKind::RemoveTrace, trace, by).await;
            }
            Ok(removed)
        };
        completed(&self.0.folder, change).await
    }

    /// Returns the entry of a trace; `None` if it is not kept.
    pub fn find(&self, id: TraceId) -> Option<KeptTrace> {
        let files = self.0.files.lock();
        files.get(&id.to_bytes()).map(|file| file.head.clone())
    }

    /// Returns the kept traces, latest first.
    pub fn list(&self) -> Vec<KeptTrace> {
        let files = self.0.files.lock();
        let mut heads: Vec<KeptTrace> = files.values().map(|file| file.head.clone()).collect();
        heads.sort_by_key(|head| std::cmp::Reverse(head.kept));
        heads
    }

    /// Returns the size of all copies and its limit, bytes.
    pub fn room(&self) -> (u64, u64) {
        (self.0.taken(), self.0.bytes_max)
    }

    /// Returns the ids with that low half, latest start first.
    pub(super) fn by_low_half(&self, low: u64) -> Vec<TraceId> {
        let files = self.0.files.lock();
        let mut found: Vec<_> = files
            .iter()
            .filter(|(id, _)| u128::from_be_bytes(**id) as u64 == low)
            .collect();
        found.sort_by_key(|(_, file)| std::cmp::Reverse(file.head.start));
        found
            .into_iter()
            .map(|(id, _)| TraceId::from_bytes(*id))
            .collect()
    }

    /// Reads a trace; `None` if it is not kept.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub(super) async fn trace(&self, id: TraceId) -> Result<Option<Trace>, StoreError> {
        if !self.0.files.lock().contains_key(&id.to_bytes()) {
            return Ok(None);
        }
        let area = Arc::clone(&self.0);
        off_worker(&self.0.folder, move || area.read(id)).await
    }
}

impl Area {
    fn path(&self, id: TraceId) -> PathBuf {
        self.folder.join(id.to_string()).with_extension(ENDING)
    }

    fn taken(&self) -> u64 {
        self.files.lock().values().map(|file| file.bytes).sum()
    }

    fn write(
        &self,
        trace: &Trace,
        note: String,
        by: String,
        now: UnixNanos,
    ) -> Result<KeptTrace, KeepError> {
        let _one_at_a_time = self.writing.lock();
        let count = {
            let files = self.files.lock();
            if files.contains_key(&trace.id.to_bytes()) {
                return Err(KeepError::Already);
            }
            files.len()
        };
        if count >= KEPT_MAX {
            return Err(KeepError::TooMany);
        }
        let head = head(trace, note, by, now);
        let copy = copy(trace, &head).ok_or(KeepError::TooLarge)?;
        let (needed, taken, bytes_max) = (copy.len() as u64, self.taken(), self.bytes_max);
        if taken + needed > bytes_max {
            return Err(KeepError::Full {
                needed,
                taken,
                bytes_max,
            });
        }
        durable::write(&self.path(trace.id), &copy)?;
        let file = KeptFile {
            head: head.clone(),
            bytes: needed,
        };
        self.files.lock().insert(trace.id.to_bytes(), file);
        Ok(head)
    }

    fn remove(&self, id: TraceId) -> Result<Option<KeptTrace>, StoreError> {
        let _one_at_a_time = self.writing.lock();
        let Some(file) = self.files.lock().get(&id.to_bytes()).cloned() else {
            return Ok(None);
        };
        durable::remove(&self.path(id))?;
        self.files.lock().remove(&id.to_bytes());
        Ok(Some(file.head))
    }

    fn read(&self, id: TraceId) -> Result<Option<Trace>, StoreError> {
        let path = self.path(id);
        let bytes_max = KEPT_TRACE_BYTES_MAX as u64 + HEAD_BYTES_MAX;
        let bytes = match files::read_regular(&path, bytes_max) {
            Ok(bytes) => bytes,
            // It was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", &path, error)),
        };
        let head = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let traces = read_file(&bytes[head..])
            .map_err(|error| StoreError::damaged(&path, &error.to_string()))?;
        Ok(traces.into_iter().find(|trace| trace.id == id))
    }
}

fn head(trace: &Trace, note: String, by: String, now: UnixNanos) -> KeptTrace {
    let root = trace
        .spans
        .iter()
        .find(|span| span.parent_span_id.is_none());
    let root = root.or(trace.spans.first());
    let cut = |name: &str| name.chars().take(NAME_CHARS_MAX).collect();
    KeptTrace {
        trace_id: trace.id.to_string(),
        service: root.map_or_else(String::new, |span| cut(span.service())),
        operation: root.map_or_else(String::new, |span| cut(&span.name)),
        start: trace
            .spans
            .iter()
            .map(|span| span.start)
            .min()
            .unwrap_or_default(),
        spans: trace.spans.len(),
        note,
        by,
        kept: now,
    }
}

/// Returns how long spans of a trace may still arrive. The copy would not have them, and stay when the others go.
fn arriving(trace: &Trace, now: UnixNanos) -> Option<Duration> {
    let is_gap = trace.notes.iter().any(|note| note.code == "missing_parent");
    let longest = match is_gap {
        true => ARRIVING_WITH_A_GAP,
        false => ARRIVING,
    };
    let ends = trace.spans.iter().map(|span| span.end);
    // A later end is by a clock that is ahead, and says nothing.
    let latest = ends.filter(|end| *end <= now + longest).max()?;
    let until = latest + longest;
    (until > now).then(|| until - now)
}

/// `None` if the file would be too large, or the trace is truncated or shortened.
fn copy(trace: &Trace, head: &KeptTrace) -> Option<Vec<u8>> {
    let mut copy = serde_json::to_vec(head).ok()?;
    copy.extend_from_slice(b"\n{\"resourceSpans\":[");
    let mut spans = ResourceSpans::of(trace);
    while spans.write(trace, &mut copy) {
        if copy.len() > KEPT_TRACE_BYTES_MAX {
            return None;
        }
    }
    copy.extend_from_slice(b"]}\n");
    (!trace.truncated && !trace.is_shortened()).then_some(copy)
}

/// Reads the first line of a file; `None` if the file is not a complete kept trace. What a crash left of one that was being
/// written is removed: it is not counted as taken.
fn read_head(path: &Path) -> io::Result<Option<([u8; 16], KeptFile)>> {
    if path
        .extension()
        .is_some_and(|ending| ending == durable::FRESH)
    {
        fs::remove_file(path)?;
        return Ok(None);
    }
    if path.extension().is_none_or(|ending| ending != ENDING) {
        return Ok(None);
    }
    let file = files::open_regular(path)?;
    let bytes = file.metadata()?.len();
    let mut line = String::new();
    io::Read::take(BufReader::new(file), HEAD_BYTES_MAX).read_line(&mut line)?;
    let head: KeptTrace = serde_json::from_str(&line)?;
    let id = TraceId::from_hex(&head.trace_id);
    let is_named = path.file_stem().is_some_and(|name| *name == *head.trace_id);
    match id {
        Ok(id) if is_named => Ok(Some((id.to_bytes(), KeptFile { head, bytes }))),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its first line is about another trace",
        )),
    }
}

fn text(parameter: &'static str, text: &str) -> Result<String, KeepError> {
    let text = text.trim();
    let problem = match text.chars().count() {
        0 => "is missing".to_owned(),
        length if length > NOTE_CHARS_MAX => format!("at most {NOTE_CHARS_MAX} characters"),
        _ if text.chars().any(char::is_control) => {
            "must be one line without control characters".to_owned()
        }
        _ => return Ok(text.to_owned()),
    };
    Err(KeepError::Invalid { parameter, problem })
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
