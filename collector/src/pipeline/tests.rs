//! The pipeline on a disk that can be slow or broken.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use proptest::prelude::*;
use prost::Message;

use super::testing::{Bench, named_spans_request, send_spans, spans_request};
use super::{Ingest, IngestError};
use crate::codec::Format;
use crate::codec::circuits::request;
use crate::codec::otlp::Accepted;
use crate::model::{DAY, LogQuery, Severity, TimeRange, UnixNanos};

const MIB: usize = 1 << 20;

async fn send_metrics(ingest: &Ingest, message: Bytes) -> Result<Accepted, IngestError> {
    let reservation = ingest.begin(None)?;
    ingest
        .metrics(Format::OtlpProtobuf, message, reservation)
        .await
}

async fn send_logs(ingest: &Ingest, message: Bytes) -> Result<Accepted, IngestError> {
    let reservation = ingest.begin(None)?;
    ingest
        .logs(Format::OtlpProtobuf, message, reservation)
        .await
}

#[tokio::test]
async fn spans_are_durable_when_their_sender_hears_ok() {
    let bench = Bench::start(2, MIB);
    let report = send_spans(bench.pipeline.ingest(), spans_request(5, 2))
        .await
        .unwrap();
    assert_eq!((report.spans, report.rejected_total()), (5, 2));
    assert_eq!(bench.disk.spans(), 5);
    bench.assert_spans_conserved();
}

#[tokio::test]
async fn a_malformed_request_leaves_nothing_behind() {
    let bench = Bench::start(1, MIB);
    let mut torn = spans_request(5, 0).to_vec();
    torn.truncate(torn.len() - 3);
    let error = send_spans(bench.pipeline.ingest(), torn.into())
        .await
        .unwrap_err();
    assert!(matches!(error, IngestError::Decode(_)), "{error}");
    send_spans(bench.pipeline.ingest(), spans_request(1, 0))
        .await
        .unwrap();
    assert_eq!(bench.disk.spans(), 1);
    bench.assert_spans_conserved();
    assert_eq!(bench.counters.queue_bytes.get(), 0);
}

#[tokio::test]
async fn an_empty_request_is_a_success() {
    let bench = Bench::start(1, MIB);
    let report = send_spans(bench.pipeline.ingest(), Bytes::new())
        .await
        .unwrap();
    assert_eq!(report.spans, 0);
    assert!(bench.disk.lock().commits.is_empty());
}

/// *Scenario*: ten requests arrive while the disk is busy with the first.
/// *Guarantees*: they share one commit.
#[tokio::test]
async fn what_waits_together_is_committed_together() {
    let bench = Bench::start(1, MIB);
    bench.disk.change(|disk| disk.stuck = true);
    let ingest = bench.pipeline.ingest().clone();
    let first = tokio::spawn({
        let ingest = ingest.clone();
        async move { send_spans(&ingest, spans_request(1, 0)).await }
    });
    let disk = bench.disk.clone();
    tokio::task::spawn_blocking(move || disk.wait_for_stuck_commit())
        .await
        .unwrap();
    let rest: Vec<_> = (0..10)
        .map(|_| {
            let ingest = ingest.clone();
            tokio::spawn(async move { send_spans(&ingest, spans_request(3, 0)).await })
        })
        .collect();
    // A current-thread runtime: after one turn all ten are in line.
    tokio::task::yield_now().await;
    bench.disk.change(|disk| disk.stuck = false);
    first.await.unwrap().unwrap();
    for sender in rest {
        sender.await.unwrap().unwrap();
    }
    let sizes: Vec<usize> = bench.disk.lock().commits.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 30]);
    bench.assert_spans_conserved();
}

/// *Scenario*: one shard hangs in a write, another is idle, and a single small request arrives.
/// *Guarantees*: the idle one processes it without waiting for the first.
#[tokio::test]
async fn an_idle_shard_helps_when_another_hangs() {
    let bench = Bench::start(2, MIB);
    bench.disk.change(|disk| disk.stuck = true);
    let ingest = bench.pipeline.ingest().clone();
    let hanging = tokio::spawn(async move { send_spans(&ingest, spans_request(1, 0)).await });
    let disk = bench.disk.clone();
    tokio::task::spawn_blocking(move || disk.wait_for_stuck_commit())
        .await
        .unwrap();
    let ingest = bench.pipeline.ingest().clone();
    let helped = tokio::spawn(async move { send_spans(&ingest, spans_request(2, 0)).await });
    // Walked by the second shard: its spans are counted while the first still hangs.
    while bench.counters.spans_received.get() < 3 {
        tokio::task::yield_now().await;
    }
    bench.disk.change(|disk| disk.stuck = false);
    hanging.await.unwrap().unwrap();
    helped.await.unwrap().unwrap();
    bench.assert_spans_conserved();
}

#[tokio::test]
async fn a_full_block_is_committed_while_more_waits() {
    let bench = Bench::start(1, 64 * MIB);
    bench.disk.change(|disk| disk.stuck = true);
    let senders: Vec<_> = (0..5)
        .map(|_| {
            let ingest = bench.pipeline.ingest().clone();
            tokio::spawn(async move { send_spans(&ingest, spans_request(6_000, 0)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    bench.disk.change(|disk| disk.stuck = false);
    for sender in senders {
        sender.await.unwrap().unwrap();
    }
    let largest = bench.disk.lock().commits.iter().map(Vec::len).max();
    assert!(largest <= Some(12_000), "{largest:?}");
    bench.assert_spans_conserved();
}

#[tokio::test]
async fn no_request_is_acknowledged_when_the_disk_fails() {
    let bench = Bench::start(1, MIB);
    bench.disk.change(|disk| disk.broken = true);
    let error = send_spans(bench.pipeline.ingest(), spans_request(5, 1))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, IngestError::Store(why) if why.to_string().contains("broken as asked"))
    );
    assert_eq!(bench.counters.spans_refused.all()["store_error"], 5);
    bench.disk.change(|disk| disk.broken = false);
    send_spans(bench.pipeline.ingest(), spans_request(2, 0))
        .await
        .unwrap();
    bench.assert_spans_conserved();
}

/// *Scenario*: a commit fails, and the next one, right after it, succeeds.
/// *Guarantees*: `/healthz` shows the failure until then and no longer.
#[tokio::test]
async fn health_follows_each_commit() {
    let bench = Bench::start(1, MIB);
    let ingest = bench.pipeline.ingest().clone();
    assert_eq!(bench.health.problem(), None);
    bench.disk.change(|disk| disk.broken = true);
    assert!(send_spans(&ingest, spans_request(1, 0)).await.is_err());
    assert_eq!(
        bench.health.problem().as_deref(),
        Some("could not write to the disk: broken as asked")
    );
    bench
        .disk
        .change(|disk| (disk.broken, disk.full) = (false, true));
    assert!(send_spans(&ingest, spans_request(1, 0)).await.is_err());
    assert_eq!(bench.health.problem().as_deref(), Some("the disk is full"));
    send_spans(&ingest, Bytes::new()).await.unwrap();
    send_metrics(&ingest, Bytes::new()).await.unwrap();
    let problem = bench.health.problem();
    assert!(problem.is_some(), "nothing was written since");
    bench.disk.change(|disk| disk.full = false);
    send_spans(&ingest, spans_request(1, 0)).await.unwrap();
    assert_eq!(bench.health.problem(), None);
}

/// *Scenario*: no spans arrive; metrics cannot be written, and later can.
#[tokio::test]
async fn health_follows_the_circuits_too() {
    let bench = Bench::start(1, MIB);
    let ingest = bench.pipeline.ingest().clone();
    bench.circuits.fail(true);
    assert!(send_metrics(&ingest, Bytes::new()).await.is_err());
    assert_eq!(bench.health.problem().as_deref(), Some("the disk is full"));
    send_spans(&ingest, spans_request(1, 0)).await.unwrap();
    let problem = bench.health.problem();
    assert!(problem.is_some(), "spans say nothing of the circuits");
    bench.circuits.fail(false);
    send_logs(&ingest, Bytes::new()).await.unwrap();
    assert_eq!(bench.health.problem(), None);
}

#[tokio::test]
async fn a_stopping_collector_is_not_well_whatever_it_still_writes() {
    let bench = Bench::start(1, MIB);
    bench.health.stop();
    send_spans(bench.pipeline.ingest(), spans_request(1, 0))
        .await
        .unwrap();
    assert_eq!(bench.health.problem().as_deref(), Some("stopping"));
}

#[tokio::test]
async fn a_panic_refuses_one_request_and_spares_the_shard() {
    let bench = Bench::start(1, MIB);
    bench.disk.change(|disk| disk.panics_at = Some("boom"));
    let hostile = named_spans_request(3, 0, "boom");
    let error = send_spans(bench.pipeline.ingest(), hostile)
        .await
        .unwrap_err();
    assert!(matches!(error, IngestError::Internal(_)));
    assert_eq!(bench.counters.incidents.all()["shard_panicked"], 1);
    send_spans(bench.pipeline.ingest(), spans_request(2, 0))
        .await
        .unwrap();
    bench.assert_spans_conserved();
}

/// *Scenario*: a commit panics, so the state of its log is unknown.
/// *Guarantees*: its senders are rejected, its shard ends, and the other one continues; once that has ended
/// too, all are rejected.
#[tokio::test]
async fn a_panic_at_commit_ends_that_shard_alone() {
    let bench = Bench::start(2, MIB);
    let ingest = bench.pipeline.ingest().clone();
    bench.disk.change(|disk| disk.panics_at_commit = true);
    assert!(send_spans(&ingest, spans_request(3, 0)).await.is_err());
    bench.disk.change(|disk| disk.panics_at_commit = false);
    send_spans(&ingest, spans_request(2, 0)).await.unwrap();
    let problem = bench.health.problem().unwrap();
    assert!(problem.contains("shard ended"), "{problem}");
    bench.assert_spans_conserved();
    bench.disk.change(|disk| disk.panics_at_commit = true);
    assert!(send_spans(&ingest, spans_request(3, 0)).await.is_err());
    bench.disk.change(|disk| disk.panics_at_commit = false);
    assert!(send_spans(&ingest, spans_request(1, 0)).await.is_err());
    bench.assert_spans_conserved();
    assert_eq!(bench.counters.queue_bytes.get(), 0);
}

/// *Scenario*: the disk hangs and the queue is full.
/// *Guarantees*: the next sender waits and is rejected with a retry delay; the first ones are confirmed once
/// the disk works.
#[tokio::test]
async fn a_full_queue_refuses_after_a_wait_and_loses_nothing() {
    let bench = Bench::start(1, 16 << 10);
    bench.disk.change(|disk| disk.stuck = true);
    let ingest = bench.pipeline.ingest().clone();
    let first = tokio::spawn({
        let ingest = ingest.clone();
        async move { send_spans(&ingest, spans_request(1, 0)).await }
    });
    let disk = bench.disk.clone();
    tokio::task::spawn_blocking(move || disk.wait_for_stuck_commit())
        .await
        .unwrap();
    let second = tokio::spawn({
        let ingest = ingest.clone();
        async move { send_spans(&ingest, spans_request(200, 0)).await }
    });
    tokio::task::yield_now().await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let error = send_spans(&ingest, spans_request(200, 0))
        .await
        .unwrap_err();
    assert!(matches!(error, IngestError::Full { .. }), "{error}");
    assert!(began.elapsed() >= super::reservation::WAIT_MAX);
    tokio::time::resume();
    bench.disk.change(|disk| disk.stuck = false);
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(bench.disk.spans(), 201);
    assert_eq!(bench.counters.queue_bytes.get(), 0);
    bench.assert_spans_conserved();
}

#[tokio::test]
async fn stopping_commits_what_was_taken_and_refuses_the_rest() {
    let bench = Bench::start(2, MIB);
    bench.disk.change(|disk| disk.stuck = true);
    let ingest = bench.pipeline.ingest().clone();
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let ingest = ingest.clone();
            tokio::spawn(async move { send_spans(&ingest, spans_request(4, 0)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let Bench { pipeline, disk, .. } = bench;
    let stopped = tokio::task::spawn_blocking(move || pipeline.stop());
    while ingest.begin(None).is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(
        send_spans(&ingest, spans_request(1, 0)).await,
        Err(IngestError::Stopping)
    ));
    disk.change(|disk| disk.stuck = false);
    stopped.await.unwrap();
    for sender in senders {
        assert_eq!(sender.await.unwrap().unwrap().spans, 4);
    }
    assert_eq!(disk.spans(), 32);
    assert_eq!(disk.lock().sealed, 2);
}

#[tokio::test]
async fn a_sender_that_gives_up_loses_nothing() {
    let bench = Bench::start(1, MIB);
    bench.disk.change(|disk| disk.stuck = true);
    let gone = tokio::time::timeout(
        Duration::from_millis(1),
        send_spans(bench.pipeline.ingest(), spans_request(3, 0)),
    );
    assert!(gone.await.is_err());
    bench.disk.change(|disk| disk.stuck = false);
    send_spans(bench.pipeline.ingest(), spans_request(1, 0))
        .await
        .unwrap();
    assert_eq!(bench.disk.spans(), 4);
    bench.assert_spans_conserved();
}

/// Scenario: a sender disconnects while its log records wait for the disk.
/// Guarantees: their memory stays reserved until they are written.
#[tokio::test]
async fn log_records_whose_sender_left_hold_their_memory() {
    let bench = Bench::start(1, 1 << 20);
    let record = LogRecord {
        time_unix_nano: 1,
        ..LogRecord::default()
    };
    let message = request::logs(request::resource("shop", None), record).encode_to_vec();
    let sending = send_logs(bench.pipeline.ingest(), message.into());
    assert!(sending.now_or_never().is_none());
    assert!(bench.counters.queue_bytes.get() > 0);
    while bench.counters.queue_bytes.get() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.logs.stats().records, 1);
}

#[tokio::test]
async fn metrics_and_logs_reach_the_circuits() {
    let bench = Bench::start(1, MIB);
    send_metrics(bench.pipeline.ingest(), Bytes::new())
        .await
        .unwrap();
    send_logs(bench.pipeline.ingest(), Bytes::new())
        .await
        .unwrap();
    assert_eq!(*bench.circuits.metric_requests.lock().unwrap(), 1);
    assert_eq!(*bench.circuits.log_requests.lock().unwrap(), 1);
    let malformed = Bytes::from_static(b"\x0a\xff");
    let error = send_metrics(bench.pipeline.ingest(), malformed)
        .await
        .unwrap_err();
    assert!(matches!(error, IngestError::Decode(_)));
}

/// *Scenario*: a request has a record with a trace, one without but with a secret, an event of a circuit, and
/// one dated next week.
/// *Guarantees*: once it is answered, both records are stored, redacted; the last is rejected, and the answer
/// says so.
#[tokio::test]
async fn log_records_are_kept_and_searched() {
    let bench = Bench::start(1, 4 * MIB);
    let now = UnixNanos::now();
    let record = |text: &str, trace: u8, after: Duration| LogRecord {
        time_unix_nano: (now + after).get(),
        severity_number: 17,
        body: request::text("", text).value,
        trace_id: vec![trace; 16],
        ..LogRecord::default()
    };
    let mut sent = request::logs(
        request::resource("shop", None),
        record("no stock", 7, Duration::ZERO),
    );
    let mut event = record("opened", 7, Duration::ZERO);
    event.event_name = fusebox::semconv::EVENT_TRANSITION.to_owned();
    let records = &mut sent.resource_logs[0].scope_logs[0].log_records;
    records.push(record("login with password=hunter2", 0, Duration::ZERO));
    records.push(event);
    records.push(record("from next week", 7, 7 * DAY));
    let message = Bytes::from(sent.encode_to_vec());
    let accepted = send_logs(bench.pipeline.ingest(), message).await.unwrap();
    assert_eq!((accepted.records_refused, accepted.truncated), (1, 0));
    let query = LogQuery::in_range(TimeRange::ALL);
    let page = crate::store::LogReader::search(&bench.logs, query).await;
    let found = page.unwrap().records;
    let mut said: Vec<_> = found.iter().map(|r| r.body.to_string()).collect();
    said.sort();
    assert_eq!(said, ["login with password=REDACTED", "no stock"]);
    assert!(
        found
            .iter()
            .all(|r| r.service() == "shop" && r.severity == Severity::ERROR)
    );
    let bad = Bytes::from_static(b"\x0a\xff");
    assert!(send_logs(bench.pipeline.ingest(), bad).await.is_err());
}

/// An action of a random sender.
#[derive(Debug, Clone)]
enum Act {
    Send { valid: usize, invalid: usize },
    SendTorn { cut: usize },
    SendNoise(Vec<u8>),
    BreakDisk(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..50_usize, 0..5_usize).prop_map(|(valid, invalid)| Act::Send { valid, invalid }),
        1 => (1..60_usize).prop_map(|cut| Act::SendTorn { cut }),
        1 => proptest::collection::vec(any::<u8>(), 0..60).prop_map(Act::SendNoise),
        1 => any::<bool>().prop_map(Act::BreakDisk),
    ];
    proptest::collection::vec(act, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn spans_are_conserved_whatever_comes(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bench = Bench::start(2, 4 * MIB);
        let mut confirmed = 0;
        runtime.block_on(async {
            let ingest = bench.pipeline.ingest().clone();
            let mut senders = tokio::task::JoinSet::new();
            for act in acts {
                let request = match act {
                    Act::Send { valid, invalid } => spans_request(valid, invalid),
                    Act::SendTorn { cut } => {
                        let whole = spans_request(3, 0);
                        whole.slice(..whole.len() - cut.min(whole.len()))
                    }
                    Act::SendNoise(noise) => noise.into(),
                    Act::BreakDisk(broken) => {
                        bench.disk.change(|disk| disk.broken = broken);
                        continue;
                    }
                };
                let ingest = ingest.clone();
                senders.spawn(async move { send_spans(&ingest, request).await });
                tokio::task::yield_now().await;
            }
            while let Some(answer) = senders.join_next().await {
                confirmed += answer.unwrap().map_or(0, |report| report.spans);
            }
        });
        bench.assert_spans_conserved();
        prop_assert_eq!(bench.counters.spans_queued.get(), 0);
        prop_assert_eq!(bench.counters.queue_bytes.get(), 0);
        prop_assert_eq!(bench.counters.spans_written.get(), confirmed);
    }
}
