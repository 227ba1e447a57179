//! Streaming readers for objects and lists of Zipkin JSON: each entry is passed on at once. Null and values
//! of an unexpected type are absent.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::loose::Text;

pub(super) trait Fields {
    /// Reads the value of a field from `map`, or skips it.
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;
}

/// Scalars are absent where an object or a list is expected.
macro_rules! scalars_are_absent {
    () => {
        fn visit_unit<E: Error>(self) -> Result<(), E> {
            Ok(())
        }
        fn visit_bool<E: Error>(self, _value: bool) -> Result<(), E> {
            Ok(())
        }
        fn visit_i64<E: Error>(self, _value: i64) -> Result<(), E> {
            Ok(())
        }
        fn visit_u64<E: Error>(self, _value: u64) -> Result<(), E> {
            Ok(())
        }
        fn visit_f64<E: Error>(self, _value: f64) -> Result<(), E> {
            Ok(())
        }
        fn visit_str<E: Error>(self, _value: &str) -> Result<(), E> {
            Ok(())
        }
    };
}

pub(super) struct Object<'f, F>(pub(super) &'f mut F);

impl<'de, F: Fields> DeserializeSeed<'de> for Object<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: Fields> Visitor<'de> for Object<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    scalars_are_absent!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = map.next_key()? {
            self.0.field(&name, &mut map)?;
        }
        Ok(())
    }
}

/// Reads a list of objects and passes each to the function.
pub(super) struct ListOf<T, S>(S, PhantomData<T>);

impl<T: Fields + Default, S: FnMut(T)> ListOf<T, S> {
    pub(super) fn new(each: S) -> Self {
        Self(each, PhantomData)
    }
}

impl<'de, T: Fields + Default, S: FnMut(T)> DeserializeSeed<'de> for ListOf<T, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Fields + Default, S: FnMut(T)> Visitor<'de> for ListOf<T, S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of objects")
    }

    scalars_are_absent!();

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        loop {
            let mut item = T::default();
            if list.next_element_seed(Object(&mut item))?.is_none() {
                return Ok(());
            }
            (self.0)(item);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Reads an object of texts and passes each name and value to the function.
pub(super) struct Entries<S>(pub(super) S);

impl<'de, S: FnMut(&str, &str)> DeserializeSeed<'de> for Entries<S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: FnMut(&str, &str)> Visitor<'de> for Entries<S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of texts")
    }

    scalars_are_absent!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((Text(name), Text(value))) = map.next_entry()? {
            (self.0)(&name, &value);
        }
        Ok(())
    }
}
