//! One attribute column of the open block: the values of one key and type, in row order.

use super::super::dictionary::Dictionary;
use super::super::limits::{
    DICTIONARY_TRIAL_VALUES, DICTIONARY_VALUE_BYTES_MAX, DICTIONARY_VALUES_MAX,
};
use super::Blobs;
use super::schema::ColumnKind;
use crate::codec::otlp::ValueView;
use crate::store::hash::Seed;

/// The meaning of an attribute to the store itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    None,
    CircuitName,
    CircuitState,
    CircuitOutcome,
    CircuitFallback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    Taken,
    /// Stored, and the column's dictionary grew.
    TakenNew,
    /// The value belongs to another column.
    Refused,
}

#[derive(Debug)]
pub(super) struct Column {
    /// The key's bytes, stored here so that checking a guess touches no other memory.
    pub(super) name: Box<[u8]>,
    pub(super) key: u32,
    pub(super) role: Role,
    /// Whether text may be offered here by guess: to the dictionary column until the key turns literal, to
    /// the literal column from then on.
    pub(super) open: bool,
    pub(super) data: ColumnData,
}

#[derive(Debug)]
pub(super) enum ColumnData {
    /// Text with repeating values.
    Dictionary(Box<DictionaryColumn>),
    /// Text whose values rarely repeat.
    Literal(Blobs),
    Int(Vec<i64>),
    Double(Vec<f64>),
    Bool(Vec<bool>),
    /// Encoded `AnyValue`s.
    Encoded(Blobs),
    Empty(usize),
}

#[derive(Debug)]
pub(super) struct DictionaryColumn {
    /// Every value of the segment.
    pub(super) dictionary: Dictionary,
    /// Value number per row.
    pub(super) ids: Vec<u32>,
    /// Values offered since the last evaluation.
    seen: u32,
    /// New values among them.
    new: u32,
}

impl Column {
    pub(super) fn new(name: &[u8], key: u32, role: Role, kind: ColumnKind, seed: Seed) -> Self {
        let data = match kind {
            ColumnKind::Dictionary => ColumnData::Dictionary(Box::new(DictionaryColumn {
                dictionary: Dictionary::new(seed),
                ids: Vec::new(),
                seen: 0,
                new: 0,
            })),
            ColumnKind::Literal => ColumnData::Literal(Blobs::default()),
            ColumnKind::Int => ColumnData::Int(Vec::new()),
            ColumnKind::Double => ColumnData::Double(Vec::new()),
            ColumnKind::Bool => ColumnData::Bool(Vec::new()),
            ColumnKind::Encoded => ColumnData::Encoded(Blobs::default()),
            ColumnKind::Empty => ColumnData::Empty(0),
        };
        Self {
            name: name.into(),
            key,
            role,
            open: true,
            data,
        }
    }

    /// Takes a value if its type fits and the key's text is stored this way.
    #[inline]
    pub(super) fn offer(&mut self, value: ValueView<'_>) -> Offer {
        match (&mut self.data, value) {
            (ColumnData::Dictionary(column), ValueView::String(text)) if self.open => {
                return column.offer(text.as_bytes());
            }
            (ColumnData::Literal(column), ValueView::String(text)) if self.open => {
                column.push(text.as_bytes());
            }
            (ColumnData::Int(column), ValueView::Int(value)) => column.push(value),
            (ColumnData::Double(column), ValueView::Double(value)) => column.push(value),
            (ColumnData::Bool(column), ValueView::Bool(value)) => column.push(value),
            (ColumnData::Encoded(column), ValueView::Encoded(bytes)) => column.push(bytes),
            (ColumnData::Empty(count), ValueView::Empty) => *count += 1,
            _ => return Offer::Refused,
        }
        Offer::Taken
    }

    /// Removes the newest value.
    pub(super) fn pop(&mut self) {
        match &mut self.data {
            ColumnData::Dictionary(column) => {
                column.ids.pop();
            }
            ColumnData::Literal(column) | ColumnData::Encoded(column) => column.pop(),
            ColumnData::Int(column) => {
                column.pop();
            }
            ColumnData::Double(column) => {
                column.pop();
            }
            ColumnData::Bool(column) => {
                column.pop();
            }
            ColumnData::Empty(count) => *count -= 1,
        }
    }

    /// Removes the block's values, keeps the dictionary.
    pub(super) fn clear(&mut self) {
        match &mut self.data {
            ColumnData::Dictionary(column) => {
                column.ids.clear();
                column.dictionary.mark_flushed();
            }
            ColumnData::Literal(column) | ColumnData::Encoded(column) => column.clear(),
            ColumnData::Int(column) => column.clear(),
            ColumnData::Double(column) => column.clear(),
            ColumnData::Bool(column) => column.clear(),
            ColumnData::Empty(count) => *count = 0,
        }
    }

    /// Releases the memory of values, after `clear`.
    pub(super) fn release_memory(&mut self) {
        match &mut self.data {
            ColumnData::Dictionary(column) => column.ids = Vec::new(),
            ColumnData::Literal(column) | ColumnData::Encoded(column) => *column = Blobs::default(),
            ColumnData::Int(column) => *column = Vec::new(),
            ColumnData::Double(column) => *column = Vec::new(),
            ColumnData::Bool(column) => *column = Vec::new(),
            ColumnData::Empty(_) => {}
        }
    }

    /// Decides at the end of a block whether the column's text repeats too rarely for a dictionary.
    pub(super) fn should_turn_literal(&mut self) -> bool {
        let ColumnData::Dictionary(column) = &mut self.data else {
            return false;
        };
        if !self.open || column.seen < DICTIONARY_TRIAL_VALUES {
            return false;
        }
        let verdict = column.new > column.seen / 3;
        (column.seen, column.new) = (0, 0);
        verdict
    }
}

impl DictionaryColumn {
    /// Takes a text unless it is too long, or new while the dictionary must not grow.
    #[inline]
    fn offer(&mut self, text: &[u8]) -> Offer {
        if text.len() > DICTIONARY_VALUE_BYTES_MAX {
            return Offer::Refused;
        }
        self.seen += 1;
        let room = self.dictionary.list().len() < DICTIONARY_VALUES_MAX;
        match self.dictionary.intern_if(text, room) {
            Some((id, new)) => {
                self.ids.push(id);
                self.new += u32::from(new);
                if new { Offer::TakenNew } else { Offer::Taken }
            }
            None => Offer::Refused,
        }
    }
}
