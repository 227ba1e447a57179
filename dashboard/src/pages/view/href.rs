//! Builds links. Every part from outside is percent-encoded, so it cannot change the structure of a link.

use std::fmt;

use opentelemetry::TraceId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use fusebox_collector::model::CircuitKey;

/// All but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A link within the site: a path and its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Href(String);

impl Href {
    /// Begins a link with a path of ours.
    pub(crate) fn new(path: &'static str) -> Self {
        Self(path.to_owned())
    }

    /// Returns the page of a circuit.
    pub(crate) fn circuit(key: &CircuitKey) -> Self {
        Self::new("/circuits")
            .segment(&key.service)
            .segment(&key.name)
    }

    /// Returns the page of a trace.
    pub(crate) fn trace(id: TraceId) -> Self {
        Self::new("/traces").segment(&id.to_string())
    }

    /// Returns the page of an instance.
    pub(crate) fn instance(service: &str, id: &str) -> Self {
        Self::new("/instances").segment(service).segment(id)
    }

    /// Returns the page of a service.
    pub(crate) fn service(name: &str) -> Self {
        Self::new("/services").segment(name)
    }

    /// Appends a path segment.
    pub(crate) fn segment(mut self, text: &str) -> Self {
        self.0.push('/');
        self.0.extend(utf8_percent_encode(text, ENCODED));
        self
    }

    /// Appends a query parameter.
    pub(crate) fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.extend(utf8_percent_encode(key, ENCODED));
        self.0.push('=');
        self.0
            .extend(utf8_percent_encode(&value.to_string(), ENCODED));
        self
    }

    /// Appends a query parameter that has a value.
    pub(crate) fn with_some(self, key: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Appends the parameters of a query that was built as a link.
    pub(crate) fn and(mut self, query: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(query);
        self
    }

    /// Appends a fragment.
    pub(crate) fn at(mut self, fragment: &str) -> Self {
        self.0.push('#');
        self.0.extend(utf8_percent_encode(fragment, ENCODED));
        self
    }

    /// Returns its query without the question mark.
    pub(crate) fn query(&self) -> &str {
        self.0.split_once('?').map_or("", |(_, query)| query)
    }
}

impl fmt::Display for Href {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place() {
        let key = CircuitKey {
            service: "a/b?c".to_owned(),
            name: "javascript:alert(1)".to_owned(),
        };
        let href = Href::circuit(&key).with("q", "x&y=\"z\"").at("é");
        assert_eq!(
            href.to_string(),
            "/circuits/a%2Fb%3Fc/javascript%3Aalert%281%29?q=x%26y%3D%22z%22#%C3%A9"
        );
    }
}
