//! Why a request could not be read.

/// Why a request could not be read at all; nothing of it is stored and the sender gets 400 / INVALID_ARGUMENT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not that protobuf message.
    #[error("malformed protobuf at byte {offset}: {what}")]
    Protobuf {
        /// Where.
        offset: usize,
        /// What was wrong.
        what: &'static str,
    },
    /// The bytes are no spans in thrift.
    #[error("malformed thrift at byte {offset}: {what}")]
    Thrift {
        /// Where.
        offset: usize,
        /// What was wrong.
        what: &'static str,
    },
    /// The text is not that JSON message.
    #[error("malformed JSON: {0}")]
    Json(String),
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}
