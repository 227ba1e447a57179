//! The line on a page that tells which of its data could not be read, since when, and why.

use fusebox_collector::query::{Missing, MissingPart};

use crate::pages::view::{message, moment};

/// The line as the frame prints it.
#[derive(Debug, Clone)]
pub(crate) struct MissingLine {
    /// Why something is missing.
    pub(crate) reason: String,
    /// Since when the data cannot be read, as HTML.
    pub(crate) since: Option<String>,
    /// If all older data is missing: older than this, as HTML.
    pub(crate) older_than: Option<String>,
    /// Otherwise: the missing part.
    pub(crate) part: &'static str,
}

impl MissingLine {
    /// Returns the line for `missing` at the time `now`.
    pub(crate) fn new(missing: &Missing, now: u64) -> Self {
        let (older_than, part) = match missing.part {
            MissingPart::OlderThan(at) => (Some(moment::short(at.get(), now)), ""),
            MissingPart::OfOthers => (
                None,
                t!("what other collectors may have received is missing."),
            ),
            MissingPart::Rest => (None, t!("what was not read by then is missing.")),
        };
        Self {
            reason: message::shown(&missing.reason(), 500).into_owned(),
            since: missing.since.map(|at| moment::short(at.get(), now)),
            older_than,
            part,
        }
    }
}

#[cfg(test)]
mod tests {
    use askama::Template;
    use fusebox_collector::model::UnixNanos;
    use fusebox_collector::store::StoreError;

    use super::*;
    use crate::pages::frame::page::{Chrome, Section};
    use crate::pages::tests::fixtures::NOW;

    #[derive(Template)]
    #[template(path = "frame/missing.html")]
    struct Line {
        chrome: Chrome,
    }

    #[test]
    fn the_line_says_why_since_when_and_what() {
        let missing = Missing {
            error: StoreError::Remote {
                action: "query",
                url: String::new(),
                problem: "no <connection>".to_owned(),
            },
            since: Some(UnixNanos::new(NOW - 60_000_000_000)),
            part: MissingPart::OlderThan(UnixNanos::new(NOW - 3_600_000_000_000)),
        };
        let chrome = Chrome::new(Section::Services, "Services");
        let line = |chrome| Line { chrome }.render().unwrap();
        assert!(!line(chrome.clone()).contains("<p"));
        let html = line(chrome.lacking(Some(&missing), NOW));
        let reason = "InfluxDB cannot be read (no &#60;connection&#62;)</bdi> since <time";
        assert!(html.contains(reason), "{html}");
        assert!(html.contains("what is older than <time"), "{html}");
        assert!(html.contains("</time> is missing.</p>"), "{html}");
    }
}
