//! Errors with the messages of Zipkin's server.

pub(super) use crate::api::refusal::Refusal;

impl Refusal {
    pub(super) fn missing(parameter: &str) -> Self {
        // Tools may look for this text.
        Self::bad(format!(
            "Mandatory parameter/header/attribute is missing: {parameter}"
        ))
    }
}
