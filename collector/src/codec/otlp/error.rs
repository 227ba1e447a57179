//! Why a request could not be decoded.

/// Why a request could not be decoded; nothing of it is stored and the sender gets 400 / INVALID_ARGUMENT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not the expected protobuf message.
    #[error("malformed protobuf at byte {offset}: {what}")]
    Protobuf {
        /// The offset of the fault.
        offset: usize,
        /// The fault.
        what: &'static str,
    },
    /// The bytes are not spans in thrift.
    #[error("malformed thrift at byte {offset}: {what}")]
    Thrift {
        /// The offset of the fault.
        offset: usize,
        /// The fault.
        what: &'static str,
    },
    /// The text is not the expected JSON message.
    #[error("malformed JSON: {0}")]
    Json(String),
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}
