//! Lends the lists of a segment. Short ones are lent whole and cached; of a longer one, which may be as large as what
//! senders put into one commit, a reader gets the values that it needs, and a search sees one value after the other.
//!
//! A footer keeps a list as one stream, so picking from it reads it once.

use std::sync::Arc;

use super::super::dictionary::ValueList;
use super::super::limits::{LIST_ENTRIES_MAX, LIST_WHOLE_BYTES_MAX};
use super::super::lists::{Lent, List, Lists, Picked};
use super::footer::SectionKind;
use super::{OpenSegment, SealedSegment, Segment};
use crate::store::StoreError;
use crate::store::cancel;

/// Bytes of an open segment's list that a search copies at a time: its writer waits as long.
const COPIED_BYTES: usize = 256 << 10;

impl SealedSegment {
    /// Returns a list if it is short.
    fn whole(&self, list: List) -> Result<Option<Arc<ValueList>>, StoreError> {
        let List::Values(column) = list else {
            return Ok(self.schema_section()?.texts.get(&list).cloned());
        };
        if self.footer.raw_bytes(SectionKind::Values, column) > LIST_WHOLE_BYTES_MAX {
            return Ok(None);
        }
        let values = self.section(SectionKind::Values, column, |raw| {
            let mut values = ValueList::default();
            values.absorb(raw)?;
            let memory = values.memory();
            Some((values, memory))
        });
        values.map(Some)
    }

    /// Reads a list from the file and shows its values in order, until `visit` returns false.
    fn stream(
        &self,
        list: List,
        mut visit: impl FnMut(u32, &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let (kind, column) = match list {
            List::Values(column) => (SectionKind::Values, column),
            _ => (SectionKind::Schema, 0),
        };
        self.stream_section(kind, column, |section| {
            if kind == SectionKind::Schema {
                for _ in List::TEXTS.iter().take_while(|before| **before != list) {
                    let length = section.varint()?;
                    section.skip(length)?;
                }
                section.varint()?;
            }
            let (first, count) = (section.varint()?, section.varint()?);
            if first != 0 || count > LIST_ENTRIES_MAX as u64 {
                return None;
            }
            let mut value = Vec::new();
            for number in 0..count as u32 {
                let length = usize::try_from(section.varint()?).ok()?;
                section.take_into(length, &mut value)?;
                match cancel::spend(length).and_then(|()| visit(number, &value)) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => return Some(Err(error)),
                }
            }
            Some(Ok(()))
        })
    }
}

impl OpenSegment {
    /// Shows the values of a list in order, until `visit` returns false; the state is locked only while some are copied.
    fn each(
        &self,
        list: List,
        mut visit: impl FnMut(u32, &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut next = 0;
        loop {
            let copied = self.state().lists.get(list).copy(next, COPIED_BYTES);
            if copied.len() == 0 {
                return Ok(());
            }
            for value in copied.iter() {
                cancel::spend(value.len())?;
                if !visit(next, value)? {
                    return Ok(());
                }
                next += 1;
            }
        }
    }
}

impl Segment {
    /// Returns a list if it is short.
    fn whole(&self, list: List) -> Result<Option<Arc<ValueList>>, StoreError> {
        match self {
            Self::Open(segment) => {
                let values = Arc::clone(segment.state().lists.get(list));
                Ok((values.memory() <= LIST_WHOLE_BYTES_MAX).then_some(values))
            }
            Self::Sealed(segment) => segment.whole(list),
        }
    }

    /// Shows the values of a list in order, until `visit` returns false.
    pub(crate) fn each(
        &self,
        list: List,
        mut visit: impl FnMut(u32, &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let Some(values) = self.whole(list)? else {
            return match self {
                Self::Open(segment) => segment.each(list, visit),
                Self::Sealed(segment) => segment.stream(list, visit),
            };
        };
        for (number, value) in (0..).zip(values.iter()) {
            cancel::spend(value.len())?;
            if !visit(number, value)? {
                break;
            }
        }
        Ok(())
    }

    /// Finds the number of a value.
    pub(crate) fn find(&self, list: List, wanted: &[u8]) -> Result<Option<u32>, StoreError> {
        if let Some(values) = self.whole(list)? {
            return Ok(values.find(wanted));
        }
        let mut found = None;
        self.each(list, |number, value| {
            found = (value == wanted).then_some(number);
            Ok(found.is_none())
        })?;
        Ok(found)
    }

    /// Returns, for each value of a list, whether it passes.
    pub(crate) fn passing(
        &self,
        list: List,
        passes: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<bool>, StoreError> {
        let mut passing = Vec::new();
        self.each(list, |_, value| {
            passing.push(passes(value));
            Ok(true)
        })?;
        Ok(passing)
    }

    /// Picks values of a list, whose numbers ascend.
    fn pick(&self, list: List, numbers: &[u32]) -> Result<Lent, StoreError> {
        let mut picked = Picked::default();
        match self {
            Self::Open(segment) => {
                let state = segment.state();
                let values = state.lists.get(list);
                for &number in numbers {
                    picked.push(number, values.get(number));
                }
            }
            Self::Sealed(segment) => {
                let mut wanted = numbers.iter().copied().peekable();
                segment.stream(list, |number, value| {
                    if wanted.next_if_eq(&number).is_some() {
                        picked.push(number, value);
                    }
                    Ok(wanted.peek().is_some())
                })?;
            }
        }
        Ok(Lent::Picked(Arc::new(picked)))
    }
}

impl Lists for Segment {
    fn lend(&self, list: List, numbers: &[u64]) -> Result<Lent, StoreError> {
        match self.whole(list)? {
            Some(values) => Ok(Lent::Whole(values)),
            None => self.pick(list, &distinct(numbers)),
        }
    }
}

fn distinct(numbers: &[u64]) -> Vec<u32> {
    let mut distinct: Vec<u32> = numbers.iter().map(|&number| number as u32).collect();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}

#[cfg(test)]
mod tests {
    use super::super::super::SpanLog;
    use super::super::super::tests::support::{open_store, span, write};
    use super::*;

    /// *Guarantees*: values of a long list are found by number and by text, sealed or not, those of one that is short too.
    #[test]
    fn long_lists_are_lent_by_number_and_searched() {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut writers, _) = open_store(dir.path(), 1);
        let named = (0..200u64).map(|number| {
            let mut span = span(number + 1, 1, "shop");
            span.name = format!("step {number:03}");
            span
        });
        write(&mut writers[0], &named.collect::<Vec<_>>());
        writers[0].commit().unwrap();
        let assert_lent = |segment: &Segment| {
            assert!(segment.whole(List::Names).unwrap().is_none());
            let names = segment.lend(List::Names, &[199, 3, 7, 3]).unwrap();
            let texts = [3, 7, 199].map(|number| names.text(number).to_owned());
            assert_eq!(texts, ["step 003", "step 007", "step 199"]);
            assert_eq!(names.text(4), "");
            assert_eq!(segment.find(List::Names, b"step 042").unwrap(), Some(42));
            assert_eq!(segment.find(List::Names, b"step").unwrap(), None);
            let ends_in_9 = |name: &[u8]| name.ends_with(b"9");
            let passing = segment.passing(List::Names, ends_in_9).unwrap();
            assert_eq!(
                (passing.len(), passing[19], passing[20]),
                (200, true, false)
            );
            assert_eq!(segment.find(List::Resources, b"").unwrap(), None);
        };
        assert_lent(&store.catalog.snapshot()[0]);
        writers[0].seal().unwrap();
        assert_lent(&store.catalog.snapshot()[0]);
    }
}
