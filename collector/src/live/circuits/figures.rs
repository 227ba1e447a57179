//! Current breakers with all durations of their windows, for dialects that show other percentiles than the
//! wall.

use std::path::Path;

use fusebox::circuit_breaker::LatencyHistogram;

use super::Circuits;
use super::facts::Facts;
use super::view;
use crate::model::{CircuitView, UnixNanos};
use crate::store::StoreError;
use crate::store::cancel::off_worker;

#[derive(Debug, Clone)]
pub(crate) struct CircuitFigures {
    pub(crate) view: CircuitView,
    /// Durations of the calls in its window, over all instances.
    pub(crate) latency: LatencyHistogram,
}

impl Circuits {
    /// Returns every current breaker.
    ///
    /// # Errors
    /// When the work was cancelled.
    pub(crate) async fn figures(&self) -> Result<Vec<CircuitFigures>, StoreError> {
        let now = UnixNanos::now();
        let circuits = self.clone();
        off_worker(Path::new("circuits"), move || {
            Ok(circuits.each_now(now, |key, target, facts| CircuitFigures {
                view: view::view(key, target, facts, now),
                latency: latency(facts, now),
            }))
        })
        .await
    }
}

fn latency(instances: &[Facts], now: UnixNanos) -> LatencyHistogram {
    let mut latency = LatencyHistogram::default();
    for facts in instances {
        latency.merge(&facts.window(now).latency);
    }
    latency
}
