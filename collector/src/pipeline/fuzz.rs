//! Invariants for any metrics or logs in protobuf: the fuzz targets of `messages` and of the circuits in
//! them.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;

use super::messages::{self, Request};
use crate::codec::circuits::{Mapping, MetricsBatch, decode_logs};

/// Reads the bytes as metrics.
///
/// # Panics
/// When a request cannot be decoded after replacing text that is not UTF-8.
pub(crate) fn metrics(bytes: &[u8]) {
    read::<MetricsBatch>(bytes);
}

/// Reads the bytes as logs.
///
/// # Panics
/// As [`metrics`].
pub(crate) fn logs(bytes: &[u8]) {
    if let Some(request) = read::<ExportLogsServiceRequest>(bytes) {
        decode_logs(&request);
    }
}

/// Decodes a request like a receiver: a second time with repaired text if needed.
fn read<R: Request>(bytes: &[u8]) -> Option<R> {
    messages::decoded_bytes::<R>(bytes).ok()?;
    let mapping = Mapping::shipped();
    let decoded = R::read(bytes, &mapping).ok();
    decoded.or_else(|| {
        let (repaired, replaced) = messages::repaired::<R>(bytes)?;
        assert!(replaced > 0 && repaired.len() <= 3 * bytes.len());
        R::read(&repaired, &mapping).ok()
    })
}
