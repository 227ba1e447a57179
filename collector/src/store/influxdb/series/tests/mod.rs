//! The series lane and its reader against real servers: Debian's InfluxDB on every run, others where the environment names them.

mod faults;
mod lane;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::counters::Counters;
use crate::live::circuits::Circuits;
use crate::model::UnixNanos;
use crate::store::contract::series as contract;
use crate::store::influxdb::InfluxdbOptions;
use crate::store::influxdb::names::Names;
use crate::store::influxdb::peers::Peers;
use crate::store::influxdb::ship::lane::Lane;
use crate::store::influxdb::testing::{Influxd, named_server};
use crate::store::influxdb::wire::client::Client;
use crate::store::influxdb::wire::query::Query;
use crate::store::influxdb::wire::server::Generation;
use crate::store::series::{SeriesLog, SeriesRecord};

pub(crate) const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// A server with an empty database, with the means to write and read.
pub(crate) struct Server {
    pub(crate) runtime: Runtime,
    pub(crate) client: Arc<Client>,
}

impl Server {
    /// Connects to a server and creates the database.
    pub(crate) fn connect(options: InfluxdbOptions) -> Self {
        let runtime = Runtime::new().unwrap();
        let client = Arc::new(Client::new(options).unwrap());
        let generation = runtime.block_on(client.generation()).unwrap();
        match generation {
            Generation::V1 | Generation::OpenGemini => {
                let database = &client.options().bucket;
                let query = Query::new(format!("CREATE DATABASE \"{database}\""));
                runtime.block_on(client.query(&query)).unwrap();
            }
            Generation::V2 => runtime.block_on(create_bucket(&client)),
            // Made by the first write.
            Generation::V3 => {}
        }
        Self { runtime, client }
    }

    /// Returns a reader for the collector with that id.
    pub(crate) fn reader(&self, own: &str) -> InfluxSeries {
        let runtime = self.runtime.handle().clone();
        InfluxSeries::new(Arc::clone(&self.client), own, WEEK, runtime)
    }

    /// Writes everything a lane has; returns the number of points.
    pub(crate) fn ship(&self, lane: &mut SeriesLane) -> u64 {
        self.ship_at(lane, UnixNanos::now().get())
    }

    pub(crate) fn ship_at(&self, lane: &mut SeriesLane, now: u64) -> u64 {
        let mut points = 0;
        while let Some(batch) = lane.next(UnixNanos::new(now)).unwrap() {
            points += batch.points;
            let answer = self.runtime.block_on(self.client.write(batch.lines.into()));
            let answer = answer.unwrap();
            assert_eq!(answer.status, 204, "{}", answer.body);
        }
        self.wait_until_readable();
        points
    }

    /// openGemini shows a new series a second or two after accepting it, without saying when.
    fn wait_until_readable(&self) {
        let server = self.client.server();
        if server.is_some_and(|server| server.generation == Generation::OpenGemini) {
            std::thread::sleep(Duration::from_secs(3));
        }
    }
}

async fn create_bucket(client: &Client) {
    let name = [("org", client.options().org.as_str())];
    let orgs = client.call(http::Method::GET, "/api/v2/orgs", &name, None);
    let orgs: serde_json::Value = serde_json::from_str(&orgs.await.unwrap().1).unwrap();
    let bucket = serde_json::json!({
        "orgID": orgs["orgs"][0]["id"],
        "name": client.options().bucket,
        "retentionRules": [],
    });
    let create = client.call(http::Method::POST, "/api/v2/buckets", &[], Some(bucket));
    let (status, said) = create.await.unwrap();
    assert!(status.is_success(), "{said}");
}

pub(crate) struct Journal {
    pub(crate) dir: TempDir,
    pub(crate) log: SeriesLog,
    pub(crate) counters: Arc<Counters>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let counters = Arc::new(Counters::default());
        let log = open(dir.path(), &counters);
        Self { dir, log, counters }
    }

    /// Returns a lane that starts at the journal's beginning.
    pub(crate) fn lane(&self, own: &str) -> SeriesLane {
        self.lane_at(own, None)
    }

    pub(crate) fn lane_at(
        &self,
        own: &str,
        position: Option<super::lane::LanePosition>,
    ) -> SeriesLane {
        let options = SeriesLaneOptions {
            log: self.log.clone(),
            own: own.to_owned(),
            names: Arc::new(Names::default()),
            retention: WEEK,
            counters: Arc::clone(&self.counters),
            figures: Box::new(StoreFigures::default),
        };
        SeriesLane::new(options, position)
    }
}

fn open(dir: &Path, counters: &Arc<Counters>) -> SeriesLog {
    SeriesLog::open_with(dir, WEEK, Duration::ZERO, Arc::clone(counters)).unwrap()
}

/// Scenario: one collector writes its journal to a server, another one reads it.
/// Guarantees: the contract of readers holds, also for wall, transitions and history; a collector's own
/// records are not read.
fn keeps_the_contract(options: InfluxdbOptions) {
    let server = Server::connect(options);
    let journal = Journal::new();
    let mut lane = journal.lane("writer");
    let reader = server.reader("reader");
    let scene = contract::check(&reader, |records: Vec<SeriesRecord>| {
        let appended = journal.log.append(records);
        server.runtime.block_on(appended).unwrap();
        assert!(server.ship(&mut lane) > 0);
    });
    let own = Journal::new();
    let circuits = Circuits::with_reader(
        own.log.clone(),
        Arc::new(reader),
        own.counters.clone(),
        UnixNanos::new(UnixNanos::now().get()),
    );
    contract::check_circuits(&circuits.unwrap(), &scene, &server.runtime);
    let itself = server.reader("writer");
    let found = contract::read(
        &itself,
        crate::store::series::SeriesKind::Sample,
        crate::model::TimeRange::ALL,
        None,
    );
    assert_eq!(found, []);
    let peers = Peers::new(
        Arc::clone(&server.client),
        "writer",
        journal.counters.clone(),
    );
    assert!(!itself.wait(peers.others()).unwrap().has_others);
    assert!(journal.counters.incidents.all().is_empty());
}

#[test]
fn influxdb_1_keeps_the_contract_of_readers() {
    let dir = tempfile::tempdir().unwrap();
    let server = Influxd::start(dir.path());
    keeps_the_contract(server.options("fusebox"));
}

#[test]
#[ignore = "needs FUSEBOX_TEST_INFLUXDB2_URL"]
fn influxdb_2_keeps_the_contract_of_readers() {
    let bucket = format!("series{}", UnixNanos::now().get());
    keeps_the_contract(named_server("INFLUXDB2", bucket));
}

#[test]
#[ignore = "needs FUSEBOX_TEST_OPENGEMINI_URL"]
fn opengemini_keeps_the_contract_of_readers() {
    let database = format!("series{}", UnixNanos::now().get());
    keeps_the_contract(named_server("OPENGEMINI", database));
}
