//! One attribute column of the open block: the values of one key and one type, in the order of the rows.

use super::super::dictionary::Dictionary;
use super::super::limits::{
    DICTIONARY_TRIAL_VALUES, DICTIONARY_VALUE_BYTES_MAX, DICTIONARY_VALUES_MAX,
};
use super::Blobs;
use super::schema::ColumnKind;
use crate::codec::otlp::ValueView;
use crate::store::hash::Seed;

/// What an attribute means to the store itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing.
    None,
    /// The breaker that a span went through.
    CircuitName,
    /// Its state.
    CircuitState,
    /// How the call ended.
    CircuitOutcome,
    /// How the fallback ended.
    CircuitFallback,
}

/// What came of offering a value to a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// It is stored.
    Taken,
    /// It is stored, and the column's dictionary grew.
    TakenNew,
    /// It belongs to another column.
    Refused,
}

/// A column of the open block.
#[derive(Debug)]
pub(super) struct Column {
    /// The key's bytes, beside the values so that a guess is checked without a detour.
    pub(super) name: Box<[u8]>,
    /// The key's number.
    pub(super) key: u32,
    /// What its values mean to the store.
    pub(super) role: Role,
    /// Whether text may come here by guess: the dictionary column until its key turned literal, the literal
    /// column from then on.
    pub(super) open: bool,
    /// The values.
    pub(super) data: ColumnData,
}

/// The values.
#[derive(Debug)]
pub(super) enum ColumnData {
    /// Text that repeats.
    Dictionary(Box<DictionaryColumn>),
    /// Text that does not.
    Literal(Blobs),
    /// Whole numbers.
    Int(Vec<i64>),
    /// Floating-point numbers.
    Double(Vec<f64>),
    /// Booleans.
    Bool(Vec<bool>),
    /// Encoded `AnyValue`s.
    Encoded(Blobs),
    /// Nothing; counts rows.
    Empty(usize),
}

/// Text that repeats.
#[derive(Debug)]
pub(super) struct DictionaryColumn {
    /// Every value of the segment.
    pub(super) dictionary: Dictionary,
    /// Per occurrence: which.
    pub(super) ids: Vec<u32>,
    /// Values offered since the last judgement.
    seen: u32,
    /// Those that were new.
    new: u32,
}

impl Column {
    /// Makes an empty column.
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

    /// Takes a value if it belongs here by type and by what the key's text is stored as.
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

    /// Takes the newest value back.
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

    /// Forgets the values of the block and keeps the dictionary.
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

    /// Gives back the memory of values, once they are forgotten.
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

    /// Judges at the end of a block whether the column's text repeats too little for a dictionary.
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
    /// Takes a text, unless it is new and the dictionary may not grow, or it is too long.
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
