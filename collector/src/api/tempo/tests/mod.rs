//! Tempo's routes as Grafana's data source and scripts ask them.

mod lists;
mod metrics;
mod searches;
mod stream;
mod traces;

use axum::http::StatusCode;

use crate::api::tests::Fixture;

/// 2026-11-23T10:00:00Z.
const NOW: u64 = 1_795_428_000_000_000_000;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// The minutes around `NOW`, as Grafana sends a range.
const RANGE: &str = "start=1795427700&end=1795428300";

fn encoded(query: &str) -> String {
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    pairs.append_pair("q", query).finish()
}

async fn refused(fixture: &Fixture, uri: &str) -> (StatusCode, String) {
    let (status, content_type, text) = fixture.get(uri).await;
    assert_eq!(content_type, "text/plain; charset=utf-8", "{uri}");
    (status, text)
}
