//! Sets a server up: creates the database or bucket with the retention; on 2.x also the organisation and, if
//! requested, the first user.
//!
//! Nothing here deletes data. Errors say what is missing and what to do.

mod admin;
mod bucket;
mod database;
#[cfg(feature = "influxdb2")]
mod with_crate;

use std::path::Path;
use std::time::Duration;

use super::client::Client;
use super::server::Generation;
use crate::store::StoreError;
use crate::store::influxdb::folder;

/// File of the token from onboarding, in our folder of the data directory.
const TOKEN_FILE: &str = "token";
/// The user created by onboarding.
const USER: &str = "fusebox";
/// The shortest retention that InfluxDB accepts.
const RETENTION_MIN: Duration = Duration::from_secs(3600);

/// Why a server cannot be written to yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// It does not answer, or a file cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "InfluxDB at {url} wants a token and none is set: make one that may read and write the bucket {bucket:?} and \
         set it (or a file that holds it)"
    )]
    NoToken { url: String, bucket: String },
    #[error(
        "InfluxDB at {url} does not know the token ({said}): set one of its own; a token file is read again by itself"
    )]
    TokenRefused { url: String, said: String },
    /// An InfluxDB 2 without users.
    #[error(
        "InfluxDB at {url} was never set up: run `influx setup` (or its page) and set the token it gives, or start \
         with --influxdb-onboard and no token: it is then set up from here"
    )]
    NotSetUp { url: String },
    /// Onboarding of an InfluxDB 2 failed.
    #[error(
        "InfluxDB at {url} could not be set up ({said}): run `influx setup` and set the token it gives; if it says that \
         this is done, `influxd recovery auth create-operator --org {org} --username {user}` makes a token"
    )]
    Onboarding {
        url: String,
        org: String,
        user: &'static str,
        said: String,
    },
    #[error(
        "InfluxDB at {url} has no organisation {org:?} that the token may see or make ({said}): create it with \
         `influx org create -n {org}`, or set the name of the one that the token belongs to"
    )]
    NoOrganisation {
        url: String,
        org: String,
        said: String,
    },
    #[error(
        "InfluxDB at {url} has no bucket {bucket:?} that the token may see or make ({said}): create it with \
         `influx bucket create -o {org} -n {bucket} -r {seconds}s`, or set a token that may create buckets"
    )]
    NoBucket {
        url: String,
        org: String,
        bucket: String,
        seconds: u64,
        said: String,
    },
    #[error(
        "InfluxDB at {url} could not make the database {database:?} ({said}): make it with `CREATE DATABASE \
         {database:?} WITH DURATION {seconds}s` and let the user read and write it"
    )]
    NoDatabase {
        url: String,
        database: String,
        seconds: u64,
        said: String,
    },
    #[error("InfluxDB at {url} did not {action}: {said}")]
    Answer {
        url: String,
        action: &'static str,
        said: String,
    },
}

/// Ensures that the database or bucket exists and keeps points for `retention`.
///
/// # Errors
/// When the server cannot be reached or denies it; the message says what to do.
pub(crate) async fn ensure(
    client: &Client,
    retention: Duration,
    data_dir: &Path,
) -> Result<(), SetupError> {
    let retention = Retention::of(retention);
    if client.options().token.is_none() {
        client.offer_token_file(token_file(data_dir));
    }
    // Even if a token is in use: it may have been corrected since the server rejected it.
    let read = take_token(client, data_dir).await;
    if client.token().is_none() {
        read?;
    }
    match client.generation().await? {
        Generation::V1 | Generation::OpenGemini => database::ensure(client, retention).await,
        Generation::V2 => bucket::ensure(client, retention, &token_file(data_dir)).await,
        // It creates databases on write; their retention is changed only with its own tool.
        Generation::V3 => Ok(()),
    }
}

fn token_file(data_dir: &Path) -> std::path::PathBuf {
    folder(data_dir).join(TOKEN_FILE)
}

/// Reads the token file. The file from onboarding may be missing, a configured one must exist.
async fn take_token(client: &Client, data_dir: &Path) -> Result<(), SetupError> {
    let named = client.options().token_file.is_some();
    match client.reload_token().await {
        Err(_) if !named && !token_file(data_dir).exists() => Ok(()),
        read => Ok(read.map(drop)?),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Retention {
    seconds: u64,
}

impl Retention {
    fn of(retention: Duration) -> Self {
        let seconds = retention.max(RETENTION_MIN).as_secs();
        // Parts of 2.x use 32-bit seconds.
        let seconds = seconds.min(i32::MAX as u64);
        Self { seconds }
    }

    fn rule(self) -> serde_json::Value {
        serde_json::json!({
            "type": "expire",
            "everySeconds": self.seconds,
            "shardGroupDurationSeconds": self.shard_seconds(),
        })
    }

    /// Returns the duration of a shard group, which is deleted as a whole; InfluxDB's default for that
    /// retention.
    fn shard_seconds(self) -> u64 {
        const DAY: u64 = 24 * 3600;
        match self.seconds {
            seconds if seconds < 2 * DAY => 3600,
            seconds if seconds < 180 * DAY => DAY,
            _ => 7 * DAY,
        }
    }
}

/// Warns that the server has another retention and does not allow changing it; not an error.
fn warn_of_retention(client: &Client, wanted: Retention, said: &str) {
    tracing::warn!(
        url = %client.options().url,
        wanted_seconds = wanted.seconds,
        said,
        "InfluxDB keeps data for another time than the retention, and does not let us change it"
    );
}

fn unknown(client: &Client, action: &'static str, said: &dyn std::fmt::Display) -> SetupError {
    SetupError::Answer {
        url: client.options().url.to_string(),
        action,
        said: said.to_string(),
    }
}
