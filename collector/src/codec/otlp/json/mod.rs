//! OTLP/JSON to OTLP protobuf, in one pass and without building either message.
//!
//! The rules are those of the OTLP specification: ids are hex in any case, enums are whole numbers, 64-bit
//! numbers come as strings or numbers, bytes are base64, names are lowerCamelCase, unknown names are ignored,
//! what is absent or null has its default. Values may nest as deep as `serde_json` allows, 128 levels of JSON.

mod scalar;
mod schema;
mod transcode;

use serde::de::DeserializeSeed;

use super::DecodeError;
use schema::Message;
use transcode::MessageSeed;

/// Returns an `ExportTraceServiceRequest` as protobuf.
///
/// # Errors
/// `DecodeError::Json`, with line and column, where the text is no such message.
pub fn traces_to_protobuf(json: &[u8]) -> Result<Vec<u8>, DecodeError> {
    transcode(json, &schema::TRACES_REQUEST)
}

/// Returns an `ExportMetricsServiceRequest` as protobuf.
///
/// # Errors
/// As [`traces_to_protobuf`].
pub fn metrics_to_protobuf(json: &[u8]) -> Result<Vec<u8>, DecodeError> {
    transcode(json, &schema::METRICS_REQUEST)
}

/// Returns an `ExportLogsServiceRequest` as protobuf.
///
/// # Errors
/// As [`traces_to_protobuf`].
pub fn logs_to_protobuf(json: &[u8]) -> Result<Vec<u8>, DecodeError> {
    transcode(json, &schema::LOGS_REQUEST)
}

fn transcode(json: &[u8], message: &'static Message) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::with_capacity(json.len() / 2);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    MessageSeed::new(message, &mut out)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| DecodeError::Json(error.to_string()))?;
    Ok(out)
}
