//! Text in Prometheus' exposition format 0.0.4, or in OpenMetrics 1.0 if a scraper requests it.

use std::fmt::Write;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use crate::api::accept;
use crate::live::Exemplar;

/// The media type of OpenMetrics in requests and in answers.
const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_1: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type of Prometheus' text in requests and in answers.
const PLAIN: &str = "text/plain";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Text in either format.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
    is_open: bool,
}

impl Exposition {
    /// Returns an empty text in the scraper's preferred format: OpenMetrics only if requested explicitly.
    pub(super) fn asked_for(headers: &HeaderMap) -> Self {
        let weight = |wanted: &str| {
            let entries = accept::entries(headers, ACCEPT);
            let wanted = entries.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            wanted.map(|(_, weight)| weight).fold(0.0, f32::max)
        };
        let open = weight(OPEN_METRICS);
        Self {
            text: String::new(),
            is_open: open > 0.0 && open >= weight(PLAIN),
        }
    }

    pub(super) fn content_type(&self) -> &'static str {
        if self.is_open {
            OPEN_METRICS_1
        } else {
            PROMETHEUS
        }
    }

    pub(super) fn into_text(mut self) -> String {
        if self.is_open {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// Writes the head of a family; its samples must follow. In OpenMetrics the family of a counter has no
    /// `_total`.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let name = match (self.is_open, kind) {
            (true, "counter") => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub(super) fn single(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        value: impl std::fmt::Display,
    ) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    pub(super) fn sample(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        value: impl std::fmt::Display,
    ) {
        self.begin(name, labels, value);
        self.text.push('\n');
    }

    /// Writes a bucket; in OpenMetrics with an exemplar.
    pub(super) fn bucket(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        value: u64,
        exemplar: Option<&Exemplar>,
    ) {
        self.begin(name, labels, value);
        if let Some(exemplar) = exemplar.filter(|_| self.is_open) {
            let trace_id = exemplar.trace_id();
            let (seconds, time) = (exemplar.seconds(), exemplar.time_seconds());
            self.line(format_args!(
                " # {{trace_id=\"{trace_id}\"}} {seconds} {time:.3}"
            ));
        }
        self.text.push('\n');
    }

    fn begin(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.line(format_args!("{label}=\""));
            self.escaped(text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    fn escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                other => self.text.push(other),
            }
        }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Exposition::default();
        text.sample("calls_total", &[("name", "a\\b\"c\nd"), ("other", "")], 7);
        assert_eq!(
            text.into_text(),
            "calls_total{name=\"a\\\\b\\\"c\\nd\",other=\"\"} 7\n"
        );
    }

    #[test]
    fn the_format_is_the_one_of_more_weight() {
        let is_open = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            Exposition::asked_for(&headers).is_open
        };
        for accept in [
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; version=1.0.0, text/plain",
            "text/plain;version=0.0.4;q=0.3,application/openmetrics-text;version=0.0.1;q=0.5,*/*;q=0.2",
        ] {
            assert!(is_open(accept), "{accept}");
        }
        for accept in [
            "*/*",
            "application/openmetrics-text;q=0",
            "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5",
            "application/openmetrics-textual",
        ] {
            assert!(!is_open(accept), "{accept}");
        }
    }

    #[test]
    fn open_metrics_names_families_of_counters_without_total_and_ends() {
        let mut headers = HeaderMap::new();
        let accept =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2";
        headers.insert(ACCEPT, accept.parse().unwrap());
        let mut text = Exposition::asked_for(&headers);
        text.single("calls_total", "counter", "Calls.", 7);
        let exemplar = Exemplar::new([7; 16], 1_500_000, 1_795_428_000_250);
        text.bucket("d_bucket", &[("le", "1")], 3, Some(&exemplar));
        assert_eq!(text.content_type(), OPEN_METRICS_1);
        let id = "07".repeat(16);
        assert_eq!(
            text.into_text(),
            format!(
                "# HELP calls Calls.\n# TYPE calls counter\ncalls_total 7\n\
                 d_bucket{{le=\"1\"}} 3 # {{trace_id=\"{id}\"}} 0.0015 1795428000.250\n# EOF\n"
            )
        );
        let mut text = Exposition::default();
        text.bucket("d_bucket", &[("le", "1")], 3, Some(&exemplar));
        assert_eq!(text.into_text(), "d_bucket{le=\"1\"} 3\n");
    }
}
