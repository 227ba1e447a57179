//! Where the rows of a segment are when it is sealed: in the blocks that were committed, or in fewer, joined ones.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::block::BlockMeta;
use super::state::SegmentState;
use super::zones::Zone;

#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub(crate) blocks: Arc<Vec<BlockMeta>>,
    /// The number in `blocks` of each committed block; `None` if these stayed as they are.
    joined: Option<Vec<u32>>,
}

impl Layout {
    /// Returns the layout of a segment whose blocks stay.
    pub(crate) fn of(state: &SegmentState) -> Self {
        Self {
            blocks: Arc::clone(&state.blocks),
            joined: None,
        }
    }

    /// Returns the layout of joined blocks, each with the number of committed ones in it.
    pub(crate) fn joined(blocks: Vec<(BlockMeta, u32)>) -> Self {
        let numbers = (0..).zip(&blocks);
        let numbers =
            numbers.flat_map(|(number, (_, count))| std::iter::repeat_n(number, *count as usize));
        Self {
            joined: Some(numbers.collect()),
            blocks: Arc::new(blocks.into_iter().map(|(meta, _)| meta).collect()),
        }
    }

    /// Translates numbers of committed blocks, in ascending order.
    pub(super) fn translate(&self, mut numbers: Vec<u32>) -> Vec<u32> {
        if let Some(joined) = &self.joined {
            numbers
                .iter_mut()
                .for_each(|number| *number = joined[*number as usize]);
            numbers.dedup();
        }
        numbers
    }

    /// Returns the zones with the numbers of their blocks. No block is joined with one of another zone.
    pub(super) fn zones<'a>(&self, zones: &'a [Zone]) -> Cow<'a, [Zone]> {
        let Some(joined) = &self.joined else {
            return Cow::Borrowed(zones);
        };
        let mut zones = zones.to_vec();
        let mut rest = &joined[..];
        for zone in &mut zones {
            let (here, later) = rest.split_at(rest.len().min(zone.blocks as usize));
            zone.blocks = here.chunk_by(|a, b| a == b).count() as u32;
            rest = later;
        }
        Cow::Owned(zones)
    }
}
