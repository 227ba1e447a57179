//! A collector that runs without its InfluxDB for a while, and then with it again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::journal::{count, distinct_spans, segment_files, shop_span};
use super::support::{Node, Server, WEEK, servers};
use crate::model::{Span, UnixNanos};
use crate::shipping::paused;
use crate::store::durable;
use crate::store::embedded::tests::support::write;
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore, ShardWriter, SpanLog, open_followed};
use crate::store::influxdb::SpanLane;
use crate::store::influxdb::folder;
use crate::store::influxdb::saved_position;
use crate::store::influxdb::ship::lane::Lane;

const KEEP: Duration = Duration::from_secs(3_600);

/// Saves the position of a node, as its writer does.
fn save(node: &Node) {
    let path = folder(node.dir.path()).join("spans.json");
    let position = serde_json::to_vec(&node.lane.position()).unwrap();
    durable::write(&path, &position).unwrap();
}

/// Opens the store like a collector without InfluxDB.
fn open_without(dir: &Path) -> (EmbeddedStore, Vec<ShardWriter>) {
    let options = EmbeddedOptions {
        dir: dir.to_owned(),
        retention: WEEK,
        disk_budget_bytes: u64::MAX,
        shards: 2,
    };
    let follow = paused(dir, WEEK, UnixNanos::now()).unwrap().spans;
    open_followed(options, follow, Arc::default()).unwrap()
}

/// Opens the node again at the saved position.
fn reopen(dir: TempDir, server: &Server) -> Node {
    let saved = saved_position::<SpanLane>(dir.path()).unwrap();
    Node::open(dir, &server.options, KEEP, saved.unwrap_or_default())
}

/// Returns the spans of a block, three each.
fn block(number: u64) -> Vec<Span> {
    (number * 3..number * 3 + 3).map(shop_span).collect()
}

/// *Scenario*: a collector ships some of its small blocks and crashes before it saves all of that; it runs
/// without InfluxDB, which seals the open and the new segments, and then with it again.
/// *Guarantees*: every span is in InfluxDB, and has one index point.
#[tokio::test(flavor = "multi_thread")]
async fn spans_that_were_shipped_before_a_pause_are_not_doubled() {
    for server in servers("paused").await {
        let mut node = Node::new(&server.options, KEEP);
        for number in 0..60 {
            node.write(&block(number));
            if number == 19 {
                node.ship().await;
                save(&node);
            }
        }
        node.ship().await;
        (60..90).for_each(|number| node.write(&block(number)));
        let Node { dir, .. } = node;
        let (store, mut writers) = open_without(dir.path());
        for number in 90..120 {
            write(&mut writers[0], &block(number));
            writers[0].commit().unwrap();
        }
        writers[0].seal().unwrap();
        drop((store, writers));
        let mut node = reopen(dir, &server);
        node.ship().await;
        assert_eq!(distinct_spans(&node).await, 360);
        assert_eq!(count(&node.client, "span_idx", "dur").await, 360);
    }
}

/// *Scenario*: everything was shipped and deleted locally; a run without InfluxDB receives spans and deletes
/// none.
/// *Guarantees*: they are shipped later, although no segment shows which numbers were used.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_a_pause_is_shipped_after_it() {
    let server = &servers("pause").await[0];
    let mut node = Node::new(&server.options, Duration::ZERO);
    for number in 0..5 {
        node.write(&block(number));
        node.ship().await;
        node.writers.iter_mut().for_each(|w| w.seal().unwrap());
    }
    let later = UnixNanos::now().get() + 120_000_000_000;
    node.ship_at(UnixNanos::new(later)).await;
    node.store.enforce_retention(UnixNanos::new(later)).unwrap();
    assert_eq!(node.store.stats().segments, 0);
    save(&node);
    let Node { dir, .. } = node;
    let (store, mut writers) = open_without(dir.path());
    write(&mut writers[0], &block(5));
    writers[0].commit().unwrap();
    writers[0].seal().unwrap();
    store.enforce_retention(UnixNanos::new(later)).unwrap();
    assert_eq!(store.stats().spans, 3);
    drop((store, writers));
    let mut node = reopen(dir, server);
    assert_eq!(node.ship().await.1, 3);
    assert_eq!(count(&node.client, "span_idx", "dur").await, 18);
}

/// *Scenario*: the collector ran without InfluxDB for longer than the retention.
/// *Guarantees*: small blocks are merged again, and the saved position is removed.
#[test]
fn an_influxdb_that_was_given_up_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = folder(dir.path()).join("spans.json");
    let mut bytes = Vec::new();
    for age in [WEEK / 2, WEEK * 2] {
        durable::write(&path, b"{\"done_below\":7,\"segments\":{}}").unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        let (_store, mut writers) = open_without(dir.path());
        for number in 0..50 {
            write(&mut writers[0], &block(number));
            writers[0].commit().unwrap();
        }
        writers[0].seal().unwrap();
        let file = segment_files(dir.path()).remove(0);
        bytes.push(std::fs::metadata(&file).unwrap().len());
        std::fs::remove_file(file).unwrap();
    }
    assert!(bytes[1] < bytes[0] / 2, "{bytes:?}");
    assert!(!path.exists());
}
