//! Searches against a scripted server: how much is asked for one page, and that pages always get on.

use std::sync::Arc;
use tokio::time::Instant;

use serde_json::json;

use super::WEEK;
use super::fake::{Fake, Reply, Sent};
use crate::model::{HOUR, TimeRange, TraceQuery, UnixNanos, nanos};
use crate::store::TraceReader;
use crate::store::influxdb::spans::InfluxTraces;
use crate::store::influxdb::wire::client::Client;
use crate::store::search;

fn reader(server: &Fake) -> InfluxTraces {
    InfluxTraces::new(Arc::new(Client::new(server.options()).unwrap()), WEEK)
}

fn rows(rows: Vec<serde_json::Value>) -> Reply {
    let series = json!({"name": "span_idx", "columns": ["time", "v"], "values": rows});
    let body = json!({"results": [{"statement_id": 0, "series": [series]}]});
    (200, "", body.to_string())
}

fn is_index_query(sent: &Sent) -> bool {
    sent.body.contains("span_idx")
}

/// *Scenario*: the traces of a past hour; a hundred others began in the minutes after it.
/// *Guarantees*: those are not read, because their first spans show that they began too late.
#[tokio::test]
async fn what_begins_after_a_range_is_not_read() {
    let end = UnixNanos::now().get() - nanos(HOUR);
    let server = Fake::start("1.6.7", move |sent| {
        let late = |number: u64| {
            let start = end + 1_000_000_000 + number;
            json!([start + 5, format!("{:032x} {:016x} {start}", number + 1, 1)])
        };
        let is_first = is_index_query(sent) && sent.before == 1;
        is_first.then(|| rows((0..100).map(late).collect()))
    })
    .await;
    let range = TimeRange {
        start: UnixNanos::new(end - nanos(HOUR)),
        end: UnixNanos::new(end),
    };
    let page = reader(&server).search(TraceQuery::in_range(range)).await;
    assert!(page.unwrap().traces.is_empty());
    let read = server.sent("/query");
    assert!(read.iter().all(is_index_query));
}

/// *Scenario*: a search that may send only one query per page.
/// *Guarantees*: each page says so, begins further back than the previous one, and the last one is reached.
#[tokio::test]
async fn every_page_gets_on_however_short_its_time_is() {
    let server = Fake::start("1.6.7", |_| None).await;
    let reader = reader(&server);
    let now = UnixNanos::now().get();
    let mut query = TraceQuery::in_range(TimeRange {
        start: UnixNanos::new(now - 24 * nanos(HOUR)),
        end: UnixNanos::new(now - nanos(HOUR)),
    });
    let mut before = u64::MAX;
    for _ in 0..200 {
        let mut scan = reader.scan(&query, UnixNanos::MAX, search::deadline());
        let found = search::search(&mut scan, &query, Instant::now()).await;
        let page = found.unwrap();
        let Some(next) = page.next else {
            return;
        };
        assert!(next.position < UnixNanos::new(before.min(query.range.end.get())));
        assert!(page.missing.is_some() && page.ended_early);
        before = next.position.get();
        query.cursor = Some(next);
    }
    panic!("the last page was not reached");
}

/// *Guarantees*: the replacement of names beyond a limit is not listed as a name.
#[tokio::test]
async fn the_stand_in_for_names_is_not_listed() {
    let server = Fake::start("1.6.7", |sent| {
        let values = json!([["svc", "__other__"], ["svc", "shop"]]);
        let series = json!({"name": "span_idx", "columns": ["key", "value"], "values": values});
        let body = json!({"results": [{"statement_id": 0, "series": [series]}]});
        sent.path
            .ends_with("/query")
            .then(|| (200, "", body.to_string()))
    })
    .await;
    let services = reader(&server).services(TimeRange::ALL).await;
    assert_eq!(services.unwrap().value, ["shop"]);
}
