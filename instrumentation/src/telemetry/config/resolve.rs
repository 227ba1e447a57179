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
        let periods = [
            ("delay of spans", &mut config.span_delay),
            ("interval of metrics", &mut config.metric_interval),
            ("timeout of exports", &mut config.timeout),
        ];
        for (name, period) in periods {
            let used = (*period).clamp(SHORTEST, MAX_DURATION);
            if *period != used {
                let what = if *period < used { "short" } else { "long" };
                let text = format!("{name} of {period:?}: too {what}; {used:?} is used");
                config.problems.push(text);
                *period = used;
            }
        }
        config
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
