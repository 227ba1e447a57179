//! The durations of requests as metrics, by OpenTelemetry's stable HTTP semantic conventions: `http.server.request.duration`
//! and `http.client.request.duration`, histograms in seconds.
//!
//! No attribute has a value chosen by a client: routes come from the router, never paths, and all unknown methods are
//! one value.

use std::sync::OnceLock;

use http::{StatusCode, Version};
use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry::{KeyValue, global};
use tokio::time::Instant;

/// The bounds recommended by the conventions, in seconds.
const BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The two instruments. A subscriber of `fusebox::telemetry` carries them, so that each of several services in one
/// process has its own.
#[derive(Debug, Clone)]
pub(crate) struct Durations {
    server: Histogram<f64>,
    client: Histogram<f64>,
}

impl Durations {
    pub(crate) fn new(meter: &Meter) -> Self {
        let histogram = |name: &'static str, description: &'static str| {
            let histogram = meter.f64_histogram(name).with_unit("s");
            let histogram = histogram.with_description(description);
            histogram.with_boundaries(BOUNDS.to_vec()).build()
        };
        Self {
            server: histogram(
                "http.server.request.duration",
                "Duration of HTTP server requests.",
            ),
            client: histogram(
                "http.client.request.duration",
                "Duration of HTTP client requests.",
            ),
        }
    }

    /// Returns the instruments of the current subscriber, else those of the global meter provider.
    fn current() -> Self {
        static GLOBAL: OnceLock<Durations> = OnceLock::new();
        let own =
            tracing::dispatcher::get_default(|dispatch| dispatch.downcast_ref::<Self>().cloned());
        own.unwrap_or_else(|| {
            GLOBAL
                .get_or_init(|| Self::new(&global::meter("fusebox")))
                .clone()
        })
    }
}

/// One request that is being measured.
#[derive(Debug)]
pub(super) struct Measured {
    histogram: Histogram<f64>,
    started: Instant,
    attributes: Vec<KeyValue>,
}

impl Measured {
    pub(super) fn server(attributes: Vec<KeyValue>) -> Self {
        Self::start(Durations::current().server, attributes)
    }

    pub(super) fn client(attributes: Vec<KeyValue>) -> Self {
        Self::start(Durations::current().client, attributes)
    }

    fn start(histogram: Histogram<f64>, attributes: Vec<KeyValue>) -> Self {
        Self {
            histogram,
            started: Instant::now(),
            attributes,
        }
    }

    /// Records the head of the response.
    pub(super) fn answered(&mut self, status: StatusCode, version: Version) {
        let status = i64::from(status.as_u16());
        self.attributes
            .push(KeyValue::new("http.response.status_code", status));
        let version = match version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            Version::HTTP_3 => "3",
            _ => "1.1",
        };
        self.attributes
            .push(KeyValue::new("network.protocol.version", version));
    }

    /// Records an error; the first one wins.
    pub(super) fn failed(&mut self, error_type: &str) {
        let is_noted = |attribute: &KeyValue| attribute.key.as_str() == "error.type";
        if !self.attributes.iter().any(is_noted) {
            self.attributes
                .push(KeyValue::new("error.type", error_type.to_owned()));
        }
    }

    /// Records the duration in the histogram.
    pub(super) fn end(self) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.histogram.record(seconds, &self.attributes);
    }
}
