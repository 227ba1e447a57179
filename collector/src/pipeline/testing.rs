//! A log that can be slow or broken on command, and requests to feed it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tempfile::TempDir;

use super::{Health, Ingest, IngestError, Pipeline, PipelineOptions};
use crate::codec::Format;
use crate::codec::circuits::{LogsBatch, MetricsBatch};
use crate::codec::otlp::{Accepted, Limits, ResourceView, ScopeView, SpanView, SpanVisitor};
use crate::counters::Counters;
use crate::live::LiveTap;
use crate::live::circuits::{CircuitSink, Kept, Stored};
use crate::model::UnixNanos;
use crate::store::StoreError;
use crate::store::embedded::{Commit, SpanLog};
use crate::store::logs::LogStore;
use crate::store::logs::tests::open as open_logs;

/// Controls and observations of the fake logs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    state: Arc<(Mutex<DiskState>, Condvar)>,
}

#[derive(Debug, Default)]
pub(crate) struct DiskState {
    /// Makes commits wait.
    pub(crate) stuck: bool,
    /// Makes commits fail.
    pub(crate) broken: bool,
    /// Makes commits fail with a full disk.
    pub(crate) full: bool,
    /// A span with this name makes the log panic.
    pub(crate) panics_at: Option<&'static str>,
    /// Span ids by commit.
    pub(crate) commits: Vec<Vec<[u8; 8]>>,
    pub(crate) waiting: bool,
    /// Makes commits panic.
    pub(crate) panics_at_commit: bool,
    pub(crate) sealed: u64,
}

impl Disk {
    pub(crate) fn change(&self, change: impl FnOnce(&mut DiskState)) {
        change(&mut self.lock());
        self.state.1.notify_all();
    }

    pub(crate) fn spans(&self) -> usize {
        self.lock().commits.iter().map(Vec::len).sum()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, DiskState> {
        self.state.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(crate) fn wait_for_stuck_commit(&self) {
        let state = self.lock();
        let _state = self
            .state
            .1
            .wait_while(state, |state| !state.waiting)
            .unwrap();
    }
}

#[derive(Debug)]
pub(crate) struct FakeLog {
    disk: Disk,
    pending: Vec<[u8; 8]>,
    mark: usize,
}

impl FakeLog {
    pub(crate) fn new(disk: &Disk) -> Self {
        Self {
            disk: disk.clone(),
            pending: Vec::new(),
            mark: 0,
        }
    }
}

impl SpanVisitor for FakeLog {
    fn resource(&mut self, _resource: &ResourceView<'_>) {}
    fn scope(&mut self, _scope: &ScopeView<'_>) {}
    fn span(&mut self, span: &SpanView<'_>) {
        assert!(self.disk.lock().panics_at != Some(span.name), "as asked");
        self.pending.push(span.span_id);
    }
}

impl SpanLog for FakeLog {
    fn begin_request(&mut self) {
        self.mark = self.pending.len();
    }

    fn rollback_request(&mut self) {
        self.pending.truncate(self.mark);
    }

    fn pending_spans(&self) -> usize {
        self.pending.len()
    }

    fn pending_bytes(&self) -> usize {
        self.pending.len() * 100
    }

    fn commit(&mut self) -> Result<Commit, StoreError> {
        let changed = &self.disk.state.1;
        let mut state = self.disk.lock();
        while state.stuck {
            state.waiting = true;
            changed.notify_all();
            state = changed.wait(state).unwrap();
        }
        state.waiting = false;
        assert!(!state.panics_at_commit, "as asked");
        let block = std::mem::take(&mut self.pending);
        if state.broken {
            return Err(StoreError::Damaged {
                path: "disk".to_owned(),
                what: "broken as asked".to_owned(),
            });
        }
        if state.full {
            return Err(full());
        }
        let commit = Commit {
            spans: block.len() as u64,
            bytes: block.len() as u64 * 100,
        };
        state.commits.push(block);
        Ok(commit)
    }

    fn maintain(&mut self, _now: UnixNanos) -> Result<(), StoreError> {
        Ok(())
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        self.disk.lock().sealed += 1;
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(crate) struct FakeTap;

impl SpanVisitor for FakeTap {
    fn resource(&mut self, _resource: &ResourceView<'_>) {}
    fn scope(&mut self, _scope: &ScopeView<'_>) {}
    fn span(&mut self, _span: &SpanView<'_>) {}
}

impl LiveTap for FakeTap {
    fn begin_request(&mut self) {}
    fn rollback_request(&mut self) {}
    fn publish(&mut self, _now: UnixNanos) {}
}

#[derive(Debug, Default)]
pub(crate) struct FakeCircuits {
    pub(crate) metric_requests: Mutex<u64>,
    pub(crate) log_requests: Mutex<u64>,
    /// The result of later requests: a full disk, or a durable record.
    full: Mutex<Option<bool>>,
}

impl FakeCircuits {
    pub(crate) fn fail(&self, full: bool) {
        *self.full.lock().unwrap() = Some(full);
    }

    fn stored(&self) -> Stored<'_> {
        let stored = match *self.full.lock().unwrap() {
            Some(true) => Err(full()),
            Some(false) => Ok(Kept {
                records: 1,
                ..Kept::default()
            }),
            None => Ok(Kept::default()),
        };
        Box::pin(async { stored })
    }
}

fn full() -> StoreError {
    let source = std::io::ErrorKind::StorageFull.into();
    StoreError::io("append to", std::path::Path::new("disk"), source)
}

impl CircuitSink for FakeCircuits {
    fn ingest_metrics(&self, _batch: MetricsBatch, _now: UnixNanos) -> Stored<'_> {
        *self.metric_requests.lock().unwrap() += 1;
        self.stored()
    }

    fn ingest_events(&self, _batch: LogsBatch, _now: UnixNanos) -> Stored<'_> {
        *self.log_requests.lock().unwrap() += 1;
        self.stored()
    }
}

pub(crate) struct Bench {
    pub(crate) pipeline: Pipeline,
    pub(crate) disk: Disk,
    pub(crate) circuits: Arc<FakeCircuits>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) health: Health,
    pub(crate) logs: LogStore,
    _dir: TempDir,
}

impl Bench {
    pub(crate) fn start(shards: usize, queue_bytes: usize) -> Self {
        let (disk, counters) = (Disk::default(), Arc::new(Counters::default()));
        let health = Health::default();
        let circuits = Arc::new(FakeCircuits::default());
        let options = PipelineOptions {
            queue_bytes,
            limits: Limits::default(),
        };
        let logs = (0..shards).map(|_| (FakeLog::new(&disk), FakeTap));
        let sink: Arc<dyn CircuitSink> = circuits.clone();
        let dir = tempfile::tempdir().unwrap();
        let (records, _) = open_logs(dir.path(), 1 << 30);
        let sinks = (sink, records.clone());
        let pipeline = Pipeline::start(logs, sinks, &options, &counters, &health).unwrap();
        Self {
            pipeline,
            disk,
            circuits,
            counters,
            health,
            logs: records,
            _dir: dir,
        }
    }

    /// Checks that no span was lost or counted twice.
    pub(crate) fn assert_spans_conserved(&self) {
        let counters = &self.counters;
        assert_eq!(
            counters.spans_received.get(),
            counters.spans_written.get()
                + counters.spans_refused.total()
                + counters.spans_queued.get()
        );
        assert_eq!(counters.spans_written.get(), self.disk.spans() as u64);
    }
}

pub(crate) async fn send_spans(ingest: &Ingest, message: Bytes) -> Result<Accepted, IngestError> {
    let reservation = ingest.begin(None)?;
    ingest
        .spans(Format::OtlpProtobuf, message, reservation)
        .await
}

/// Returns a request with valid spans, and with spans whose trace id is zero.
pub(crate) fn spans_request(valid: usize, invalid: usize) -> Bytes {
    named_spans_request(valid, invalid, "GET /")
}

pub(crate) fn named_spans_request(valid: usize, invalid: usize, name: &str) -> Bytes {
    let now = UnixNanos::now();
    let span = |id: u64, trace_id: [u8; 16]| Span {
        trace_id: trace_id.to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: name.to_owned(),
        start_time_unix_nano: now.get(),
        end_time_unix_nano: now.get() + 1_000_000,
        ..Span::default()
    };
    let spans = (1..=valid as u64)
        .map(|id| span(id, [7; 16]))
        .chain((1..=invalid as u64).map(|id| span(id, [0; 16])))
        .collect();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
    .encode_to_vec()
    .into()
}
