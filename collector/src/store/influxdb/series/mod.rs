//! Everything that is no span, to InfluxDB and back: circuits, operations, dependencies, instances.
//!
//! `lane` follows the series journal and writes points (`points`: one record each; `windows`: seconds and minutes
//! added up); `reader` asks for what other collectors wrote and `rows` makes the same records of it again. `text` is
//! how both put into a string what no number of a point could hold.

mod figures;
mod lane;
mod pending;
mod points;
mod reader;
mod rows;
mod text;
mod windows;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use figures::StoreFigures;
pub(crate) use lane::{SeriesLane, SeriesLaneOptions};
pub(crate) use reader::InfluxSeries;

use std::time::Duration;

/// Length of a window of `circuit` and `circuit_10s`.
const TEN_SECONDS: Duration = Duration::from_secs(10);
/// Length of a window of what ends with `_5m`.
const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);
/// By less than that a point of a name that its tags hide is later than its record.
const SHIFT: Duration = Duration::from_millis(1);
