//! The log records as configured: of this collector alone, or of it and InfluxDB. What is certainly complete here is answered
//! from here; older records, and all of them where other collectors write to the same InfluxDB, are read from both.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{LogCursor, LogPage, LogQuery, MINUTE, UnixNanos};
use crate::store::influxdb::Peers;
use crate::store::influxdb::logs::InfluxLogs;
use crate::store::logs::{LogStats, LogStore, Newest};
use crate::store::{LogReader, MissingPart, ShipProgress, StoreError, search};

/// A record that says a time that long after local records are complete is here: senders' clocks may differ.
const CLOCK_SKEW: Duration = MINUTE;
/// Of the time of a search, what is left to InfluxDB if this collector's own records are many.
const REMOTE_TIME: Duration = Duration::from_secs(4);

/// Reads the log records; cheap to clone.
#[derive(Debug, Clone)]
pub struct Logs {
    local: LogStore,
    /// `None` without an InfluxDB.
    remote: Option<Remote>,
}

/// The InfluxDB to which the log is shipped.
#[derive(Debug, Clone)]
struct Remote {
    followed: Arc<ShipProgress>,
    logs: InfluxLogs,
    peers: Arc<Peers>,
}

impl From<LogStore> for Logs {
    fn from(local: LogStore) -> Self {
        let remote = None;
        Self { local, remote }
    }
}

impl Logs {
    /// Returns a reader of both.
    pub(crate) fn merged(
        local: LogStore,
        followed: Arc<ShipProgress>,
        logs: InfluxLogs,
        peers: Arc<Peers>,
    ) -> Self {
        let remote = Some(Remote {
            followed,
            logs,
            peers,
        });
        Self { local, remote }
    }

    /// Returns how much is here.
    pub fn stats(&self) -> LogStats {
        self.local.stats()
    }
}

impl LogReader for Logs {
    async fn search(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        let Some(remote) = &self.remote else {
            return self.local.search(query).await;
        };
        let deadline = search::deadline();
        let local = self
            .local
            .search_until(query.clone(), deadline - REMOTE_TIME);
        let local = local.await?;
        // After the search: what retention took before it is known to be gone.
        let whole_since = remote.whole_since().await;
        if whole_since.is_some_and(|since| is_whole(&local, &query, since)) {
            return Ok(local);
        }
        match remote.ask(&query, deadline).await {
            Ok(found) => join(local, found, &query),
            Err(error) => {
                let part = whole_since.map_or(MissingPart::OfOthers, MissingPart::OlderThan);
                let missing = remote.peers.missing(error, part).to_string();
                Ok(LogPage {
                    missing: Some(missing),
                    ended_early: false,
                    ..local
                })
            }
        }
    }
}

impl Remote {
    /// Returns since when local records are complete; `None` if other collectors may have some.
    async fn whole_since(&self) -> Option<UnixNanos> {
        if self.peers.others().await.has_others {
            return None;
        }
        match self.followed.local_since() {
            0 => Some(UnixNanos::new(0)),
            since => Some(UnixNanos::new(since) + CLOCK_SKEW),
        }
    }

    /// Asks InfluxDB, unless it is known to be unreachable.
    async fn ask(&self, query: &LogQuery, deadline: Instant) -> Result<LogPage, StoreError> {
        if self.peers.others().await.is_away {
            return Err(self.peers.away());
        }
        let answer = self.logs.search_until(query, deadline).await;
        if let Err(error @ StoreError::Remote { .. }) = &answer {
            self.peers.failed(error);
        }
        answer
    }
}

/// Returns whether a page of local records is the whole answer, where all that say a time from `since` on are here.
fn is_whole(page: &LogPage, query: &LogQuery, since: UnixNanos) -> bool {
    let oldest = match page.next {
        Some(next) => next.time,
        None => query.range.start,
    };
    oldest >= since
}

/// Makes one page of what two stores found; a record that is in both is there once, as `local` has it.
fn join(local: LogPage, remote: LogPage, query: &LogQuery) -> Result<LogPage, StoreError> {
    let key = |cursor: LogCursor| (cursor.time, cursor.id);
    // Before that, one of them has not looked.
    let reached = [local.next, remote.next]
        .into_iter()
        .flatten()
        .max_by_key(|next| key(*next));
    let ended_early = local.ended_early || remote.ended_early;
    let missing = local.missing.or(remote.missing);
    let mut newest = Newest::new(query);
    for record in local.records.into_iter().chain(remote.records) {
        newest.offer(record)?;
    }
    let mut page = newest.page(None);
    if let Some(reached) = reached {
        page.records
            .retain(|record| (record.time, record.id) >= key(reached));
    }
    page.next = page
        .next
        .into_iter()
        .chain(reached)
        .max_by_key(|next| key(*next));
    Ok(LogPage {
        missing,
        ended_early,
        ..page
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TimeRange;
    use crate::store::logs::tests::record;

    fn page(seconds: &[u64], next: Option<u64>) -> LogPage {
        let made = |second: &u64| crate::model::LogRecord {
            id: *second,
            ..record(1, "shop", *second, "text")
        };
        LogPage {
            records: seconds.iter().map(made).collect(),
            next: next.map(|second| LogCursor {
                time: record(1, "shop", second, "").time,
                id: second,
            }),
            ..LogPage::default()
        }
    }

    fn joined(local: LogPage, remote: LogPage, limit: usize) -> (Vec<u64>, Option<u64>) {
        let query = LogQuery {
            limit,
            ..LogQuery::in_range(TimeRange::ALL)
        };
        let page = join(local, remote, &query).unwrap();
        let ids = page.records.iter().map(|record| record.id).collect();
        (ids, page.next.map(|next| next.id))
    }

    #[test]
    fn two_pages_are_one_as_far_back_as_both_looked() {
        // One of them holds everything.
        let one = joined(page(&[9, 5], None), page(&[7, 5, 2], None), 10);
        assert_eq!(one, (vec![9, 7, 5, 2], None));
        // More than fits: the next page begins behind the last that does.
        let full = joined(page(&[9, 5], None), page(&[7, 5, 2], None), 3);
        assert_eq!(full, (vec![9, 7, 5], Some(5)));
        // What is behind 5 the local store may have more of.
        let short = joined(page(&[9, 5], Some(5)), page(&[7, 2], None), 10);
        assert_eq!(short, (vec![9, 7, 5], Some(5)));
        let both = joined(page(&[9, 5], Some(5)), page(&[8, 7], Some(7)), 10);
        assert_eq!(both, (vec![9, 8, 7], Some(7)));
    }
}
