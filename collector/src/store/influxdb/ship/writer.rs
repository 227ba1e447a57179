//! Ships one lane's batches in order, one in flight while the next is prepared, and saves the position.
//!
//! It never delays the start or stop of the collector: the server may be away for days, since the journal
//! holds the data.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use super::delivery::Delivery;
use super::lane::{Batch, Lane};
use super::link::Link;
use super::outcome::Backoff;
use crate::model::UnixNanos;
use crate::store::StoreError;
use crate::store::durable;
use crate::store::influxdb::folder;
use crate::store::influxdb::names::Names;
use crate::sync::LogThrottle;
use crate::sync::Mutex;

/// Polling interval of an idle lane.
const IDLE: Duration = Duration::from_millis(200);
/// Interval of saving the position: a compromise between what a crash sends again and the cost of a save (a
/// rename and two syncs).
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Longest time for a request in flight once the collector stops.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Writer {
    task: JoinHandle<()>,
}

impl Writer {
    /// Starts the lane's task; it ends when `stop` turns true or its sender is dropped.
    pub(crate) fn start<L: Lane>(link: Arc<Link>, lane: L, stop: watch::Receiver<bool>) -> Self {
        let carrier = Carrier {
            delivery: Delivery::new(Arc::clone(&link), L::NAME),
            positions: Positions::new(
                folder(&link.data_dir).join(file_name(L::NAME)),
                Arc::clone(&link.names),
            ),
            lane: Arc::new(Mutex::new(lane)),
            stop,
            trouble: Backoff::default(),
            warnings: LogThrottle::default(),
            link,
        };
        Self {
            task: tokio::spawn(carrier.run()),
        }
    }

    /// Waits until the lane has ended and its position is saved.
    pub(crate) async fn ended(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a lane to InfluxDB ended by a panic");
        }
    }
}

/// Returns the saved position of a lane; `None` before its first run, or if its file is damaged, which only
/// costs sending the remaining journal again.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn saved_position<L: Lane>(
    data_dir: &std::path::Path,
) -> Result<Option<L::Position>, StoreError> {
    let path = folder(data_dir).join(file_name(L::NAME));
    let decode = |json: Option<serde_json::Value>| {
        let position = json.map(serde_json::from_value).transpose();
        position.map_err(|error| StoreError::Damaged {
            path: path.display().to_string(),
            what: error.to_string(),
        })
    };
    match durable::read_json(&path).and_then(decode) {
        Err(error @ StoreError::Damaged { .. }) => {
            let lane = L::NAME;
            tracing::warn!(%error, lane, "position is damaged; shipping from the beginning of the journal");
            Ok(None)
        }
        read => read,
    }
}

/// Returns the age of a lane's saved position; `None` if there is none.
///
/// # Errors
/// When its metadata cannot be read.
pub(crate) fn position_age(
    data_dir: &std::path::Path,
    lane: &str,
    now: UnixNanos,
) -> Result<Option<Duration>, StoreError> {
    let path = folder(data_dir).join(file_name(lane));
    let modified = match std::fs::metadata(&path).and_then(|metadata| metadata.modified()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        modified => modified.map_err(|error| StoreError::io("look at", &path, error))?,
    };
    let now = UNIX_EPOCH + Duration::from_nanos(now.get());
    // A file time ahead of the clock counts as new.
    Ok(Some(now.duration_since(modified).unwrap_or_default()))
}

/// Removes a lane's saved position.
///
/// # Errors
/// When its file cannot be removed.
pub(crate) fn forget_position(data_dir: &std::path::Path, lane: &str) -> Result<(), StoreError> {
    let path = folder(data_dir).join(file_name(lane));
    std::fs::remove_file(&path).map_err(|error| StoreError::io("remove", &path, error))
}

fn file_name(lane: &str) -> String {
    format!("{lane}.json")
}

/// A batch and the position after it.
struct Prepared<P> {
    batch: Batch,
    position: P,
}

type Preparing<P> = JoinHandle<Result<Option<Prepared<P>>, StoreError>>;

struct Carrier<L: Lane> {
    link: Arc<Link>,
    /// Used by one blocking call at a time; shared, so that a panic in one does not lose the lane.
    lane: Arc<Mutex<L>>,
    delivery: Delivery,
    positions: Positions<L::Position>,
    stop: watch::Receiver<bool>,
    trouble: Backoff,
    warnings: LogThrottle,
}

impl<L: Lane> Carrier<L> {
    async fn run(mut self) {
        if !self.becomes_ready().await {
            return;
        }
        let mut stop = self.stop.clone();
        let mut next = self.prepare();
        loop {
            let prepared = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                prepared = &mut next => prepared,
            };
            let should_continue = match prepared.unwrap_or_else(panicked) {
                Ok(Some(prepared)) => {
                    next = self.prepare();
                    self.deliver(prepared).await
                }
                nothing => {
                    let should_continue = self.rest(nothing.err()).await;
                    next = self.prepare();
                    should_continue
                }
            };
            if !should_continue {
                break;
            }
        }
        // Awaited because it reads files that the collector is about to close.
        let _unsent = next.await;
        self.positions.save().await;
    }

    /// Waits until the server can be written to; false if stopped first.
    async fn becomes_ready(&mut self) -> bool {
        let mut ready = std::pin::pin!(self.link.ready());
        tokio::select! {
            () = &mut ready => true,
            () = stopped(&mut self.stop) => {
                if self.link.is_being_set_up() {
                    let _token_is_kept = timeout(GRACE, ready).await;
                }
                false
            }
        }
    }

    fn prepare(&mut self) -> Preparing<L::Position> {
        let lane = Arc::clone(&self.lane);
        let saved = self.positions.saved.take();
        spawn_blocking(move || {
            let mut lane = lane.lock();
            if let Some(position) = saved {
                lane.acknowledged(position);
            }
            let Some(batch) = lane.next(UnixNanos::now())? else {
                return Ok(None);
            };
            let position = lane.position();
            Ok(Some(Prepared { batch, position }))
        })
    }

    /// Delivers a batch until it is settled; false if stopped first.
    async fn deliver(&mut self, prepared: Prepared<L::Position>) -> bool {
        let Prepared { batch, position } = prepared;
        let mut settle =
            std::pin::pin!(self.delivery.settle(Bytes::from(batch.lines), batch.points));
        let done = tokio::select! {
            biased;
            () = &mut settle => true,
            () = stopped(&mut self.stop) => {
                let standing = self.link.client.reachability().standing();
                let reachable = standing.reachable == Some(true);
                reachable && timeout(GRACE, settle).await.is_ok()
            }
        };
        if done {
            self.link.counts.spans.add(batch.spans);
            self.link.counts.log_records.add(batch.log_records);
            self.trouble.reset();
            self.positions.acknowledge(position).await;
        }
        done
    }

    /// Waits before polling the lane again; false if stopped first.
    async fn rest(&mut self, error: Option<StoreError>) -> bool {
        let pause = match error {
            Some(error) => {
                if self.warnings.is_due() {
                    let lane = L::NAME;
                    tracing::warn!(%error, lane, "could not read the journal for InfluxDB; trying again");
                }
                self.trouble.next(None)
            }
            None => IDLE,
        };
        self.positions.save_if_due().await;
        tokio::select! {
            () = stopped(&mut self.stop) => false,
            () = sleep(pause) => true,
        }
    }
}

fn panicked<P>(error: tokio::task::JoinError) -> Result<Option<Prepared<P>>, StoreError> {
    Err(StoreError::Damaged {
        path: "the journal".to_owned(),
        what: format!("reading it ended by a panic: {error}"),
    })
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A dropped sender means that the owner is gone, so stop.
    let _sender_gone = stop.wait_for(|stop| *stop).await;
}

/// Positions of a lane: acknowledged, then saved, then reported to the lane.
struct Positions<P> {
    path: std::path::PathBuf,
    /// Saved before the position: a restart must not reassign the tags that were written.
    names: Arc<Names>,
    /// Acknowledged, not saved yet.
    acknowledged: Option<P>,
    saved_at: Option<Instant>,
    warnings: LogThrottle,
    /// Saved, not reported to the lane yet.
    saved: Option<P>,
}

impl<P: Serialize + Clone> Positions<P> {
    fn new(path: std::path::PathBuf, names: Arc<Names>) -> Self {
        Self {
            path,
            names,
            acknowledged: None,
            saved_at: None,
            warnings: LogThrottle::default(),
            saved: None,
        }
    }

    async fn acknowledge(&mut self, position: P) {
        self.acknowledged = Some(position);
        self.save_if_due().await;
    }

    async fn save_if_due(&mut self) {
        if self.saved_at.is_none_or(|at| at.elapsed() >= SAVE_EVERY) {
            self.save().await;
        }
    }

    /// Saves the position. A failure is logged and retried: it only costs sending lines again.
    async fn save(&mut self) {
        let Some(position) = self.acknowledged.take() else {
            return;
        };
        self.saved_at = Some(Instant::now());
        let path = self.path.clone();
        let text = serde_json::to_vec(&position).expect("maps with string keys are JSON");
        let names = Arc::clone(&self.names);
        let write = move || {
            names.save(UnixNanos::now())?;
            durable::write(&path, &text)
        };
        match spawn_blocking(write).await {
            Ok(Ok(())) => self.saved = Some(position),
            Ok(Err(error)) => {
                if self.warnings.is_due() {
                    tracing::warn!(%error, "could not save a shipping position");
                }
                self.acknowledged = Some(position);
            }
            Err(_) => self.acknowledged = Some(position),
        }
    }
}
