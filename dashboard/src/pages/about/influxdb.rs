//! The InfluxDB section of the About page: address, status, last errors and counters.

use fusebox_collector::store::influxdb::{Generation, InfluxdbReport};

use crate::pages::view::{message, moment, text};

/// The section; present only when InfluxDB is configured.
#[derive(Debug)]
pub(crate) struct InfluxdbSection {
    /// Its address.
    pub(crate) url: String,
    /// Its kind and version, once it has answered.
    pub(crate) server: Option<String>,
    /// Whether it accepts writes; `None` before the first answer.
    pub(crate) reachable: Option<bool>,
    /// The same in words and since when, as HTML.
    pub(crate) status: String,
    /// The last error and when, as HTML; it stays after the error is over.
    pub(crate) last_error: Option<(String, String)>,
    /// The message of the last rejected write.
    pub(crate) last_refusal: Option<String>,
    /// Counters and their names.
    pub(crate) figures: Vec<(&'static str, String)>,
    /// Counters that should be zero.
    pub(crate) losses: Vec<(String, String)>,
}

impl InfluxdbSection {
    pub(crate) fn new(report: &InfluxdbReport, now: u64) -> Self {
        let standing = &report.standing;
        let words = match standing.reachable {
            None => t!("not reached yet"),
            Some(true) => t!("accepting writes"),
            Some(false) => t!("not accepting writes; spans stay in the journal"),
        };
        let since = match standing.since.get() {
            0 => String::new(),
            at => format!(" ({})", t!("since {when}", when = moment::short(at, now))),
        };
        let server = standing.server.as_ref();
        let last_error = standing.last_error.as_ref().map(|error| {
            let when = moment::short(standing.last_error_at.get(), now);
            (message::shown(error, 500).into_owned(), when)
        });
        let refusal = standing.last_refusal.as_ref();
        Self {
            url: text::shown(&report.url, 200).into_owned(),
            server: server.map(|server| {
                let version = text::shown(&server.version, 60);
                format!("{} {version}", kind(server.generation))
            }),
            reachable: standing.reachable,
            status: format!("{words}{since}"),
            last_error,
            last_refusal: refusal.map(|words| message::shown(words, 500).into_owned()),
            figures: figures(report),
            losses: losses(report),
        }
    }
}

impl InfluxdbSection {
    /// Returns whether it does not accept writes.
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
        (t!("spans waiting to be written"), report.backlog_spans),
        (
            t!("log records waiting to be written"),
            report.backlog_log_records,
        ),
        (t!("spans written"), figures.spans),
        (t!("log records written"), figures.log_records),
        (t!("points written"), figures.points),
        (t!("requests retried"), figures.retries),
    ]
    .map(|(name, value)| (name, text::count(value)))
    .into()
}

fn losses(report: &InfluxdbReport) -> Vec<(String, String)> {
    let refused = report.figures.points_refused.iter();
    let refused =
        refused.map(|(reason, count)| (t!("points refused: {reason}", reason = reason), *count));
    let others = [
        (
            t!("spans deleted before they were written"),
            report.spans_lost,
        ),
        (
            t!("log records deleted before they were written"),
            report.log_records_lost,
        ),
        (t!("names written as __other__"), report.names_capped),
    ];
    let others = others.map(|(name, count)| (name.to_owned(), count));
    let all = refused.chain(others).filter(|(_, count)| *count > 0);
    all.map(|(name, count)| (name, text::count(count)))
        .collect()
}
