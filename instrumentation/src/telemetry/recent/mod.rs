//! The recent data of a process for the actuator: its last log lines, its last server spans, and the last values of its
//! own metrics. All of it is bounded and in memory only.

mod exchanges;
mod lines;
mod metrics;

pub(super) use exchanges::ExchangeProcessor;
pub(crate) use exchanges::{Exchange, Exchanges};
pub(crate) use lines::Lines;
pub(super) use metrics::MeterExporter;
pub(crate) use metrics::{Meter, Meters, Point, Statistic};

/// The recent data. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent {
    pub(crate) lines: Lines,
    pub(crate) exchanges: Exchanges,
    pub(crate) meters: Meters,
}
