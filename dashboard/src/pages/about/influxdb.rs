//! What the About page says of the InfluxDB behind the collector.

use fusebox_collector::store::influxdb::{Generation, InfluxdbReport};

use crate::pages::view::{moment, text};

/// The section, where there is an InfluxDB.
#[derive(Debug)]
pub(crate) struct InfluxdbSection {
    /// Its address.
    pub(crate) url: String,
    /// Its kind and version, once it answered.
    pub(crate) server: Option<String>,
    /// Whether it takes what is written; `None` before the first answer.
    pub(crate) reachable: Option<bool>,
    /// The same in words, with since when, as HTML.
    pub(crate) standing: String,
    /// What was wrong last, and when, as HTML; it stays after it is over.
    pub(crate) trouble: Option<(String, String)>,
    /// What it said last when it would not take points.
    pub(crate) refusal: Option<String>,
    /// Figures with their names.
    pub(crate) figures: Vec<(&'static str, String)>,
    /// Figures that should be none.
    pub(crate) losses: Vec<(String, String)>,
}

impl InfluxdbSection {
    /// Returns the section.
    pub(crate) fn new(report: &InfluxdbReport, now: u64) -> Self {
        let standing = &report.standing;
        let (word, more) = match standing.reachable {
            None => ("not reached yet", ""),
            Some(true) => ("takes what is written", ""),
            Some(false) => ("does not take what is written", "; the journal keeps it"),
        };
        let since = match standing.since_unix_nanos {
            0 => String::new(),
            at => format!(" (since {})", moment::short(at, now)),
        };
        let server = standing.server.as_ref();
        let trouble = standing.last_error.as_ref().map(|error| {
            let when = moment::short(standing.last_error_unix_nanos, now);
            (text::shown(error, 500).into_owned(), when)
        });
        let refusal = standing.last_refusal.as_ref();
        Self {
            url: text::shown(&report.url, 200).into_owned(),
            server: server.map(|server| {
                let version = text::shown(&server.version, 60);
                format!("{} {version}", kind(server.generation))
            }),
            reachable: standing.reachable,
            standing: format!("{word}{since}{more}"),
            trouble,
            refusal: refusal.map(|said| text::shown(said, 500).into_owned()),
            figures: figures(report),
            losses: losses(report),
        }
    }
}

impl InfluxdbSection {
    /// Returns whether it does not take what is written.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.reachable == Some(false)
    }
}

fn kind(generation: Generation) -> &'static str {
    match generation {
        Generation::OpenGemini => "openGemini",
        Generation::V1 | Generation::V2 | Generation::V3 => "InfluxDB",
    }
}

fn figures(report: &InfluxdbReport) -> Vec<(&'static str, String)> {
    let figures = &report.figures;
    [
        ("spans that wait for it", report.backlog_spans),
        ("spans written", figures.spans),
        ("points written", figures.points),
        ("requests sent again", figures.retries),
    ]
    .map(|(name, value)| (name, text::count(value)))
    .into()
}

fn losses(report: &InfluxdbReport) -> Vec<(String, String)> {
    let refused = report.figures.points_refused.iter();
    let refused = refused.map(|(reason, count)| (format!("points refused: {reason}"), *count));
    let others = [
        ("spans deleted before they were written", report.spans_lost),
        ("names written as __other__", report.names_capped),
    ];
    let others = others.map(|(name, count)| (name.to_owned(), count));
    let all = refused.chain(others).filter(|(_, count)| *count > 0);
    all.map(|(name, count)| (name, text::count(count)))
        .collect()
}
