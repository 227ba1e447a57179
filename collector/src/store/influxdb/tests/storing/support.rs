//! A journal, its lane and a database of a real server, for tests that write spans on one side and read on the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use crate::counters::Counters;
use crate::model::Span;
use crate::model::UnixNanos;
use crate::store::embedded::tests::support::write;
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore, ShardWriter, SpanLog, open_followed};
use crate::store::influxdb::InfluxdbOptions;
use crate::store::influxdb::folder;
use crate::store::influxdb::identity::collector_id;
use crate::store::influxdb::peers::Peers;
use crate::store::influxdb::ship::lane::Lane;
use crate::store::influxdb::spans::InfluxTraces;
use crate::store::influxdb::spans::lane::{SpanLane, SpanPosition};
use crate::store::influxdb::spans::payload::BlockEncoder;
use crate::store::influxdb::testing::Influxd;
use crate::store::influxdb::wire::client::Client;
use crate::store::influxdb::wire::query::Query;
use crate::store::influxdb::wire::server::Generation;
use crate::store::influxdb::wire::setup;
use crate::store::{Follow, ShipProgress, Traces};

pub(super) const WEEK: Duration = Duration::from_secs(7 * 86_400);

#[derive(Debug)]
pub(super) struct Server {
    /// Options for the server, with a database of the test.
    pub(super) options: InfluxdbOptions,
    /// Ends with the test if the test started it.
    _own: Option<(Influxd, TempDir)>,
}

impl Drop for Server {
    /// Drops the test's databases from a shared server: openGemini allows only sixteen.
    fn drop(&mut self) {
        let options = self.options.clone();
        if self._own.is_some() {
            return;
        }
        let dropped = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async {
                let drop = format!("DROP DATABASE \"{}\"", options.bucket);
                let client = Client::new(options).unwrap();
                // InfluxDB 2 knows no such statement: its bucket stays until its retention has emptied it.
                let _answer = client.query(&Query::new(drop)).await;
            });
        });
        let _joined = dropped.join();
    }
}

/// Returns every available server: a new 1.6.7, and those in the environment.
pub(super) async fn servers(database: &str) -> Vec<Server> {
    let dir = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(dir.path());
    let mut servers = vec![Server {
        options: influxd.options(database),
        _own: Some((influxd, dir)),
    }];
    for kind in ["INFLUXDB2", "OPENGEMINI"] {
        let variable = |name: &str| std::env::var(format!("FUSEBOX_TEST_{kind}_{name}")).ok();
        let Some(url) = variable("URL") else {
            println!("skipped for {kind}: FUSEBOX_TEST_{kind}_URL is not set");
            continue;
        };
        let options = InfluxdbOptions {
            token: variable("TOKEN").map(Into::into),
            org: variable("ORG").unwrap_or_else(|| "fusebox".to_owned()),
            bucket: format!("{database}_{}", fastrand::u32(..)),
            ..InfluxdbOptions::at(url)
        };
        servers.push(Server {
            options,
            _own: None,
        });
    }
    for server in &servers {
        create_database(&server.options).await;
    }
    servers
}

async fn create_database(options: &InfluxdbOptions) {
    let client = Client::new(options.clone()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    setup::ensure(&client, WEEK, dir.path()).await.unwrap();
}

/// A collector's span side: its journal and lane.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) dir: TempDir,
    pub(super) store: EmbeddedStore,
    pub(super) writers: Vec<ShardWriter>,
    pub(super) followed: Arc<ShipProgress>,
    pub(super) client: Arc<Client>,
    pub(super) counters: Arc<Counters>,
    pub(super) lane: SpanLane,
    shipped: u64,
}

impl Node {
    /// Starts with an empty journal; `keep` is how long shipped spans stay local.
    pub(super) fn new(options: &InfluxdbOptions, keep: Duration) -> Self {
        Self::open(
            tempfile::tempdir().unwrap(),
            options,
            keep,
            SpanPosition::default(),
        )
    }

    /// Starts with an empty journal of limited size.
    pub(super) fn with_budget(options: &InfluxdbOptions, bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::open_with(
            dir,
            options,
            Duration::from_secs(3600),
            SpanPosition::default(),
            bytes,
        )
    }

    /// Starts with the journal in that folder and a given position.
    pub(super) fn open(
        dir: TempDir,
        options: &InfluxdbOptions,
        keep: Duration,
        progress: SpanPosition,
    ) -> Self {
        Self::open_with(dir, options, keep, progress, u64::MAX)
    }

    fn open_with(
        dir: TempDir,
        options: &InfluxdbOptions,
        keep: Duration,
        progress: SpanPosition,
        disk_budget_bytes: u64,
    ) -> Self {
        let counters = Arc::new(Counters::default());
        let followed = Arc::new(
            ShipProgress::open(&folder(dir.path()).join("deleted.json"), progress.log).unwrap(),
        );
        let embedded = EmbeddedOptions {
            dir: dir.path().to_owned(),
            retention: WEEK,
            disk_budget_bytes,
            shards: 2,
        };
        let follow = Follow {
            followed: Arc::clone(&followed),
            keep,
        };
        let (store, writers) =
            open_followed(embedded, Some(follow), Arc::clone(&counters)).unwrap();
        let own = collector_id(dir.path()).unwrap();
        let encoder = BlockEncoder::new(&own, Arc::default());
        let lane = SpanLane::new(
            store.journal(),
            Arc::clone(&followed),
            encoder,
            (&own, progress.covered),
            Arc::clone(&counters),
        );
        Self {
            client: Arc::new(Client::new(options.clone()).unwrap()),
            dir,
            store,
            writers,
            followed,
            counters,
            lane,
            shipped: 0,
        }
    }

    /// Makes spans durable in the journal, by alternating shards.
    pub(super) fn write(&mut self, spans: &[Span]) {
        let writer = &mut self.writers[0];
        write(writer, spans);
        writer.commit().unwrap();
        self.writers.rotate_left(1);
    }

    /// Sends everything the lane has; returns the number of points and spans.
    pub(super) async fn ship(&mut self) -> (u64, u64) {
        self.ship_at(UnixNanos::now()).await
    }

    /// As `ship`, at a later time: it notes which segments are done.
    pub(super) async fn ship_at(&mut self, now: UnixNanos) -> (u64, u64) {
        let mut sum = (0, 0);
        while let Some(batch) = self.lane.next(now).unwrap() {
            let answer = self.client.write(Bytes::from(batch.lines)).await.unwrap();
            assert!(answer.status.is_success(), "{answer:?}");
            sum.0 += batch.points;
            sum.1 += batch.spans;
            let position = self.lane.position();
            self.lane.acknowledged(position);
        }
        self.shipped += sum.1;
        self.wait_until_visible().await;
        sum
    }

    async fn wait_until_visible(&self) {
        let own = collector_id(self.dir.path()).unwrap();
        let mut query = Query::new("SELECT count(\"dur\") FROM \"span_idx\" WHERE \"c\" = ");
        query.text(&own);
        wait_until_visible(&self.client, &query, self.shipped).await;
    }

    /// Returns the reader of InfluxDB alone.
    pub(super) fn remote(&self) -> InfluxTraces {
        InfluxTraces::new(Arc::clone(&self.client), WEEK)
    }

    /// Returns the reader of both stores.
    pub(super) fn merged(&self) -> Traces {
        let own = collector_id(self.dir.path()).unwrap();
        Traces::merged(
            self.store.clone(),
            Arc::clone(&self.followed),
            self.remote(),
            Arc::new(Peers::new(
                Arc::clone(&self.client),
                &own,
                Arc::clone(&self.counters),
            )),
        )
    }
}

/// Waits for openGemini, which shows points of a new series a second or two after it took them, until a query counts so many.
pub(super) async fn wait_until_visible(client: &Client, query: &Query, wanted: u64) {
    if client.generation().await.unwrap() != Generation::OpenGemini {
        return;
    }
    for _ in 0..6_000 {
        let answer = client.query(query).await.unwrap();
        let rows = answer.first().map(|series| &series.rows);
        let count = rows.and_then(|rows| rows[0][1].as_int()).unwrap_or(0);
        if u64::try_from(count).unwrap() >= wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("openGemini does not show what it took");
}

/// Blocks on a future.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}
