//! The way from a lane to a server: against a scripted one, and against real ones.

mod fake;
mod outages;
mod real;
mod real_opengemini;
mod real_v2;
mod refusals;
mod scripted;
mod searching;
mod setting_up;
mod storing;
mod tls;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::model::UnixNanos;
use crate::store::StoreError;
use crate::store::influxdb::InfluxdbFigures;
use crate::store::influxdb::InfluxdbOptions;
use crate::store::influxdb::names::Names;
use crate::store::influxdb::ship::lane::{Batch, Lane};
use crate::store::influxdb::ship::link::Link;
use crate::store::influxdb::ship::writer::{Writer, saved_position};
use crate::store::influxdb::testing::named_server;
use crate::store::influxdb::wire::client::Client;
use crate::store::influxdb::wire::reachability::Standing;

const WEEK: Duration = Duration::from_secs(604_800);
/// Longest wait of a test, in real or paused time.
const DEADLINE: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct At {
    at: u64,
}

#[derive(Debug)]
struct ListLane {
    batches: Vec<String>,
    at: usize,
    settled: watch::Sender<u64>,
}

impl ListLane {
    /// Starts where the last run ended.
    fn open(data_dir: &Path, batches: &[String]) -> Self {
        let saved = saved_position::<Self>(data_dir).unwrap();
        Self {
            batches: batches.to_vec(),
            at: saved.map_or(0, |position| position.at as usize),
            settled: watch::channel(0).0,
        }
    }
}

impl Lane for ListLane {
    const NAME: &'static str = "list";
    type Position = At;

    fn next(&mut self, _now: UnixNanos) -> Result<Option<Batch>, StoreError> {
        let lines = self.batches.get(self.at).cloned();
        self.at += usize::from(lines.is_some());
        Ok(lines.map(|lines| Batch {
            points: lines.lines().count() as u64,
            spans: 1,
            lines,
            ..Batch::default()
        }))
    }

    fn position(&self) -> At {
        At { at: self.at as u64 }
    }

    fn acknowledged(&mut self, position: At) {
        let _ = self.settled.send(position.at);
    }
}

/// A writer that runs in a test, with its shared state.
struct Run {
    link: Arc<Link>,
    writer: Writer,
    stop: watch::Sender<bool>,
    settled: watch::Receiver<u64>,
}

impl Run {
    /// Starts delivering batches to a server.
    fn start(options: InfluxdbOptions, data_dir: &Path, batches: &[String]) -> Self {
        let link = link(options, data_dir);
        let lane = ListLane::open(data_dir, batches);
        let settled = lane.settled.subscribe();
        let (stop, stopped) = watch::channel(false);
        let writer = Writer::start(Arc::clone(&link), lane, stopped);
        Self {
            link,
            writer,
            stop,
            settled,
        }
    }

    /// Waits until that many batches are settled and their position is saved.
    async fn until_settled(&mut self, batches: u64) {
        let settled = self.settled.wait_for(|at| *at >= batches);
        let waited = tokio::time::timeout(DEADLINE, settled).await;
        let done = matches!(waited, Ok(Ok(_)));
        drop(waited);
        if !done {
            panic!("{:?} {:?}", self.figures(), self.standing());
        };
    }

    fn figures(&self) -> InfluxdbFigures {
        self.link
            .counts
            .figures(self.standing().reachable == Some(true))
    }

    fn standing(&self) -> Standing {
        self.link.client.reachability().standing()
    }

    /// Stops it; returns the saved position.
    async fn end(self) -> (InfluxdbFigures, Option<At>) {
        let _ = self.stop.send(true);
        let ended = tokio::time::timeout(DEADLINE, self.writer.ended()).await;
        ended.expect("a writer ends when it is asked to");
        let saved = saved_position::<ListLane>(&self.link.data_dir).unwrap();
        let standing = self.link.client.reachability().standing();
        let figures = self.link.counts.figures(standing.reachable == Some(true));
        (figures, saved)
    }
}

fn link(options: InfluxdbOptions, data_dir: &Path) -> Arc<Link> {
    let client = Arc::new(Client::new(options).unwrap());
    let names = Arc::new(Names::default());
    Link::new(client, names, data_dir.to_owned(), WEEK)
}

/// Delivers batches until all are settled; returns the counters.
async fn carry(options: InfluxdbOptions, data_dir: &Path, batches: &[String]) -> InfluxdbFigures {
    let mut run = Run::start(options, data_dir, batches);
    run.until_settled(batches.len() as u64).await;
    run.end().await.0
}

/// Valid lines of one series, a nanosecond apart.
fn good_lines(from: u64, count: u64) -> String {
    (from..from + count)
        .map(|at| format!("red,c=abcdef,svc=shop calls={at}i {at}\n"))
        .collect()
}

/// Valid lines of the last minute; lines from different places never share a time.
fn fresh_lines(from: u64, count: u64) -> String {
    static BEGIN: std::sync::LazyLock<u64> =
        std::sync::LazyLock::new(|| crate::model::UnixNanos::now().get() - 60_000_000_000);
    good_lines(*BEGIN + from, count)
}

/// Lines with the names of that many services, each with an operation, a breaker, an instance and a peer.
fn names_of(services: u64) -> String {
    let now = crate::model::UnixNanos::now().get();
    let of_service = |n: u64| {
        let at = now + n;
        format!(
            "red,c=a,op=GET\\ /{n},svc=s\\ {n} calls=1i {at}\nspan_idx,c=a,op=call\\ {n},svc=s\\ {n} dur=1i {at}\n\
             circuit_state,c=a,inst=i{n},name=b{n},svc=s\\ {n} state=0i {at}\n\
             instance,c=a,inst=j{n},svc=s\\ {n} first=1i {at}\ndep,c=a,dst=d{n},src=s\\ {n} calls=1i {at}\n"
        )
    };
    (0..services).map(of_service).collect()
}

/// Checks that every one of these names is known, by filling the tables: then only known names are admitted.
fn assert_learned(names: &Names, services: u64) {
    use crate::store::influxdb::names::{Owned, PEERS_MAX, SERVICES_MAX};
    for n in 0..SERVICES_MAX.max(PEERS_MAX) {
        let filler = format!("filler {n}");
        let _ = (names.service(&filler), names.peer(&filler));
    }
    let owned = [
        (Owned::Operation, "GET /"),
        (Owned::Operation, "call "),
        (Owned::Breaker, "b"),
        (Owned::Instance, "i"),
        (Owned::Instance, "j"),
    ];
    for n in 0..services {
        let service = format!("s {n}");
        assert_eq!(names.service(&service), service);
        for peer in [format!("d{n}"), service.clone()] {
            assert_eq!(names.peer(&peer), peer);
        }
        (0..10_000).for_each(|n| {
            for kind in [Owned::Operation, Owned::Breaker, Owned::Instance] {
                names.owned(kind, &service, &format!("filler {n}"));
            }
        });
        for (kind, prefix) in owned {
            let name = format!("{prefix}{n}");
            assert_eq!(names.owned(kind, &service, &name), name);
        }
    }
}
