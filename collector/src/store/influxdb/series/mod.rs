//! Series records in InfluxDB: circuits, operations, dependencies, instances.
//!
//! `lane` follows the series journal and writes points (`points`: one record each; `windows`: aggregates of
//! seconds and minutes). `reader` queries what other collectors wrote, and `rows` turns it back into the same
//! records. `text` encodes in strings what the numbers of a point cannot hold.

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

/// Window of `circuit` and `circuit_10s`.
const TEN_SECONDS: Duration = Duration::from_secs(10);
/// Window of measurements ending in `_5m`.
const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);
/// Upper bound of the shift of a point whose tags hide names.
const SHIFT: Duration = Duration::from_millis(1);
