//! Invariants for any metrics or logs in protobuf: the fuzz targets of `messages` and of the circuits in
//! them.

use super::messages::{logs_bytes, repaired_metrics};
use crate::codec::circuits::{Mapping, decode_metrics, read_events};
use crate::codec::otlp::{Limits, read_logs};
use crate::model::UnixNanos;

/// Reads the bytes as metrics, like a receiver: a second time with repaired text if needed.
///
/// # Panics
/// When the repaired text is longer than it may be.
pub(crate) fn metrics(bytes: &[u8]) {
    let mapping = Mapping::shipped();
    if decode_metrics(bytes, &mapping).is_err()
        && let Some((repaired, replaced)) = repaired_metrics(bytes)
    {
        assert!(replaced > 0 && repaired.len() <= 3 * bytes.len());
        let _ = decode_metrics(&repaired, &mapping);
    }
}

/// Reads the bytes as logs.
///
/// # Panics
/// When records take more memory than is estimated.
pub(crate) fn logs(bytes: &[u8]) {
    let Ok(estimated) = logs_bytes(bytes) else {
        return;
    };
    if let Ok(read) = read_logs(bytes, &Limits::default(), UnixNanos::new(1)) {
        let records = read.records.iter().chain(&read.events);
        let taken: usize = records.map(crate::model::LogRecord::own_bytes).sum();
        assert!(taken <= estimated, "{taken} bytes of {estimated}");
        read_events(&read.events);
    }
}
