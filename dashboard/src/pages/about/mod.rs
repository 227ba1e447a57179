//! About this process: version, settings in force, and what the collector counted.

pub(crate) mod influxdb;

use askama::Template;
use axum::extract::State;
use fusebox_collector::counters::Counters;
use fusebox_collector::model::UnixNanos;

use crate::pages::frame::page::{Chrome, Page, Section};
use crate::pages::view::text;
use crate::pages::{AppState, Pages};
use influxdb::InfluxdbSection;

/// Serves the page.
pub(crate) async fn show(State(pages): State<Pages>) -> Page<AboutPage> {
    Page(AboutPage::new(&pages.info))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "about/page.html")]
pub(crate) struct AboutPage {
    chrome: Chrome,
    version: String,
    otlp_http: String,
    otlp_grpc: String,
    settings: Vec<(String, String)>,
    influxdb: Option<InfluxdbSection>,
    counters: Vec<(&'static str, String)>,
    reasons: Vec<(String, String)>,
}

impl AboutPage {
    pub(crate) fn new(info: &AppState) -> Self {
        let shown = |(name, value): &(String, String)| {
            (
                text::name(name).into_owned(),
                text::shown(value, 500).into_owned(),
            )
        };
        Self {
            chrome: Chrome::new(Section::About, t!("About")),
            version: info.version.clone(),
            otlp_http: info.otlp_http.clone(),
            otlp_grpc: info.otlp_grpc.clone(),
            settings: info.settings.iter().map(shown).collect(),
            influxdb: info
                .influxdb
                .as_ref()
                .map(|influxdb| InfluxdbSection::new(&influxdb.report(), UnixNanos::now().get())),
            counters: counters(&info.counters),
            reasons: reasons(&info.counters),
        }
    }
}

fn counters(counters: &Counters) -> Vec<(&'static str, String)> {
    [
        (t!("requests received"), &counters.requests_received),
        (t!("bytes received"), &counters.bytes_received),
        (t!("spans received"), &counters.spans_received),
        (t!("spans waiting for disk"), &counters.spans_queued),
        (t!("spans on disk"), &counters.spans_written),
        (t!("bytes written"), &counters.bytes_written),
        (t!("log records on disk"), &counters.log_records_written),
        (
            t!("attributes, events and links truncated"),
            &counters.items_truncated,
        ),
        (t!("circuit points"), &counters.metric_points_circuit),
        (t!("circuit events"), &counters.circuit_events),
    ]
    .map(|(name, counter)| (name, text::count(counter.get())))
    .into()
}

/// What was refused or repaired, by reason.
fn reasons(counters: &Counters) -> Vec<(String, String)> {
    let all = [
        (t!("requests refused"), counters.requests_refused.all()),
        (t!("spans refused"), counters.spans_refused.all()),
        (t!("incidents"), counters.incidents.all()),
    ];
    let named = all.into_iter().flat_map(|(what, reasons)| {
        reasons.into_iter().map(move |(reason, count)| {
            (
                format!("{what}: {}", reason.replace('_', " ")),
                text::count(count),
            )
        })
    });
    named.collect()
}
