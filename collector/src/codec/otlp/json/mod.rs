//! Converts OTLP/JSON to OTLP protobuf in one pass, without building either message.
//!
//! The specified form is: ids in hex, enums as integers, 64-bit numbers as strings or numbers, bytes in
//! base64, names in lowerCamelCase. Common deviations are accepted: snake_case names, names of enums, ids in
//! base64 or as UUIDs, times in RFC 3339, fields of earlier versions, numbers as strings and strings as numbers,
//! plain objects and lists as values, several documents in a row.
//! Unknown names are ignored, null counts as absent, and a value that its field cannot hold is left out and
//! counted. Lists and objects nested deeper than `serde_json` reads (127) are left out as well.

mod keys;
mod scalar;
mod transcode;

use serde::de::DeserializeSeed;

use super::DecodeError;
use super::repairs::Repairs;
use super::schema::{self, Message};
use crate::codec::json_text;
use transcode::{MessageSeed, Sink};

/// Converts an `ExportTraceServiceRequest` to protobuf.
///
/// # Errors
/// `DecodeError::Json`, with line and column, if the text is not a JSON object.
pub fn traces_to_protobuf(json: &[u8]) -> Result<(Vec<u8>, Repairs), DecodeError> {
    transcode(json, &schema::TRACES_REQUEST)
}

/// Converts an `ExportMetricsServiceRequest` to protobuf.
///
/// # Errors
/// As [`traces_to_protobuf`].
pub fn metrics_to_protobuf(json: &[u8]) -> Result<(Vec<u8>, Repairs), DecodeError> {
    transcode(json, &schema::METRICS_REQUEST)
}

/// Converts an `ExportLogsServiceRequest` to protobuf.
///
/// # Errors
/// As [`traces_to_protobuf`].
pub fn logs_to_protobuf(json: &[u8]) -> Result<(Vec<u8>, Repairs), DecodeError> {
    transcode(json, &schema::LOGS_REQUEST)
}

/// Converts an answer of ours to protobuf.
///
/// # Errors
/// As [`traces_to_protobuf`].
pub(crate) fn answer_to_protobuf(
    json: &[u8],
    form: &'static Message,
) -> Result<Vec<u8>, DecodeError> {
    let (sink, _) = json_text::read(json, |json| documents(json, form))?;
    Ok(sink.out)
}

fn transcode(json: &[u8], request: &'static Message) -> Result<(Vec<u8>, Repairs), DecodeError> {
    let (sink, replaced) = json_text::read(json, |json| documents(json, request))?;
    let empty = match sink.items {
        0 => sink.keys.explain(request, sink.out.is_empty()),
        _ => None,
    };
    let repairs = Repairs {
        replaced,
        left_out: sink.left_out,
        empty,
    };
    Ok((sink.out, repairs))
}

/// Reads consecutive documents, as in a file of JSON lines. Their requests are concatenated to one, which
/// protobuf allows for repeated fields.
fn documents(json: &[u8], request: &'static Message) -> serde_json::Result<Sink> {
    let mut sink = Sink::with_capacity(json.len() / 2);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    loop {
        MessageSeed::new(request, &mut sink).deserialize(&mut deserializer)?;
        if deserializer.end().is_ok() {
            return Ok(sink);
        }
    }
}
