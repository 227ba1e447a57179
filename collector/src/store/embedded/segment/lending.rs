//! Lends the lists of a segment to readers. Short lists are lent whole and cached. A long list may be as
//! large as one commit of a sender, so a reader gets only the values that it needs, and a search visits one
//! value at a time.
//!
//! A footer stores a list as one stream, and picking values reads all of it. So a reader of many blocks first
//! collects the numbers needed by all of them (`LongLists`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::block::attributes::names_of;
use super::super::dictionary::ValueList;
use super::super::limits::{
    LIST_ENTRIES_MAX, LIST_WHOLE_BYTES_MAX, PICKED_BYTES_MAX, PICKED_BYTES_OF_NAMES,
};
use super::super::lists::{Lent, List, Lists, Picked};
use super::footer::SectionKind;
use super::{OpenSegment, SealedSegment, Segment};
use crate::model::cut;
use crate::store::StoreError;
use crate::store::cancel;

/// Bytes of an open segment's list that a search copies at a time; its writer is blocked meanwhile.
const COPIED_BYTES: usize = 256 << 10;
/// Length to which the name of a span is cut if it does not fit.
const NAME_BYTES_CUT: usize = 64;

impl SealedSegment {
    /// Returns the list if it is short.
    fn whole(&self, list: List) -> Result<Option<Arc<ValueList>>, StoreError> {
        let column = match list {
            List::Names | List::Resources | List::Scopes => {
                return Ok(self.schema_section()?.texts.get(&list).cloned());
            }
            List::Services | List::Marks => {
                return Ok(self.services()?.lists.get(&list).cloned());
            }
            List::Values(column) => column,
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

    fn has_long_lists(&self) -> Result<bool, StoreError> {
        let has_long_values = self.footer.longest(SectionKind::Values) > LIST_WHOLE_BYTES_MAX;
        Ok(has_long_values || self.schema_section()?.texts.len() < List::TEXTS.len())
    }

    /// Streams a list from the file and visits its values in order. Stops when `visit` returns false.
    fn stream(
        &self,
        list: List,
        mut visit: impl FnMut(u32, &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let (kind, column, lists) = match list {
            List::Values(column) => (SectionKind::Values, column, &[][..]),
            List::Services | List::Marks => (SectionKind::Services, 0, &List::OF_SERVICES[..]),
            _ => (SectionKind::Schema, 0, &List::TEXTS[..]),
        };
        self.stream_section(kind, column, |section| {
            for _ in lists.iter().take_while(|before| **before != list) {
                let length = section.varint()?;
                section.skip(length)?;
            }
            if !lists.is_empty() {
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
    /// Visits the values of a list in order; the state is locked only while a batch is copied. Stops when
    /// `visit` returns false.
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
    /// Returns the list if it is short.
    fn whole(&self, list: List) -> Result<Option<Arc<ValueList>>, StoreError> {
        match self {
            Self::Open(segment) => {
                let values = Arc::clone(segment.state().lists.get(list));
                Ok((values.memory() <= LIST_WHOLE_BYTES_MAX).then_some(values))
            }
            Self::Sealed(segment) => segment.whole(list),
        }
    }

    /// Visits the values of a list in order. Stops when `visit` returns false.
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

    /// Picks values of a list while they fit; `numbers` ascend.
    fn pick(&self, list: List, numbers: &[u32], room: &mut Room) -> Result<Lent, StoreError> {
        let mut picked = Picked::default();
        match self {
            Self::Open(segment) => {
                let state = segment.state();
                let values = state.lists.get(list);
                for &number in numbers {
                    room.put(list, number, values.get(number), &mut picked);
                }
            }
            Self::Sealed(segment) => {
                let mut wanted = numbers.iter().copied().peekable();
                segment.stream(list, |number, value| {
                    if wanted.next_if_eq(&number).is_some() {
                        room.put(list, number, value, &mut picked);
                    }
                    Ok(wanted.peek().is_some())
                })?;
            }
        }
        Ok(Lent::Picked(Arc::new(picked)))
    }
}

/// Lends every requested value whole: rows that are copied or shipped must be complete.
impl Lists for Segment {
    fn lend(&self, list: List, numbers: &[u64]) -> Result<Lent, StoreError> {
        match self.whole(list)? {
            Some(values) => Ok(Lent::Whole(values)),
            None => self.pick(list, &distinct(numbers), &mut Room::unbounded()),
        }
    }
}

/// Remaining memory for picked values, bytes.
#[derive(Debug, Clone, Copy)]
struct Room(usize);

impl Room {
    fn unbounded() -> Self {
        Self(usize::MAX)
    }

    /// Adds a value. If it does not fit, keeps only its names; if these do not fit either, marks it as
    /// missing.
    fn put(&mut self, list: List, number: u32, value: &[u8], picked: &mut Picked) {
        if self.takes(value.len().saturating_add(PICKED_BYTES_OF_NAMES)) {
            self.0 -= value.len().min(self.0);
            return picked.push(number, value, false);
        }
        let kept = match list {
            List::Values(_) | List::Marks => Vec::new(),
            List::Names | List::Services => {
                let name = std::str::from_utf8(value).unwrap_or_default();
                cut(name, NAME_BYTES_CUT).as_bytes().to_vec()
            }
            List::Resources | List::Scopes => names_of(value),
        };
        let kept = match (self.takes(kept.len()), list) {
            (true, _) => kept,
            (false, List::Resources | List::Scopes) => names_of(&[]),
            (false, _) => Vec::new(),
        };
        self.0 -= kept.len().min(self.0);
        picked.push(number, &kept, kept != value);
    }

    fn takes(&self, bytes: usize) -> bool {
        bytes <= self.0
    }
}

/// The lists of a segment for one reader, within memory limits. If a sealed segment has long lists, the
/// reader runs twice: a first pass notes the numbers that it needs, then each long list is read once, and the
/// second pass gets the values.
#[derive(Debug)]
pub(crate) struct LongLists<'a> {
    segment: &'a Segment,
    room: Cell<Room>,
    noted: RefCell<BTreeMap<List, Vec<u64>>>,
    picked: BTreeMap<List, Lent>,
    is_noting: bool,
}

impl<'a> LongLists<'a> {
    pub(crate) fn new(segment: &'a Segment) -> Result<Self, StoreError> {
        let is_noting = match segment {
            Segment::Open(open) => open.state().lists.longest() > LIST_WHOLE_BYTES_MAX,
            Segment::Sealed(sealed) => sealed.has_long_lists()?,
        };
        Ok(Self {
            segment,
            room: Cell::new(Room(PICKED_BYTES_MAX)),
            noted: RefCell::default(),
            picked: BTreeMap::new(),
            is_noting,
        })
    }

    /// For a reader of one block: values are picked at once, without a first pass.
    pub(crate) fn of_one_block(segment: &'a Segment) -> Self {
        Self {
            segment,
            room: Cell::new(Room(PICKED_BYTES_MAX)),
            noted: RefCell::default(),
            picked: BTreeMap::new(),
            is_noting: false,
        }
    }

    /// Whether this is the first pass, in which lent lists are empty.
    pub(crate) fn is_noting(&self) -> bool {
        self.is_noting
    }

    pub(crate) fn pick(&mut self) -> Result<(), StoreError> {
        let mut room = self.room.get();
        for (list, numbers) in std::mem::take(self.noted.get_mut()) {
            let picked = self.segment.pick(list, &distinct(&numbers), &mut room)?;
            self.picked.insert(list, picked);
        }
        self.is_noting = false;
        Ok(())
    }

    fn note(&self, list: List, numbers: &[u64]) {
        let mut noted = self.noted.borrow_mut();
        let of_list = noted.entry(list).or_default();
        of_list.extend_from_slice(numbers);
        of_list.sort_unstable();
        of_list.dedup();
    }
}

impl Lists for LongLists<'_> {
    fn lend(&self, list: List, numbers: &[u64]) -> Result<Lent, StoreError> {
        if let Some(values) = self.segment.whole(list)? {
            return Ok(Lent::Whole(values));
        }
        if self.is_noting {
            self.note(list, numbers);
            return Ok(Lent::default());
        }
        if let Some(picked) = self.picked.get(&list) {
            return Ok(picked.clone());
        }
        let mut room = self.room.get();
        let picked = self.segment.pick(list, &distinct(numbers), &mut room)?;
        self.room.set(room);
        Ok(picked)
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
    use super::super::super::block::attributes::{StoredScope, encode_scope};
    use super::super::super::tests::support::{open_store, search_all, span, wait, write};
    use super::*;
    use crate::codec::otlp::{AttributeView, ScopeView, ValueView};
    use crate::model::{Condition, SHORTENED, TimeRange, TraceQuery};
    use crate::store::TraceReader;

    fn scope_of(bytes: usize) -> Vec<u8> {
        let value = "x".repeat(bytes);
        let attributes = [AttributeView {
            key: "large",
            value: ValueView::String(&value),
        }];
        let mut encoded = Vec::new();
        encode_scope(
            &mut encoded,
            &ScopeView {
                name: "library",
                version: "1.2",
                attributes: &attributes,
                dropped_attributes_count: 0,
                schema_url: "",
            },
        );
        encoded
    }

    /// *Guarantees*: what does not fit is cut to its names and marked, names are cut last, and the memory
    /// limit is kept.
    #[test]
    fn what_does_not_fit_keeps_its_names() {
        let mut room = Room(PICKED_BYTES_OF_NAMES + 1_000);
        let mut picked = Picked::default();
        room.put(List::Scopes, 1, &scope_of(900), &mut picked);
        room.put(List::Scopes, 4, &scope_of(900), &mut picked);
        let lent = Lent::Picked(Arc::new(picked));
        let keys = [1, 4].map(|number| {
            let stored = StoredScope::decode(lent.get(number));
            assert_eq!(
                (stored.view().name, stored.view().version),
                ("library", "1.2")
            );
            stored.view().attributes[0].key.to_owned()
        });
        assert_eq!(keys, ["large", SHORTENED]);
        assert_eq!((lent.is_cut(1), lent.is_cut(4)), (false, true));
        assert_eq!(lent.get(2), b"");
        let mut names = Picked::default();
        let name = "é".repeat(NAME_BYTES_CUT);
        for number in 0..=(PICKED_BYTES_OF_NAMES / NAME_BYTES_CUT) as u32 {
            room.put(List::Names, number, name.as_bytes(), &mut names);
        }
        let lent = Lent::Picked(Arc::new(names));
        assert_eq!(lent.text(7).chars().count(), NAME_BYTES_CUT / 2);
        let last = (PICKED_BYTES_OF_NAMES / NAME_BYTES_CUT) as u32;
        assert_eq!((lent.text(last), lent.is_cut(last)), ("", true));
        assert!(room.0 < NAME_BYTES_CUT);
    }

    /// *Guarantees*: values of long and short lists are found by number and by text, sealed or not.
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
            assert_eq!((names.text(4), names.is_cut(3)), ("", false));
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

    /// *Guarantees*: services in a long list are listed, searched and named.
    #[test]
    fn services_of_a_long_list_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut writers, _) = open_store(dir.path(), 1);
        let named = |number: u64| format!("service {number:03}");
        let spans = (0..200u64).map(|number| span(number + 1, 1, &named(number)));
        write(&mut writers[0], &spans.collect::<Vec<_>>());
        writers[0].commit().unwrap();
        writers[0].seal().unwrap();
        let segment = store.catalog.snapshot()[0].clone();
        assert!(segment.whole(List::Services).unwrap().is_none());
        let services = wait(store.services(TimeRange::ALL)).unwrap();
        assert_eq!(services.value, (0..200).map(named).collect::<Vec<_>>());
        let operations = wait(store.operations(named(42), TimeRange::ALL)).unwrap();
        assert_eq!(operations.value, [span(1, 1, "shop").name]);
        let query = TraceQuery::in_range(TimeRange::ALL).with([Condition::service(named(42))]);
        let rows = search_all(&store, &query);
        assert_eq!((rows.len(), &rows[0].root_service), (1, &named(42)));
    }
}
