//! Uploaded traces: files that our pages, Jaeger or Zipkin offer for download. They are kept in a bounded
//! part of memory, are shown for a while like any other trace, and are not stored.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{SpanId, TraceId};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use crate::codec::otlp::{
    DecodeError, Limits, ResourceView, ScopeView, SpanView, SpanVisitor, decode, walk_traces,
};
use crate::codec::{Format, Signal, jaeger, zipkin};
use crate::model::{Note, Resource, Scope, Span, Trace, UnixNanos};
use crate::store::fitting::{Fitting, bytes_of};
use crate::store::try_assemble;
use crate::sync::Mutex;

/// Largest file: about 15,000 spans of JSON; with the overhead of reading it stays within the cost of a
/// query.
pub const UPLOAD_BYTES_MAX: usize = 8 << 20;
/// How long a file may take to arrive: 8 MiB at 1 Mbit/s. It keeps others waiting, as only two are received at once.
pub const UPLOAD_TIME_MAX: Duration = Duration::from_secs(60);
/// Memory of one file's spans; beyond it, texts are cut and then spans left out.
const SPANS_BYTES_MAX: usize = 24 << 20;
/// Memory of all uploaded traces; beyond it, the oldest are evicted.
const ROOM_BYTES_MAX: usize = 64 << 20;
/// Number of uploaded traces kept at once.
pub const UPLOADS_MAX: usize = 50;
/// How long an uploaded trace is kept.
pub const UPLOAD_KEPT: Duration = Duration::from_secs(30 * 60);

/// Why a file was rejected.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Its format is unknown.
    #[error(
        "this is no trace in JSON of OTLP (`resourceSpans`), Jaeger (`data`) or Zipkin (a list of spans)"
    )]
    Unknown,
    /// It is malformed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It has no traces.
    #[error("this has no valid spans")]
    Empty,
    /// It has more traces than fit.
    #[error("this has {0} traces; at most {UPLOADS_MAX} are kept")]
    Many(usize),
}

/// An uploaded trace in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedTrace {
    /// Its id.
    pub id: TraceId,
    /// Service and name of its first span.
    pub root: (String, String),
    /// Number of its spans.
    pub spans: usize,
    /// How much longer it is kept.
    pub left: Duration,
}

/// The uploaded traces; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Uploads(Arc<Mutex<VecDeque<Uploaded>>>);

#[derive(Debug)]
struct Uploaded {
    trace: Trace,
    bytes: usize,
    since: Instant,
}

impl Uploads {
    /// Adds the traces of a file, evicting the oldest if needed.
    pub fn add(&self, traces: Vec<Trace>) {
        let since = Instant::now();
        let mut room = self.room();
        for trace in traces {
            room.retain(|other| other.trace.id != trace.id);
            room.push_back(Uploaded {
                bytes: bytes_of(&trace.spans),
                trace,
                since,
            });
        }
        let mut bytes: usize = room.iter().map(|uploaded| uploaded.bytes).sum();
        while room.len() > UPLOADS_MAX || bytes > ROOM_BYTES_MAX && room.len() > 1 {
            bytes -= room.pop_front().map_or(0, |oldest| oldest.bytes);
        }
    }

    /// Returns an uploaded trace.
    pub fn trace(&self, id: TraceId) -> Option<Trace> {
        let room = self.room();
        let found = room.iter().find(|uploaded| uploaded.trace.id == id);
        found.map(|uploaded| uploaded.trace.clone())
    }

    /// Returns the ids with that low half, latest upload first.
    pub(super) fn by_low_half(&self, low: u64) -> Vec<TraceId> {
        let room = self.room();
        let ids = room.iter().rev().map(|uploaded| uploaded.trace.id);
        ids.filter(|id| super::trace_id::low_half(*id) == low)
            .collect()
    }

    /// Returns the uploaded traces, newest first.
    pub fn list(&self) -> Vec<UploadedTrace> {
        let listed = |uploaded: &Uploaded| {
            let spans = &uploaded.trace.spans;
            let root = spans.iter().find(|span| span.parent_span_id.is_none());
            let root = root.or(spans.first());
            UploadedTrace {
                id: uploaded.trace.id,
                root: root.map_or_else(Default::default, |span| {
                    (span.service().to_owned(), span.name.clone())
                }),
                spans: spans.len(),
                left: UPLOAD_KEPT.saturating_sub(uploaded.since.elapsed()),
            }
        };
        self.room().iter().rev().map(listed).collect()
    }

    /// Returns the traces after removing expired ones.
    fn room(&self) -> std::sync::MutexGuard<'_, VecDeque<Uploaded>> {
        let mut room = self.0.lock();
        room.retain(|uploaded| uploaded.since.elapsed() < UPLOAD_KEPT);
        room
    }
}

/// Reads the traces of a file, sorted by their first spans; slow for a large one.
///
/// # Errors
/// When the format is unknown, the file is malformed, or it has no traces or too many.
pub fn read_upload(file: &[u8]) -> Result<Vec<Trace>, UploadError> {
    let traces = read_file(file)?;
    Ok(traces.into_iter().map(noted).collect())
}

/// As `read_upload`, but without the note that the traces are not stored.
pub(crate) fn read_file(file: &[u8]) -> Result<Vec<Trace>, UploadError> {
    let mut spans = Collected::default();
    let (format, text) = recognise(file)?;
    let text = text.as_deref().unwrap_or(file);
    let (request, _) = format.to_otlp(Signal::Traces, text)?;
    walk_traces(
        &request,
        &Limits::default(),
        UnixNanos::now().get(),
        &mut spans,
    )?;
    let is_cut = spans.fitting.is_full();
    let mut by_id: HashMap<TraceId, Vec<Span>> = HashMap::new();
    for span in spans.fitting.into_spans() {
        by_id.entry(span.trace_id).or_default().push(span);
    }
    match by_id.len() {
        0 => return Err(UploadError::Empty),
        count if count > UPLOADS_MAX => return Err(UploadError::Many(count)),
        _ => {}
    }
    let assembled = by_id
        .into_values()
        .filter_map(|spans| try_assemble(spans).ok());
    let mut traces: Vec<Trace> = assembled.collect();
    for trace in &mut traces {
        trace.truncated |= is_cut;
    }
    traces.sort_by_key(|trace| {
        trace
            .spans
            .first()
            .map(|span| (span.start, span.trace_id.to_bytes()))
    });
    Ok(traces)
}

/// Adds the note that the trace is not stored.
fn noted(mut trace: Trace) -> Trace {
    let minutes = UPLOAD_KEPT.as_secs() / 60;
    trace.notes.push(Note {
        code: "uploaded",
        span_id: SpanId::INVALID,
        message: format!(
            "this trace was uploaded; it is stored nowhere, and shown for {minutes} minutes"
        ),
    });
    trace
}

/// The keys that distinguish the formats.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keys {
    resource_spans: Option<IgnoredAny>,
    data: Option<IgnoredAny>,
    spans: Option<IgnoredAny>,
}

/// Returns the format of a file, and its text if it had to be converted.
fn recognise(file: &[u8]) -> Result<(Format, Option<Vec<u8>>), UploadError> {
    match file.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => return Ok((Format::Zipkin(zipkin::Encoding::JsonV2), None)),
        Some(b'{') => {}
        _ => return Err(UploadError::Unknown),
    }
    let keys: Keys = serde_json::from_slice(file).map_err(DecodeError::from)?;
    match keys {
        Keys {
            resource_spans: Some(_),
            ..
        } => Ok((Format::OtlpJson, None)),
        Keys { data: Some(_), .. } | Keys { spans: Some(_), .. } => {
            Ok((Format::OtlpJson, Some(jaeger::to_otlp_json(file)?)))
        }
        _ => Err(UploadError::Unknown),
    }
}

#[derive(Debug)]
struct Collected {
    fitting: Fitting,
    resource: Arc<Resource>,
    scope: Arc<Scope>,
}

impl Default for Collected {
    fn default() -> Self {
        Self {
            fitting: Fitting::new(SPANS_BYTES_MAX),
            resource: Arc::default(),
            scope: Arc::default(),
        }
    }
}

impl SpanVisitor for Collected {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.resource = self.fitting.resource(decode::resource(resource));
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.scope = self.fitting.scope(decode::scope(scope));
    }

    fn span(&mut self, span: &SpanView<'_>) {
        self.fitting
            .push(decode::span(span, &self.resource, &self.scope));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zipkin(id: u64) -> Vec<Trace> {
        let file = format!(
            r#" [{{"traceId": "{id:032x}", "id": "000000000000000a", "name": "get", "timestamp": 5, "duration": 7,
            "localEndpoint": {{"serviceName": "shop"}}}}]"#
        );
        read_upload(file.as_bytes()).expect("Zipkin's JSON")
    }

    #[test]
    fn formats_are_recognised_and_wrong_files_are_named() {
        let words = |file: &str| {
            read_upload(file.as_bytes())
                .expect_err("no traces")
                .to_string()
        };
        assert!(words("traces").contains("no trace in JSON"));
        assert!(words("{\"a\": 1}").contains("no trace in JSON"));
        assert!(words("{\"resourceSpans\": 1").contains("malformed JSON"));
        assert!(words("{\"resourceSpans\": []}").contains("no valid spans"));
        assert!(words("[]").contains("no valid spans"));
        let one = r#"{"data": [{"traceID": "1", "spans": [{"traceID": "1", "spanID": "2", "startTime": 9}]}]}"#;
        assert_eq!(read_upload(one.as_bytes()).expect("Jaeger's JSON").len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_uploaded_trace_leaves_when_its_time_is_over() {
        let uploads = Uploads::default();
        uploads.add(zipkin(1));
        tokio::time::advance(UPLOAD_KEPT / 2).await;
        uploads.add(zipkin(2));
        uploads.add(zipkin(1));
        let listed = uploads.list();
        assert_eq!(listed.len(), 2);
        assert_eq!((listed[0].root.0.as_str(), listed[0].spans), ("shop", 1));
        let trace = uploads.trace(TraceId::from(1)).expect("it is there");
        assert!(trace.notes.iter().any(|note| note.code == "uploaded"));
        tokio::time::advance(UPLOAD_KEPT).await;
        assert!(uploads.list().is_empty() && uploads.trace(TraceId::from(1)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_room_has_a_bounded_number_of_traces() {
        let uploads = Uploads::default();
        for id in 1..=UPLOADS_MAX as u64 + 3 {
            uploads.add(zipkin(id));
        }
        let listed = uploads.list();
        assert_eq!(listed.len(), UPLOADS_MAX);
        assert_eq!(listed.last().map(|last| last.id), Some(TraceId::from(4)));
    }

    #[test]
    fn an_uploaded_trace_is_found_by_its_low_half_and_fits_what_its_reader_holds() {
        use crate::model::Value;
        use crate::store::fitting::fitted;
        let uploads = Uploads::default();
        let mut traces = zipkin(7);
        let text = Value::String("x".repeat(100_000));
        traces[0].spans[0].attributes.push(("a".to_owned(), text));
        uploads.add(traces);
        let found = uploads.by_low_half(7);
        assert_eq!(found, [TraceId::from(7)]);
        assert!(uploads.by_low_half(8).is_empty());
        let trace = uploads.trace(found[0]).expect("it is there");
        assert!(!trace.is_shortened());
        let small = fitted(trace, 20_000);
        assert!(bytes_of(&small.spans) <= 20_000 && small.is_shortened());
    }
}
