//! Lenient reading of JSON values: a string may be a number, a number a string, null is absent, and a value
//! that cannot be converted is absent too.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use super::v1::Value;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A value that can be read from any scalar.
pub(super) trait Loose<'de>: Default {
    fn text(text: Cow<'de, str>) -> Self;
    fn whole(number: i128) -> Self;
    fn fraction(number: f64) -> Self;
    fn truth(truth: bool) -> Self;
}

/// Text; a number or boolean gives its JSON form.
#[derive(Debug, Default)]
pub(super) struct Text<'de>(pub(super) Cow<'de, str>);

/// A non-negative integer; 0 if absent.
#[derive(Debug, Default)]
pub(super) struct Number(pub(super) u64);

/// A value in v1.
#[derive(Debug, Default)]
pub(super) struct Typed(pub(super) Value);

impl<'de> Loose<'de> for Typed {
    fn text(text: Cow<'de, str>) -> Self {
        Self(Value::Text(text.into_owned()))
    }
    fn whole(number: i128) -> Self {
        match i64::try_from(number) {
            Ok(number) => Self(Value::Whole(number)),
            Err(_) => Self(Value::Double(number as f64)),
        }
    }
    fn fraction(number: f64) -> Self {
        Self(Value::Double(number))
    }
    fn truth(truth: bool) -> Self {
        Self(Value::Bool(truth))
    }
}

impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor(PhantomData))
    }
}

impl<'de> Loose<'de> for Text<'de> {
    fn text(text: Cow<'de, str>) -> Self {
        Self(text)
    }
    fn whole(number: i128) -> Self {
        Self(number.to_string().into())
    }
    fn fraction(number: f64) -> Self {
        Self(number.to_string().into())
    }
    fn truth(truth: bool) -> Self {
        Self(truth.to_string().into())
    }
}

impl<'de> Loose<'de> for Number {
    fn text(text: Cow<'de, str>) -> Self {
        Self(text.parse().unwrap_or(0))
    }
    fn whole(number: i128) -> Self {
        Self(u64::try_from(number).unwrap_or(0))
    }
    fn fraction(number: f64) -> Self {
        // The cast saturates.
        Self(number as u64)
    }
    fn truth(_truth: bool) -> Self {
        Self(0)
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor(PhantomData))
    }
}

/// Accepts any value.
pub(super) struct LooseVisitor<T>(pub(super) PhantomData<T>);

impl<'de, T: Loose<'de>> Visitor<'de> for LooseVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        Ok(T::truth(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        Ok(T::whole(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        Ok(T::whole(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        Ok(T::fraction(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<T, E> {
        Ok(T::text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        Ok(T::text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<T, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<T, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }
}
