//! Splits attribute lists into columns: keys, columns and shapes of the open segment, values of the open
//! block.
//!
//! Senders repeat themselves: a prefix of attributes is nearly always followed by the same key. Each shape
//! remembers what followed last (`hot`), so that most attributes cost one comparison of the key and one push.

use std::collections::HashMap;

use super::super::dictionary::Dictionary;
use super::super::limits::{COLUMNS_MAX, SHAPES_MAX};
use super::column::{Column, ColumnData, Offer, Role};
use super::schema::{ColumnDef, ColumnKind, ShapeDef};
use crate::codec::otlp::{AttributeView, ValueView};
use crate::store::hash::Seed;
use fusebox::semconv::{BREAKER_NAME, BREAKER_OUTCOME, BREAKER_STATE, FALLBACK_OUTCOME};

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Key {
    columns: [u32; ColumnKind::COUNT],
    /// Whether its text is stored literally.
    literal: bool,
}

/// An undo log for rolled back requests, newest last.
#[derive(Debug, Clone, Copy)]
enum Undo {
    Key,
    Column,
    Shape,
    Value { column: u32 },
}

#[derive(Debug)]
pub(super) struct AttributeColumns {
    seed: Seed,
    pub(super) keys: Dictionary,
    key_states: Vec<Key>,
    pub(super) columns: Vec<Column>,
    pub(super) column_defs: Vec<ColumnDef>,
    pub(super) columns_flushed: usize,
    /// Shape `n` is at index `n - 1`.
    pub(super) shape_defs: Vec<ShapeDef>,
    pub(super) shapes_flushed: usize,
    /// Per shape, including the empty one: the longer shape that followed last.
    hot: Vec<u32>,
    /// Longer shapes by shape and column.
    children: HashMap<u64, u32, Seed>,
    journal: Vec<Undo>,
    pub(super) dictionary_bytes: usize,
    /// Texts that met a full dictionary since the last block.
    pub(super) refused_values: u64,
}

impl AttributeColumns {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            seed,
            keys: Dictionary::new(seed),
            key_states: Vec::new(),
            columns: Vec::new(),
            column_defs: Vec::new(),
            columns_flushed: 0,
            shape_defs: Vec::new(),
            shapes_flushed: 0,
            hot: vec![NONE],
            children: HashMap::with_hasher(seed),
            journal: Vec::new(),
            dictionary_bytes: 0,
            refused_values: 0,
        }
    }

    /// Stores a span's attributes and returns their shape; `None` if a limit prevents it.
    #[inline]
    pub(super) fn shred<'a>(
        &mut self,
        attributes: &[AttributeView<'a>],
        mut note: impl FnMut(Role, ValueView<'a>),
    ) -> Option<u32> {
        let mut shape = 0;
        for attribute in attributes {
            let Some(next) = self.push(shape, attribute) else {
                self.take_back(shape);
                return None;
            };
            shape = next;
            let role = self.columns[self.shape_defs[shape as usize - 1].column as usize].role;
            if role != Role::None {
                note(role, attribute.value);
            }
        }
        Some(shape)
    }

    pub(super) fn take_back(&mut self, mut shape: u32) {
        while shape != 0 {
            let def = self.shape_defs[shape as usize - 1];
            self.columns[def.column as usize].pop();
            shape = def.parent;
        }
    }

    /// Returns a point for `rollback`, which requires that the rows since are removed first.
    pub(super) fn checkpoint(&self) -> usize {
        self.journal.len()
    }

    /// Removes keys, columns, shapes and values added since the checkpoint.
    pub(super) fn rollback(&mut self, checkpoint: usize) {
        while self.journal.len() > checkpoint {
            match self.journal.pop() {
                Some(Undo::Key) => {
                    self.keys.pop();
                    self.key_states.pop();
                }
                Some(Undo::Column) => self.pop_column(),
                Some(Undo::Shape) => self.pop_shape(),
                Some(Undo::Value { column }) => self.pop_value(column),
                None => return,
            }
        }
    }

    /// Ends a block: clears its values and evaluates dictionaries.
    pub(super) fn finish_block(&mut self) {
        for index in 0..self.columns.len() {
            self.columns[index].clear();
            if self.columns[index].should_turn_literal() {
                self.turn_literal(index);
            }
        }
        self.keys.mark_flushed();
        self.columns_flushed = self.column_defs.len();
        self.shapes_flushed = self.shape_defs.len();
        self.journal.clear();
        self.refused_values = 0;
    }

    pub(super) fn release_memory(&mut self) {
        self.columns.iter_mut().for_each(Column::release_memory);
        self.journal = Vec::new();
    }

    /// Stores one value after a shape: by guess, or by looking up the key.
    #[inline]
    fn push(&mut self, shape: u32, attribute: &AttributeView<'_>) -> Option<u32> {
        let guess = self.hot[shape as usize];
        if guess != NONE {
            let id = self.shape_defs[guess as usize - 1].column;
            let column = &mut self.columns[id as usize];
            if *column.name == *attribute.key.as_bytes() {
                match column.offer(attribute.value) {
                    Offer::Taken => return Some(guess),
                    Offer::TakenNew => {
                        self.note_value(id, attribute.value);
                        return Some(guess);
                    }
                    Offer::Refused => {}
                }
            }
        }
        let next = self.push_found(shape, attribute)?;
        self.hot[shape as usize] = next;
        Some(next)
    }

    /// Stores one value in the column of its key and type.
    #[cold]
    fn push_found(&mut self, shape: u32, attribute: &AttributeView<'_>) -> Option<u32> {
        let key = self.key(attribute.key)?;
        let kind = match attribute.value {
            ValueView::String(_) if self.key_states[key as usize].literal => ColumnKind::Literal,
            ValueView::String(_) => ColumnKind::Dictionary,
            ValueView::Int(_) => ColumnKind::Int,
            ValueView::Double(_) => ColumnKind::Double,
            ValueView::Bool(_) => ColumnKind::Bool,
            ValueView::Encoded(_) => ColumnKind::Encoded,
            ValueView::Empty => ColumnKind::Empty,
        };
        let column = self.column(key, kind)?;
        let next = self.child(shape, column)?;
        match self.columns[column as usize].offer(attribute.value) {
            Offer::Taken => Some(next),
            Offer::TakenNew => {
                self.note_value(column, attribute.value);
                Some(next)
            }
            Offer::Refused => self.push_literally(shape, key, attribute.value),
        }
    }

    /// Stores a text that its key's dictionary rejected.
    fn push_literally(&mut self, shape: u32, key: u32, value: ValueView<'_>) -> Option<u32> {
        let column = self.column(key, ColumnKind::Literal)?;
        let next = self.child(shape, column)?;
        if let (ColumnData::Literal(texts), ValueView::String(text)) =
            (&mut self.columns[column as usize].data, value)
        {
            texts.push(text.as_bytes());
            self.refused_values += 1;
        }
        Some(next)
    }

    fn note_value(&mut self, column: u32, value: ValueView<'_>) {
        self.journal.push(Undo::Value { column });
        if let ValueView::String(text) = value {
            self.dictionary_bytes += text.len();
        }
    }

    fn key(&mut self, name: &str) -> Option<u32> {
        let room = self.columns.len() < COLUMNS_MAX;
        let (id, new) = self.keys.intern_if(name.as_bytes(), room)?;
        if new {
            self.key_states.push(Key {
                columns: [NONE; ColumnKind::COUNT],
                literal: false,
            });
            self.dictionary_bytes += name.len();
            self.journal.push(Undo::Key);
        }
        Some(id)
    }

    fn column(&mut self, key: u32, kind: ColumnKind) -> Option<u32> {
        let state = &mut self.key_states[key as usize];
        let found = state.columns[kind as usize];
        if found != NONE {
            return Some(found);
        }
        if self.columns.len() >= COLUMNS_MAX {
            return None;
        }
        let id = self.columns.len() as u32;
        state.columns[kind as usize] = id;
        let name = self.keys.list().get(key);
        let mut column = Column::new(name, key, role(name), kind, self.seed);
        column.open = kind != ColumnKind::Literal || state.literal;
        self.columns.push(column);
        self.column_defs.push(ColumnDef {
            key,
            kind: Some(kind),
        });
        self.journal.push(Undo::Column);
        Some(id)
    }

    /// Finds or adds the shape with one more column.
    fn child(&mut self, shape: u32, column: u32) -> Option<u32> {
        let edge = u64::from(shape) << 32 | u64::from(column);
        if let Some(&child) = self.children.get(&edge) {
            return Some(child);
        }
        if self.shape_defs.len() >= SHAPES_MAX {
            return None;
        }
        self.shape_defs.push(ShapeDef {
            parent: shape,
            column,
        });
        self.hot.push(NONE);
        let child = self.shape_defs.len() as u32;
        self.children.insert(edge, child);
        self.journal.push(Undo::Shape);
        Some(child)
    }

    /// Stores a key's text literally from now on.
    fn turn_literal(&mut self, column: usize) {
        self.columns[column].open = false;
        let key = &mut self.key_states[self.columns[column].key as usize];
        key.literal = true;
        let literal = key.columns[ColumnKind::Literal as usize];
        if literal != NONE {
            self.columns[literal as usize].open = true;
        }
    }

    fn pop_column(&mut self) {
        self.columns.pop();
        if let Some(ColumnDef {
            key,
            kind: Some(kind),
        }) = self.column_defs.pop()
        {
            self.key_states[key as usize].columns[kind as usize] = NONE;
        }
    }

    fn pop_shape(&mut self) {
        let shape = self.shape_defs.len() as u32;
        self.hot.pop();
        if let Some(def) = self.shape_defs.pop() {
            self.children
                .remove(&(u64::from(def.parent) << 32 | u64::from(def.column)));
            let hot = &mut self.hot[def.parent as usize];
            if *hot == shape {
                *hot = NONE;
            }
        }
    }

    fn pop_value(&mut self, column: u32) {
        if let ColumnData::Dictionary(column) = &mut self.columns[column as usize].data {
            let list = column.dictionary.list();
            self.dictionary_bytes -= list.get(list.len() as u32 - 1).len();
            column.dictionary.pop();
        }
    }
}

fn role(name: &[u8]) -> Role {
    match std::str::from_utf8(name) {
        Ok(BREAKER_NAME) => Role::CircuitName,
        Ok(BREAKER_STATE) => Role::CircuitState,
        Ok(BREAKER_OUTCOME) => Role::CircuitOutcome,
        Ok(FALLBACK_OUTCOME) => Role::CircuitFallback,
        _ => Role::None,
    }
}
