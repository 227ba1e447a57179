//! Ships the log records: what arrived becomes points, those of traces and the others by turns, so that a service without
//! traces that writes much does not hold up the records of traces.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::payload::Encoder;
use crate::counters::{Counters, Incident};
use crate::log::Position;
use crate::model::{DAY, HOUR, LogRecord, NANOSECOND, SECOND, TimeRange, UnixNanos, nanos};
use crate::store::influxdb::names::Names;
use crate::store::influxdb::ship::lane::{Batch, Lane};
use crate::store::logs::{Class, LogStore, Tail};
use crate::store::{ShipProgress, StoreError};

/// What is nearly past the retention is not sent: the server would refuse it.
const RETENTION_MARGIN: Duration = Duration::from_secs(600);
/// How far ahead a record may lie: receivers refuse those more than a day ahead, by a clock that may have been corrected since.
pub(super) const FUTURE: Duration = DAY.saturating_add(HOUR);
/// Steps without a point that one call may take.
const EMPTY_STEPS_MAX: usize = 64;

/// What the lane needs.
#[derive(Debug)]
pub(crate) struct LogLaneOptions {
    /// The log.
    pub(crate) log: LogStore,
    /// How far it is shipped, for its retention.
    pub(crate) followed: Arc<ShipProgress>,
    /// The collector's id.
    pub(crate) own: String,
    /// The names that may be tags.
    pub(crate) names: Arc<Names>,
    /// For how long InfluxDB keeps points.
    pub(crate) retention: Duration,
    /// The collector's counters.
    pub(crate) counters: Arc<Counters>,
}

/// The lane of log records.
#[derive(Debug)]
pub(crate) struct LogLane {
    options: LogLaneOptions,
    position: LogPosition,
    /// Requests on their way, and the position behind them.
    step: Option<(VecDeque<Batch>, LogPosition)>,
    turn: usize,
}

/// The position of the lane.
///
/// The number of the next point goes with it: whatever was written with a higher number is made again, so that no number is
/// used for two points that stay.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LogPosition {
    /// In the log.
    pub(crate) log: Position,
    /// The number of the next point.
    next_point: u64,
}

impl LogLane {
    /// Returns a lane that goes on at a position, or at the log's beginning where there is none.
    pub(crate) fn new(options: LogLaneOptions, position: Option<LogPosition>) -> Self {
        // Of an earlier run whose position is lost there may be points with low numbers.
        let begin = || LogPosition {
            next_point: fastrand::u64(..nanos(SECOND)),
            ..LogPosition::default()
        };
        Self {
            options,
            position: position.unwrap_or_else(begin),
            step: None,
            turn: 0,
        }
    }

    /// Begins the next step; false while there is nothing to do. Of a class that cannot be read the error is kept, and the
    /// other goes on.
    fn begin(&mut self, now: UnixNanos, failed: &mut Option<StoreError>) -> bool {
        for _ in Class::ALL {
            let class = Class::ALL[self.turn % Class::ALL.len()];
            self.turn += 1;
            match self.options.log.tail(class, &self.position.log) {
                Ok(Some(tail)) => {
                    self.step = Some(self.points(tail, now));
                    return true;
                }
                Ok(None) => {}
                Err(error) => *failed = Some(error),
            }
        }
        false
    }

    /// Makes points of records that the server takes.
    fn points(&self, tail: Tail, now: UnixNanos) -> (VecDeque<Batch>, LogPosition) {
        let LogLaneOptions { own, names, .. } = &self.options;
        let mut encoder = Encoder::new(own, names, self.position.next_point);
        encoder.add(&self.sendable(tail.records, now));
        let (batches, next_point, shortened) = encoder.finish();
        let incidents = &self.options.counters.incidents;
        incidents.add(Incident::InfluxdbSpanShortened, shortened);
        let position = LogPosition {
            log: tail.position,
            next_point,
        };
        (batches, position)
    }

    /// Returns the records whose time the server takes; the others are counted.
    fn sendable(&self, mut records: Vec<LogRecord>, now: UnixNanos) -> Vec<LogRecord> {
        let sendable = TimeRange {
            start: now - self.options.retention.saturating_sub(RETENTION_MARGIN),
            end: now + FUTURE + NANOSECOND,
        };
        let (mut old, mut ahead) = (0, 0);
        records.retain(|record| {
            old += u64::from(record.time < sendable.start);
            ahead += u64::from(record.time >= sendable.end);
            sendable.contains(record.time)
        });
        let incidents = &self.options.counters.incidents;
        incidents.add(Incident::InfluxdbRecordTooOld, old);
        incidents.add(Incident::InfluxdbRecordAheadOfTime, ahead);
        records
    }
}

impl Lane for LogLane {
    const NAME: &'static str = "logs";
    type Position = LogPosition;

    fn next(&mut self, now: UnixNanos) -> Result<Option<Batch>, StoreError> {
        let mut failed = None;
        for _ in 0..EMPTY_STEPS_MAX {
            if self.step.is_none() && !self.begin(now, &mut failed) {
                break;
            }
            let Some((batches, after)) = &mut self.step else {
                break;
            };
            let batch = batches.pop_front();
            if batches.is_empty() {
                self.position = after.clone();
                self.step = None;
            }
            if batch.is_some() {
                return Ok(batch);
            }
        }
        failed.map_or(Ok(None), Err)
    }

    fn position(&self) -> LogPosition {
        self.position.clone()
    }

    fn acknowledged(&mut self, position: LogPosition) {
        self.options.followed.settle(position.log);
    }
}
