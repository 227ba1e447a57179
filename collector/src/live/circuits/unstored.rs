//! Records that could not be stored, kept for the next attempt: the board has applied their reports, so a sender that
//! repeats one would be acknowledged without a record of it.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use crate::store::StoreError;
use crate::store::series::{SeriesLog, SeriesRecord};
use crate::sync::Mutex;

/// Records kept at most, some 300 bytes each.
const RECORDS_MAX: usize = 50_000;

#[derive(Debug, Default)]
pub(super) struct Unstored(Arc<Mutex<VecDeque<SeriesRecord>>>);

impl Unstored {
    /// Appends records after those that could not be stored before, even if the caller stops waiting.
    ///
    /// # Errors
    /// When the disk fails; the records are kept for the next time.
    pub(super) async fn append(
        &self,
        log: &SeriesLog,
        records: Vec<SeriesRecord>,
    ) -> Result<(), StoreError> {
        let mut all = Vec::from(std::mem::take(&mut *self.0.lock()));
        all.extend(records);
        if all.is_empty() {
            return Ok(());
        }
        let (log, kept) = (log.clone(), Arc::clone(&self.0));
        let appending = tokio::spawn(async move {
            let stored = log.append(all.clone()).await;
            if stored.is_err() {
                keep(&mut kept.lock(), all);
            }
            stored
        });
        let stopped =
            |error| StoreError::io("append to", Path::new("series"), io::Error::other(error));
        appending.await.map_err(stopped)?
    }
}

/// Keeps records for the next attempt: before those that were kept meanwhile, the oldest are left out.
fn keep(kept: &mut VecDeque<SeriesRecord>, records: Vec<SeriesRecord>) {
    for record in records.into_iter().rev() {
        kept.push_front(record);
    }
    let over = kept.len().saturating_sub(RECORDS_MAX);
    if over > 0 {
        kept.drain(..over);
        warn!(
            records = over,
            "circuit records are lost: the disk fails for too long"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixNanos;
    use crate::store::series::AddressRecord;

    fn record(second: u64) -> SeriesRecord {
        SeriesRecord::Address(AddressRecord {
            address: String::new(),
            service: String::new(),
            since: UnixNanos::default(),
            seen: UnixNanos::new(second),
        })
    }

    #[test]
    fn the_latest_records_are_kept_in_their_order() {
        let mut kept = VecDeque::from([record(7)]);
        keep(&mut kept, vec![record(5), record(6)]);
        assert_eq!(kept, [5, 6, 7].map(record));
        keep(&mut kept, (0..RECORDS_MAX as u64).map(record).collect());
        assert_eq!(kept.len(), RECORDS_MAX);
        assert_eq!(kept.back(), Some(&record(7)));
        assert_eq!(kept.front(), Some(&record(3)));
    }
}
