//! Invariants for any metrics or logs in protobuf: the fuzz targets of `messages` and of the circuits in
//! them.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
};

use super::messages::{self, Request};
use crate::codec::circuits::{Mapping, decode_logs, decode_metrics};

/// Reads the bytes as metrics.
///
/// # Panics
/// When a request cannot be decoded after replacing text that is not UTF-8.
pub(crate) fn metrics(bytes: &[u8]) {
    if let Some(request) = read::<ExportMetricsServiceRequest>(bytes) {
        decode_metrics(&request, &Mapping::shipped());
    }
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
    let decoded = messages::decode::<R>(bytes).ok();
    decoded.or_else(|| {
        let (repaired, replaced) = messages::repaired::<R>(bytes)?;
        assert!(replaced > 0 && repaired.len() <= 3 * bytes.len());
        messages::decode::<R>(&repaired).ok()
    })
}
