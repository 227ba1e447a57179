//! Errors in the words of Zipkin's server.

pub(super) use crate::api::refusal::Refusal;

impl Refusal {
    /// Returns the 400 for a parameter that must be given.
    pub(super) fn missing(parameter: &str) -> Self {
        // Tools may look for these words.
        Self::bad(format!(
            "Mandatory parameter/header/attribute is missing: {parameter}"
        ))
    }
}
