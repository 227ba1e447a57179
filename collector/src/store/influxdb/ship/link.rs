//! The state shared by a collector's lanes: client, server set-up, names, counters and the known-good line.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::outcome::Backoff;
use crate::store::influxdb::figures::Counts;
use crate::store::influxdb::names::{self, Names};
use crate::store::influxdb::wire::client::Client;
use crate::store::influxdb::wire::setup::{self, SetupError};
use crate::sync::Mutex;

/// The set-up's name among the lanes.
const SETUP: &str = "setup";

/// State shared by the lanes to one server.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Arc<Client>,
    pub(crate) names: Arc<Names>,
    pub(crate) counts: Arc<Counts>,
    /// Directory of positions and of the token from onboarding.
    pub(crate) data_dir: PathBuf,
    retention: Duration,
    /// Whether the set-up is done; held during it, so that other lanes wait.
    ready: tokio::sync::Mutex<bool>,
    /// The shortest line that the server has accepted.
    known_good_line: Mutex<Option<Bytes>>,
}

impl Link {
    /// Makes a link without contacting the server. `retention` is how long the server should keep points.
    pub(crate) fn new(
        client: Arc<Client>,
        names: Arc<Names>,
        data_dir: PathBuf,
        retention: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            names,
            counts: Arc::default(),
            data_dir,
            retention,
            ready: tokio::sync::Mutex::new(false),
            known_good_line: Mutex::default(),
        })
    }

    /// Waits, without a timeout, until the server is set up and its names are loaded.
    pub(crate) async fn ready(&self) {
        let mut backoff = Backoff::default();
        while let Err(error) = self.ready_once().await {
            self.client.reachability().failing(SETUP, &error, true);
            sleep(backoff.next(None)).await;
        }
    }

    async fn ready_once(&self) -> Result<(), SetupError> {
        let mut ready = self.ready.lock().await;
        if !*ready {
            self.ensure().await?;
            names::learn_names(&self.client, &self.names).await?;
            self.client.reachability().ok(SETUP);
            *ready = true;
        }
        Ok(())
    }

    /// Returns whether a set-up is running: cancelling the first one would lose its token.
    pub(crate) fn is_being_set_up(&self) -> bool {
        self.ready.try_lock().is_err()
    }

    /// Runs the set-up again: the bucket is gone, or the server is another one.
    pub(crate) async fn set_up_again(&self) -> Result<(), SetupError> {
        let _one_lane_at_a_time = self.ready.lock().await;
        self.ensure().await
    }

    async fn ensure(&self) -> Result<(), SetupError> {
        self.client.ping().await?;
        setup::ensure(&self.client, self.retention, &self.data_dir).await
    }

    /// Remembers an accepted line if it is shorter than the current one.
    pub(crate) fn remember_accepted(&self, line: &[u8]) {
        let mut shortest = self.known_good_line.lock();
        if shortest
            .as_ref()
            .is_none_or(|known| line.len() < known.len())
        {
            *shortest = Some(Bytes::copy_from_slice(line));
        }
    }

    /// Returns a line that the server has accepted; writing it again changes nothing.
    pub(crate) fn known_good_line(&self) -> Option<Bytes> {
        self.known_good_line.lock().clone()
    }
}
