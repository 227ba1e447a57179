//! Which zones, or blocks, of a segment may have a matching span.

use super::super::place_filter::EVERYWHERE;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    Nothing,
    Everything,
    /// The flagged ones, and none beyond.
    Some(Vec<bool>),
}

impl Reach {
    pub(crate) fn all_or_nothing(is_all: bool) -> Self {
        match is_all {
            true => Self::Everything,
            false => Self::Nothing,
        }
    }

    /// Returns what is flagged, given a flag for each zone.
    pub(crate) fn of_all(flags: Vec<bool>) -> Self {
        match flags.contains(&false) {
            true => Self::of(flags),
            false => Self::Everything,
        }
    }

    pub(crate) fn of(flags: Vec<bool>) -> Self {
        match flags.contains(&true) {
            true => Self::Some(flags),
            false => Self::Nothing,
        }
    }

    /// Returns the zones with those numbers, which may be `EVERYWHERE`.
    pub(super) fn of_zones(zones: &[u8]) -> Self {
        if zones.contains(&EVERYWHERE) {
            return Self::Everything;
        }
        let length = zones.iter().max().map_or(0, |last| usize::from(*last) + 1);
        let mut flags = vec![false; length];
        zones
            .iter()
            .for_each(|zone| flags[usize::from(*zone)] = true);
        Self::of(flags)
    }

    pub(crate) fn includes(&self, number: usize) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Some(flags) => flags.get(number) == Some(&true),
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::Nothing) => Self::Nothing,
            (Self::Everything, other) | (other, Self::Everything) => other,
            (Self::Some(some), Self::Some(others)) => {
                let both = some
                    .into_iter()
                    .zip(others)
                    .map(|(one, other)| one && other);
                Self::of(both.collect())
            }
        }
    }

    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Everything, _) | (_, Self::Everything) => Self::Everything,
            (Self::Nothing, other) | (other, Self::Nothing) => other,
            (Self::Some(mut some), Self::Some(others)) => {
                some.resize(some.len().max(others.len()), false);
                let others = others.into_iter().chain(std::iter::repeat(false));
                some.iter_mut()
                    .zip(others)
                    .for_each(|(one, other)| *one |= other);
                Self::Some(some)
            }
        }
    }

    /// Expands flags of zones to their blocks, given how many each has.
    pub(crate) fn by_block(self, blocks: impl Iterator<Item = u32>) -> Self {
        let Self::Some(zones) = self else {
            return self;
        };
        let flags = zones.into_iter().chain(std::iter::repeat(false));
        let flags = blocks.zip(flags);
        Self::of(
            flags
                .flat_map(|(blocks, may)| std::iter::repeat_n(may, blocks as usize))
                .collect(),
        )
    }
}
