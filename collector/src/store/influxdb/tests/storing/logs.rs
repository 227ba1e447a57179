//! Log records in a real server: the suite of all stores against InfluxDB alone, and against the log and InfluxDB together.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::support::{WEEK, servers, wait, wait_until_visible};
use crate::counters::Counters;
use crate::log::Position;
use crate::model::{LogQuery, LogRecord, TimeRange, UnixNanos};
use crate::store::contract;
use crate::store::influxdb::identity::collector_id;
use crate::store::influxdb::logs::lane::LogLaneOptions;
use crate::store::influxdb::peers::Peers;
use crate::store::influxdb::ship::lane::Lane;
use crate::store::influxdb::wire::client::Client;
use crate::store::influxdb::wire::query::Query;
use crate::store::influxdb::{InfluxLogs, InfluxdbOptions, LogLane};
use crate::store::logs::LogStore;
use crate::store::logs::tests::record;
use crate::store::{Follow, LogReader, Logs, ShipProgress};

/// A collector's logs: where they are kept, and the lane from there.
struct Node {
    _dir: TempDir,
    own: String,
    log: LogStore,
    followed: Arc<ShipProgress>,
    client: Arc<Client>,
    counters: Arc<Counters>,
    lane: LogLane,
    shipped: u64,
}

impl Node {
    /// Starts with nothing; records go from here once they are shipped and retention asks.
    fn new(options: &InfluxdbOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let counters = Arc::new(Counters::default());
        let path = dir.path().join("deleted");
        let followed = Arc::new(ShipProgress::open(&path, Position::default()).unwrap());
        let follow = Some(Follow {
            followed: Arc::clone(&followed),
            keep: Duration::ZERO,
        });
        let bounds = (WEEK, 1 << 30);
        let log = LogStore::open_with(
            dir.path(),
            bounds,
            Duration::ZERO,
            follow,
            Arc::clone(&counters),
        );
        let (log, own) = (log.unwrap(), collector_id(dir.path()).unwrap());
        let lane = LogLaneOptions {
            log: log.clone(),
            followed: Arc::clone(&followed),
            own: own.clone(),
            names: Arc::default(),
            retention: WEEK,
            counters: Arc::clone(&counters),
        };
        Self {
            _dir: dir,
            own,
            log,
            followed,
            client: Arc::new(Client::new(options.clone()).unwrap()),
            counters,
            lane: LogLane::new(lane, None),
            shipped: 0,
        }
    }

    fn write(&self, records: Vec<LogRecord>) {
        wait(self.log.append(records)).unwrap();
    }

    /// Sends everything that the lane has.
    async fn ship(&mut self) {
        while let Some(batch) = self.lane.next(UnixNanos::now()).unwrap() {
            let answer = self.client.write(Bytes::from(batch.lines)).await.unwrap();
            assert!(answer.status.is_success(), "{answer:?}");
            self.shipped += batch.log_records;
            let position = self.lane.position();
            self.lane.acknowledged(position);
        }
        let mut query = Query::new("SELECT sum(\"n\") FROM \"log\" WHERE \"c\" = ");
        query.text(&self.own);
        wait_until_visible(&self.client, &query, self.shipped).await;
    }

    /// Deletes here what is shipped.
    fn forget(&self) {
        let later = UnixNanos::now() + Duration::from_secs(1);
        self.log.enforce_retention(later).unwrap();
        assert_eq!(self.log.stats().records, 0);
    }

    fn remote(&self) -> InfluxLogs {
        InfluxLogs::new(Arc::clone(&self.client), WEEK)
    }

    fn merged(&self) -> Logs {
        let counters = Arc::clone(&self.counters);
        let peers = Peers::new(Arc::clone(&self.client), &self.own, counters);
        let followed = Arc::clone(&self.followed);
        Logs::merged(self.log.clone(), followed, self.remote(), Arc::new(peers))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_of_log_records_holds_in_influxdb() {
    for server in servers("log_contract").await {
        let mut node = Node::new(&server.options);
        let reader = node.remote();
        let write = |records| {
            node.write(records);
            wait(node.ship());
        };
        contract::logs::check(&reader, write).await;
    }
}

/// *Guarantees*: it makes no difference what has been shipped, and what of that is still local.
#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_wherever_the_records_are() {
    for server in servers("log_merged").await {
        let mut node = Node::new(&server.options);
        let reader = node.merged();
        let mut piece = 0;
        let write = |records| {
            node.write(records);
            match piece % 3 {
                0 => {
                    wait(node.ship());
                    node.forget();
                }
                // In both.
                1 => wait(node.ship()),
                // Only here.
                _ => {}
            }
            piece += 1;
        };
        contract::logs::check(&reader, write).await;
    }
}

/// *Scenario*: two collectors share a server; then it goes away.
/// *Guarantees*: each finds the records of both, and without the server its own, with a word about the others.
#[tokio::test(flavor = "multi_thread")]
async fn collectors_see_the_records_of_each_other() {
    let mut all = servers("log_shared").await;
    let server = all.remove(0);
    let (mut one, mut other) = (Node::new(&server.options), Node::new(&server.options));
    one.write(vec![record(1, "shop", 1, "one")]);
    other.write(vec![record(1, "cart", 2, "other")]);
    one.ship().await;
    other.ship().await;
    for node in [&one, &other] {
        // What says that there are others.
        let line = format!("collector,c={} spans_written=1i", node.own);
        let answer = node.client.write(Bytes::from(line)).await.unwrap();
        assert!(answer.status.is_success());
    }
    let reader = one.merged();
    let query = LogQuery::in_range(TimeRange::ALL);
    let said = |records: &[LogRecord]| -> Vec<String> {
        records
            .iter()
            .map(|record| record.body.to_string())
            .collect()
    };
    let page = reader.search(query.clone()).await.unwrap();
    assert_eq!(
        (said(&page.records), page.missing),
        (vec!["other".to_owned(), "one".to_owned()], None)
    );
    drop(server);
    let page = reader.search(query).await.unwrap();
    assert_eq!(said(&page.records), ["one"]);
    let missing = page.missing.unwrap();
    assert!(
        missing.contains("what other collectors may have received"),
        "{missing}"
    );
    let none = LogQuery {
        service: Some("none".to_owned()),
        ..LogQuery::in_range(TimeRange::ALL)
    };
    assert!(reader.search(none).await.unwrap().unread().is_some());
}
