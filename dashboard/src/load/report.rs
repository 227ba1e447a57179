//! The report of a load, as figures and as text.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The result of a load.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadReport {
    /// Spans accepted.
    pub spans: u64,
    /// Spans rejected one by one in accepted requests.
    pub spans_refused: u64,
    /// Requests accepted.
    pub requests: u64,
    /// Spans in refused requests, by status.
    pub refused: BTreeMap<String, u64>,
    /// Retries by the status that caused them (`connection` if it broke).
    pub retried: BTreeMap<String, u64>,
    /// Body bytes sent and answered, retries included.
    pub bytes: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Latencies of accepted requests, retries and waits included, shortest first.
    pub latencies: Vec<Duration>,
}

impl LoadReport {
    /// Returns accepted spans per second.
    pub fn spans_per_second(&self) -> f64 {
        self.spans as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Returns the quantile of the latencies (0 to 1).
    pub fn latency(&self, share: f64) -> Duration {
        let rank = (self.latencies.len() as f64 * share).ceil() as usize;
        let index = rank.clamp(1, self.latencies.len().max(1)) - 1;
        self.latencies.get(index).copied().unwrap_or_default()
    }

    pub(super) fn answered(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(super) fn accepted(&mut self, spans: u64, refused_spans: u64, latency: Duration) {
        let refused_spans = refused_spans.min(spans);
        self.spans += spans - refused_spans;
        self.spans_refused += refused_spans;
        self.requests += 1;
        self.latencies.push(latency);
    }

    pub(super) fn refused(&mut self, status: String, spans: u64) {
        *self.refused.entry(status).or_default() += spans;
    }

    pub(super) fn retried(&mut self, status: String) {
        *self.retried.entry(status).or_default() += 1;
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.spans += other.spans;
        self.spans_refused += other.spans_refused;
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.latencies.extend(other.latencies);
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
        for (status, count) in other.retried {
            *self.retried.entry(status).or_default() += count;
        }
    }

    pub(super) fn finish(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
        self.latencies.sort_unstable();
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |share| self.latency(share).as_secs_f64() * 1e3;
        writeln!(
            f,
            "{} spans in {:.2} s: {:.0} spans/s",
            self.spans,
            self.elapsed.as_secs_f64(),
            self.spans_per_second(),
        )?;
        writeln!(
            f,
            "requests  {} accepted, {} bytes sent",
            self.requests, self.bytes
        )?;
        writeln!(
            f,
            "latency   p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            milliseconds(0.5),
            milliseconds(0.9),
            milliseconds(0.99),
            milliseconds(1.0),
        )?;
        writeln!(f, "refused   {}", Counts(&self.refused, "spans"))?;
        if self.spans_refused > 0 {
            writeln!(f, "          {} spans one by one", self.spans_refused)?;
        }
        write!(f, "retried   {}", Counts(&self.retried, "requests"))
    }
}

/// Counts by status: `503: 12 requests, connection: 1 requests`, or `none`.
struct Counts<'c>(&'c BTreeMap<String, u64>, &'static str);

impl fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, (status, count)) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{status}: {count} {}", self.1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_every_figure() {
        let mut report = LoadReport::default();
        for millisecond in 1..=100 {
            report.accepted(500, 0, Duration::from_millis(millisecond));
            report.answered(1_000);
        }
        report.accepted(500, 2, Duration::from_millis(250));
        report.refused("413".to_owned(), 500);
        report.retried("503".to_owned());
        report.finish(Duration::from_secs(2));
        let text = "50498 spans in 2.00 s: 25249 spans/s
requests  101 accepted, 100000 bytes sent
latency   p50 51.0 ms, p90 91.0 ms, p99 100.0 ms, max 250.0 ms
refused   413: 500 spans
          2 spans one by one
retried   503: 1 requests";
        assert_eq!(report.to_string(), text);
    }

    #[test]
    fn an_empty_report_has_no_latency() {
        assert_eq!(LoadReport::default().latency(0.5), Duration::ZERO);
    }
}
