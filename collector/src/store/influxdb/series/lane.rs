//! Ships the series journal: transitions first (dashboards wait for them), then the other kinds round-robin.
//!
//! Single records are shipped in the order of arrival (`SeriesLog::tail`). Windows are shipped by the time
//! range of new records (`SeriesLog::tail_ranges`): a complete window is read again as a whole, so that it
//! always gives the same points, and a late record makes it be written again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::TEN_SECONDS;
use super::figures::StoreFigures;
use super::pending::{Pending, Window};
use super::points::Points;
use super::windows::{Thresholds, WindowSums};
use crate::counters::{Counters, Incident};
use crate::log::Position;
use crate::model::{HOUR, TimeRange, UnixNanos};
use crate::store::influxdb::names::Names;
use crate::store::influxdb::ship::lane::{Batch, Lane};
use crate::store::series::{SeriesKind, SeriesLog, SeriesRecord};
use crate::store::{SeriesReader, StoreError};

/// Records read per step; the block of the last one is read to its end.
const STEP_RECORDS: usize = 2_000;
/// Blocks scanned for windows per step: several minutes of a busy journal, so that catching up rarely writes
/// a window twice.
const STEP_BLOCKS: usize = 4_096;
/// Pending windows of one kind of records; beyond it the journal is scanned only after some were written.
const WAITING_MAX: usize = 256;
/// Steps without a point before `next` returns.
const EMPTY_STEPS_MAX: usize = 64;
/// Records this close to the end of the retention are not sent: the server would reject them.
const RETENTION_MARGIN: Duration = Duration::from_secs(600);
/// Records further in the future come from a wrong clock.
const FUTURE: Duration = HOUR;
/// How far before a window's end its settings are searched: settings are written every hour.
const SETTINGS: Duration = Duration::from_secs(62 * 60);

pub(crate) struct SeriesLaneOptions {
    pub(crate) log: SeriesLog,
    pub(crate) own: String,
    /// Bounds the tags.
    pub(crate) names: Arc<Names>,
    pub(crate) retention: Duration,
    pub(crate) counters: Arc<Counters>,
    /// Returns the other figures of the `collector` point.
    pub(crate) figures: Box<dyn Fn() -> StoreFigures + Send>,
}

pub(crate) struct SeriesLane {
    options: SeriesLaneOptions,
    position: LanePosition,
    /// Transitions, which overtake a step in progress.
    urgent: Option<Step>,
    step: Option<Step>,
    turn: usize,
}

impl std::fmt::Debug for SeriesLane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeriesLane")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LanePosition {
    /// By file name of the kind.
    tails: BTreeMap<String, Position>,
    windows: Pending,
    /// Number of the last ten seconds with a `collector` point.
    collector: u64,
}

/// Batches to send, and the position once all of them are written.
#[derive(Debug)]
struct Step {
    batches: VecDeque<Batch>,
    after: LanePosition,
}

/// The kinds that are read round-robin.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Records(SeriesKind),
    Windows(Window),
}

const TURNS: [Turn; 10] = [
    Turn::Records(SeriesKind::Settings),
    Turn::Records(SeriesKind::Standing),
    Turn::Windows(Window::CircuitTenSeconds),
    Turn::Windows(Window::RedMinute),
    Turn::Windows(Window::DependencyMinute),
    Turn::Records(SeriesKind::Rollup),
    Turn::Records(SeriesKind::Instance),
    Turn::Records(SeriesKind::Policy),
    Turn::Windows(Window::CircuitFiveMinutes),
    Turn::Windows(Window::RedFiveMinutes),
];

/// The kinds that are aggregated to windows.
const WINDOWED: [SeriesKind; 3] = [SeriesKind::Sample, SeriesKind::Red, SeriesKind::Dependency];

impl SeriesLane {
    /// Continues at a position, or at the beginning of the journal.
    pub(crate) fn new(options: SeriesLaneOptions, position: Option<LanePosition>) -> Self {
        Self {
            options,
            position: position.unwrap_or_default(),
            urgent: None,
            step: None,
            turn: 0,
        }
    }

    /// Returns the next step; `None` if there is nothing to do. An unreadable file is noted in `failed`, and
    /// the other kinds continue.
    fn begin(&mut self, now: UnixNanos, failed: &mut Failed) -> Option<Step> {
        self.note_changes(now, failed);
        if let Some(step) = self.collector(now) {
            return Some(step);
        }
        for _ in TURNS {
            let turn = TURNS[self.turn % TURNS.len()];
            self.turn = (self.turn + 1) % TURNS.len();
            let step = match turn {
                Turn::Records(kind) => self.records(kind, now),
                Turn::Windows(window) => self.windows(window, now),
            };
            if let Some(step) = unless_failed(step, failed).flatten() {
                return Some(step);
            }
        }
        None
    }

    /// Notes which windows have new records since the last call.
    fn note_changes(&mut self, now: UnixNanos, failed: &mut Failed) {
        let sendable = self.sendable(now);
        for kind in WINDOWED {
            if self.position.windows.waiting(kind) > WAITING_MAX {
                continue;
            }
            let tail = self.position.tail(kind);
            let changes = self.options.log.tail_ranges(kind, tail, STEP_BLOCKS);
            let Some(changes) = unless_failed(changes, failed) else {
                continue;
            };
            for range in changes.items {
                let range = self.clipped(range, sendable);
                if range.start < range.end {
                    self.position.windows.note(kind, range);
                }
            }
            self.position.set_tail(kind, changes.position);
        }
    }

    fn clipped(&self, range: TimeRange, sendable: TimeRange) -> TimeRange {
        let is_ahead = range.end > sendable.end;
        self.count_ahead(u64::from(is_ahead));
        TimeRange {
            start: range.start.max(sendable.start),
            end: range.end.min(sendable.end),
        }
    }

    fn count_ahead(&self, records: u64) {
        let incidents = &self.options.counters.incidents;
        incidents.add(Incident::InfluxdbRecordAheadOfTime, records);
    }

    /// Returns the range of times that the server accepts.
    fn sendable(&self, now: UnixNanos) -> TimeRange {
        let kept = self.options.retention.saturating_sub(RETENTION_MARGIN);
        TimeRange {
            start: now - kept,
            end: now + FUTURE,
        }
    }

    fn records(&self, kind: SeriesKind, now: UnixNanos) -> Result<Option<Step>, StoreError> {
        let before = self.position.tail(kind);
        let tail = self.options.log.tail(kind, before, STEP_RECORDS)?;
        if tail.position == *before {
            return Ok(None);
        }
        let sendable = self.sendable(now);
        let mut points = self.points();
        let mut ahead = 0;
        for record in &tail.items {
            let time = record.time();
            if sendable.contains(time) {
                points.record(record);
            }
            ahead += u64::from(time >= sendable.end);
        }
        self.count_ahead(ahead);
        let mut after = self.position.clone();
        after.set_tail(kind, tail.position);
        Ok(Some(Step {
            batches: points.into_batches(),
            after,
        }))
    }

    fn windows(&self, window: Window, now: UnixNanos) -> Result<Option<Step>, StoreError> {
        let mut after = self.position.clone();
        let starts = after.windows.take_complete(window, now);
        let (Some(first), Some(last)) = (starts.first(), starts.last()) else {
            return Ok(None);
        };
        let length = window.length();
        let range = TimeRange {
            start: *first,
            end: *last + length,
        };
        let mut points = self.points();
        let mut sums: BTreeMap<UnixNanos, WindowSums> = BTreeMap::new();
        let log = &self.options.log;
        log.scan(window.records(), range, None, &mut |record| {
            let start = record.time().floor(length);
            if starts.binary_search(&start).is_ok() {
                let sums = sums.entry(start).or_insert_with(|| WindowSums::new(window));
                sums.add(record, &points);
            }
        })?;
        for (start, sums) in sums {
            let thresholds = self.thresholds(window, start + length)?;
            sums.write(start, &thresholds, &mut points);
        }
        Ok(Some(Step {
            batches: points.into_batches(),
            after,
        }))
    }

    /// Reads the settings in force at the end of a window.
    fn thresholds(&self, window: Window, end: UnixNanos) -> Result<Thresholds, StoreError> {
        if window.records() != SeriesKind::Sample {
            return Ok(Thresholds::default());
        }
        let range = TimeRange {
            start: end - SETTINGS,
            end,
        };
        let mut thresholds = Thresholds::default();
        let log = &self.options.log;
        log.scan(SeriesKind::Settings, range, None, &mut |record| {
            if let SeriesRecord::Settings(settings) = record {
                thresholds.add(settings);
            }
        })?;
        Ok(thresholds)
    }

    fn collector(&self, now: UnixNanos) -> Option<Step> {
        let number = now.window(TEN_SECONDS);
        if number <= self.position.collector {
            return None;
        }
        let figures = (self.options.figures)();
        let (counters, capped) = (&self.options.counters, self.options.names.capped());
        let mut points = self.points();
        figures.write(
            counters,
            capped,
            UnixNanos::of_window(number, TEN_SECONDS),
            &mut points,
        );
        let mut after = self.position.clone();
        after.collector = number;
        Some(Step {
            batches: points.into_batches(),
            after,
        })
    }

    fn points(&self) -> Points<'_> {
        Points::new(&self.options.own, &self.options.names)
    }
}

impl Lane for SeriesLane {
    const NAME: &'static str = "series";
    type Position = LanePosition;

    fn next(&mut self, now: UnixNanos) -> Result<Option<Batch>, StoreError> {
        let mut failed = None;
        for _ in 0..EMPTY_STEPS_MAX {
            if self.urgent.is_none() {
                let urgent = self.records(SeriesKind::Transition, now);
                self.urgent = unless_failed(urgent, &mut failed).flatten();
            }
            if self.urgent.is_none() && self.step.is_none() {
                self.step = self.begin(now, &mut failed);
            }
            let Some(step) = self.urgent.as_mut().or(self.step.as_mut()) else {
                break;
            };
            let batch = step.batches.pop_front();
            if step.batches.is_empty() {
                self.finish();
            }
            if batch.is_some() {
                return Ok(batch);
            }
        }
        failed.map_or(Ok(None), Err)
    }

    fn position(&self) -> LanePosition {
        self.position.clone()
    }
}

type Failed = Option<StoreError>;

/// Returns the value; stores an error in `failed`, to be reported when there is nothing else to do.
fn unless_failed<T>(read: Result<T, StoreError>, failed: &mut Failed) -> Option<T> {
    read.map_err(|error| *failed = Some(error)).ok()
}

impl SeriesLane {
    /// Moves the position past a step whose last batch was taken.
    fn finish(&mut self) {
        let Some(urgent) = self.urgent.take() else {
            if let Some(step) = self.step.take() {
                self.position = step.after;
            }
            return;
        };
        let transitions = urgent.after.tail(SeriesKind::Transition);
        if let Some(overtaken) = &mut self.step {
            let after = &mut overtaken.after;
            after.set_tail(SeriesKind::Transition, transitions.clone());
        }
        self.position
            .set_tail(SeriesKind::Transition, transitions.clone());
    }
}

impl LanePosition {
    fn tail(&self, kind: SeriesKind) -> &Position {
        static BEGIN: Position = Position::BEGIN;
        self.tails.get(kind.file_stem()).unwrap_or(&BEGIN)
    }

    fn set_tail(&mut self, kind: SeriesKind, position: Position) {
        self.tails.insert(kind.file_stem().to_owned(), position);
    }
}
