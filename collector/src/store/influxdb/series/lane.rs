//! Ships the series journal: transitions first (dashboards wait for them), then the other kinds round-robin.
//!
//! Single records follow the order of arrival (`SeriesLog::tail`). Windows follow what their time got
//! (`SeriesLog::tail_ranges`): a complete one is read anew as a whole, so that the same window gives the same points
//! however often it is written, and a late record makes it be written again.

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

/// Records that one step reads at most, and the rest of the block with the last.
const STEP_RECORDS: usize = 2_000;
/// Blocks looked at for windows in one step: several minutes of a busy journal, so that catching up rarely writes a
/// window twice.
const STEP_BLOCKS: usize = 4_096;
/// Windows of one kind of records that may wait; more of the journal is looked at once some are written.
const WAITING_MAX: usize = 256;
/// Steps without a point that one call may take.
const EMPTY_STEPS_MAX: usize = 64;
/// What is nearly past the retention is not sent: the server would refuse it.
const RETENTION_MARGIN: Duration = Duration::from_secs(600);
/// Records that far in the future come from a clock that was set wrong.
const FUTURE: Duration = HOUR;
/// Settings are written again each hour: those of a window lie that far before its end.
const SETTINGS: Duration = Duration::from_secs(62 * 60);

/// What the lane needs.
pub(crate) struct SeriesLaneOptions {
    /// The journal.
    pub(crate) log: SeriesLog,
    /// The collector's id.
    pub(crate) own: String,
    /// The names that may be tags.
    pub(crate) names: Arc<Names>,
    /// For how long InfluxDB keeps points.
    pub(crate) retention: Duration,
    /// The collector's counters.
    pub(crate) counters: Arc<Counters>,
    /// Gives the other figures of the `collector` point.
    pub(crate) figures: Box<dyn Fn() -> StoreFigures + Send>,
}

/// The lane of everything that is no span.
pub(crate) struct SeriesLane {
    options: SeriesLaneOptions,
    position: LanePosition,
    /// Transitions, which overtake what is on its way.
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

/// The position of the lane in the series journal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LanePosition {
    /// By the name of the kind's files.
    tails: BTreeMap<String, Position>,
    windows: Pending,
    /// Number of the ten seconds that have a `collector` point.
    collector: u64,
}

/// Requests on their way, and how far the lane is when all are written.
#[derive(Debug)]
struct Step {
    batches: VecDeque<Batch>,
    after: LanePosition,
}

/// What is read by turns.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Records(SeriesKind),
    Windows(Window),
}

const TURNS: [Turn; 9] = [
    Turn::Records(SeriesKind::Settings),
    Turn::Records(SeriesKind::Standing),
    Turn::Windows(Window::CircuitTenSeconds),
    Turn::Windows(Window::RedMinute),
    Turn::Windows(Window::DependencyMinute),
    Turn::Records(SeriesKind::Rollup),
    Turn::Records(SeriesKind::Instance),
    Turn::Windows(Window::CircuitFiveMinutes),
    Turn::Windows(Window::RedFiveMinutes),
];

/// The kinds that windows are made of.
const WINDOWED: [SeriesKind; 3] = [SeriesKind::Sample, SeriesKind::Red, SeriesKind::Dependency];

impl SeriesLane {
    /// Returns a lane that goes on at a position, or at the journal's beginning where there is none.
    pub(crate) fn new(options: SeriesLaneOptions, position: Option<LanePosition>) -> Self {
        Self {
            options,
            position: position.unwrap_or_default(),
            urgent: None,
            step: None,
            turn: 0,
        }
    }

    /// Returns the next step; `None` while there is nothing to do. A file that cannot be read is noted in `failed`,
    /// and the others go on.
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

    /// Notes which windows got something since the last look.
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

    /// Returns the times that the server takes.
    fn sendable(&self, now: UnixNanos) -> TimeRange {
        let kept = self.options.retention.saturating_sub(RETENTION_MARGIN);
        TimeRange {
            start: now - kept,
            end: now + FUTURE,
        }
    }

    /// Reads what arrived of a kind.
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

    /// Reads windows that are complete.
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

    /// Reads the settings in force at the end of a window of breakers.
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

    /// Returns the collector's own point, once in ten seconds.
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

/// Why a file could not be read, if one could not.
type Failed = Option<StoreError>;

/// Returns what was read; why it was not is kept for when there is nothing else to do.
fn unless_failed<T>(read: Result<T, StoreError>, failed: &mut Failed) -> Option<T> {
    read.map_err(|error| *failed = Some(error)).ok()
}

impl SeriesLane {
    /// Moves the position behind the step whose last batch was taken.
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
