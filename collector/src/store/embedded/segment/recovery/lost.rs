//! Replaces values lost with a damaged block that later blocks refer to: they are read as `(lost)`, and the
//! spans that lack one are counted.

use super::super::super::block::{BlockReader, PartKind};
use super::super::super::lists::List;
use super::super::state::SegmentState;
use crate::store::StoreError;

/// Adds `(lost)` for the numbers in a block that no intact block defines; returns how many of its spans lack
/// their name, their service or an attribute.
pub(super) fn fill(
    state: &mut SegmentState,
    reader: &BlockReader<'_>,
    names: &[u32],
    resources: &[u32],
) -> Result<u64, StoreError> {
    let mut lacks = vec![false; names.len()];
    for (list, numbers) in [(List::Names, names), (List::Resources, resources)] {
        state.fill_up(list, numbers.iter().copied().max());
        let texts = state.lists.get(list);
        for (lacks, &number) in lacks.iter_mut().zip(numbers) {
            *lacks |= texts.get(number) == list.lost();
        }
    }
    let shapes = reader.row_numbers(PartKind::Shapes)?;
    if state.schema.shapes_with(&shapes, &[]).is_empty() {
        // A shape is lost, so no attribute of the block can be assigned to its row.
        return Ok(shapes.len() as u64);
    }
    let parts = reader.header.parts.iter();
    for part in parts.filter(|part| part.kind == PartKind::DictionaryIds) {
        fill_values(state, reader, part.column, &shapes, &mut lacks)?;
    }
    Ok(lacks.iter().filter(|lacks| **lacks).count() as u64)
}

/// As `fill`, for the values of one column, which are in the order of the rows whose shape includes it.
fn fill_values(
    state: &mut SegmentState,
    reader: &BlockReader<'_>,
    column: u32,
    shapes: &[u64],
    lacks: &mut [bool],
) -> Result<(), StoreError> {
    let numbers = reader.numbers(PartKind::DictionaryIds, column)?;
    let numbers: Vec<u32> = numbers.into_iter().map(|number| number as u32).collect();
    let list = List::Values(column);
    state.fill_up(list, numbers.iter().copied().max());
    let texts = state.lists.get(list);
    let occurrences = state.schema.shapes_with(shapes, &[column]);
    let mut numbers = numbers.into_iter();
    for (lacks, &shape) in lacks.iter_mut().zip(shapes) {
        let occurrences = occurrences.get(shape as usize).copied().unwrap_or_default();
        let mut of_row = numbers.by_ref().take(usize::from(occurrences));
        *lacks |= of_row.any(|number| texts.get(number) == list.lost());
    }
    Ok(())
}
