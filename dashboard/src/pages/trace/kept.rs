//! A kept trace, as pages show it.

use fusebox_collector::query::{KeptTrace, NOTE_CHARS_MAX};

use crate::pages::view::href::Href;
use crate::pages::view::{moment, text};

#[derive(Debug)]
pub(crate) struct KeptRow {
    pub(crate) id: String,
    pub(crate) href: String,
    pub(crate) service: String,
    pub(crate) operation: String,
    pub(crate) spans: String,
    /// When the request began, as HTML.
    pub(crate) start: String,
    pub(crate) note: String,
    pub(crate) by: String,
    /// Since when it is kept, as HTML.
    pub(crate) kept: String,
}

impl KeptRow {
    pub(crate) fn new(kept: &KeptTrace, now: u64) -> Self {
        Self {
            id: text::name(&kept.trace_id).into_owned(),
            href: Href::new("/traces").segment(&kept.trace_id).to_string(),
            service: text::name(&kept.service).into_owned(),
            operation: text::name(&kept.operation).into_owned(),
            spans: text::count(kept.spans as u64),
            start: moment::short(kept.start.get(), now),
            note: text::shown(&kept.note, NOTE_CHARS_MAX).into_owned(),
            by: text::shown(&kept.by, NOTE_CHARS_MAX).into_owned(),
            kept: moment::short(kept.kept.get(), now),
        }
    }
}
