//! Collects names in a text, to warn a sender whose message has no usable data.

use super::super::schema::Message;

/// Names shown in a warning, and bytes of each: enough to recognise the mistake.
const SHOWN_MAX: usize = 8;
const NAME_BYTES_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Keys {
    top: Vec<String>,
    /// Below it, and not in the schema.
    unknown: Vec<String>,
    /// Whether the request's own field is present.
    has_known: bool,
}

impl Keys {
    /// Adds a name at the top level, or one that is not in the schema.
    pub(super) fn add(&mut self, name: &str, is_known: bool, is_top: bool) {
        let names = if is_top {
            &mut self.top
        } else {
            &mut self.unknown
        };
        self.has_known |= is_top && is_known;
        let name = crate::model::cut(name, NAME_BYTES_MAX);
        if names.len() < SHOWN_MAX && !names.iter().any(|other| other == name) {
            names.push(name.to_owned());
        }
    }

    /// Explains why a text has no items; `None` if it was not meant to have any.
    pub(super) fn explain(&self, request: &Message, is_empty: bool) -> Option<String> {
        let field = request.first_name();
        if self.top.is_empty() {
            return None;
        }
        if !self.has_known {
            return Some(format!(
                "no {field} found; keys seen: {}",
                self.top.join(", ")
            ));
        }
        if !self.unknown.is_empty() {
            let unknown = self.unknown.join(", ");
            return Some(format!(
                "nothing found in {field}; keys that are not read: {unknown}"
            ));
        }
        (!is_empty).then(|| format!("nothing found in {field}"))
    }
}
