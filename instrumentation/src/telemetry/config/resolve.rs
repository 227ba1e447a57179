//! What of the configuration is used: invalid values are replaced and described.

use std::time::Duration;

use super::super::protocol::Protocol;
use super::TelemetryConfig;
use crate::time::MAX_DURATION;

/// The shortest delay, interval and timeout: with 0 a thread would send without a pause, or always time out.
pub(super) const SHORTEST: Duration = Duration::from_millis(10);

impl TelemetryConfig {
    /// Returns the configuration with invalid values replaced and described in `problems`.
    pub(in crate::telemetry) fn resolved(&self) -> Self {
        let mut config = self.clone();
        for signal in [&mut config.traces, &mut config.metrics, &mut config.logs] {
            if !signal.is_exported {
                continue;
            }
            if let Err(problem) = signal.check() {
                signal.is_exported &= problem.is_assumption;
                config.problems.push(problem.text);
            }
        }
        config.limit_periods();
        config
    }

    fn limit_periods(&mut self) {
        let common = [
            (
                "delay of spans",
                "OTEL_BSP_SCHEDULE_DELAY",
                &mut self.span_delay,
            ),
            (
                "interval of metrics",
                "OTEL_METRIC_EXPORT_INTERVAL",
                &mut self.metric_interval,
            ),
            (
                "timeout of exports",
                "OTEL_EXPORTER_OTLP_TIMEOUT",
                &mut self.timeout,
            ),
        ];
        let common = common.map(|(what, variable, period)| (what, variable.to_owned(), period));
        let signals = [&mut self.traces, &mut self.metrics, &mut self.logs];
        let own = signals.into_iter().filter_map(|signal| {
            let variable = signal.variable("TIMEOUT");
            Some(("timeout of exports", variable, signal.timeout.as_mut()?))
        });
        for (what, variable, period) in common.into_iter().chain(own) {
            let used = (*period).clamp(SHORTEST, MAX_DURATION);
            if *period != used {
                let how = if *period < used { "short" } else { "long" };
                let text =
                    format!("{what} of {period:?} ({variable}): too {how}; {used:?} is used");
                self.problems.push(text);
                *period = used;
            }
        }
    }

    /// Returns protocol and address of the receiver: that of the first signal sent over HTTP, else of the first over gRPC;
    /// `None` if nothing is sent.
    pub(in crate::telemetry) fn receiver(&self) -> Option<(Protocol, String)> {
        let signals = [&self.logs, &self.metrics, &self.traces];
        [Protocol::HttpProtobuf, Protocol::Grpc]
            .into_iter()
            .find_map(|protocol| {
                let spoken = signals.iter().filter(|signal| signal.protocol == protocol);
                let url = spoken.filter_map(|signal| signal.receiver()).next();
                Some((protocol, url?))
            })
    }

    /// Returns whether log records are sent.
    pub(in crate::telemetry) fn sends_log_records(&self) -> bool {
        let filter = self.record_filter.as_deref().unwrap_or_default();
        self.logs.is_exported && !filter.trim().eq_ignore_ascii_case("off")
    }
}
