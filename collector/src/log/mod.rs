//! What spans and circuit series have in common on disk.

mod position;

pub(crate) use position::{Offset, Position};
