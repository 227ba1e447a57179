//! Errors with the messages of Zipkin's server.

pub(super) use crate::api::refusal::Refusal;

impl Refusal {
    /// Returns the 400 for a missing parameter.
    pub(super) fn missing(parameter: &str) -> Self {
        // Tools may look for this text.
        Self::bad(format!(
            "Mandatory parameter/header/attribute is missing: {parameter}"
        ))
    }
}
