//! Simulates the shop's real work: time that passes inside a span, as in a query or a computation.

use std::time::Duration;

use tracing::{Instrument, info_span};

/// Waits for this many milliseconds, more or less by half, in a span like a database client's.
pub(super) async fn query(statement: &'static str, table: &'static str, milliseconds: u64) {
    let span = info_span!(
        "query",
        otel.name = statement,
        otel.kind = "client",
        db.system.name = "postgresql",
        db.collection.name = table,
        db.query.summary = statement,
    );
    pass(milliseconds).instrument(span).await;
}

/// Waits for this many milliseconds, more or less by half, in its own span.
pub(super) async fn compute(name: &'static str, milliseconds: u64) {
    pass(milliseconds)
        .instrument(info_span!("compute", otel.name = name))
        .await;
}

async fn pass(milliseconds: u64) {
    let micros = milliseconds * 1_000;
    tokio::time::sleep(Duration::from_micros(fastrand::u64(
        micros / 2..=micros * 3 / 2,
    )))
    .await;
}
