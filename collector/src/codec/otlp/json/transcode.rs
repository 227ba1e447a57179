//! Walks JSON along a schema and writes protobuf as it goes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::write::try_message;
use super::scalar::{self, Mismatch, Scalar};
use super::schema::{Field, Kind, Message};

/// Reads an object and writes the inside of a message.
#[derive(Debug)]
pub(super) struct MessageSeed<'o> {
    message: &'static Message,
    out: &'o mut Vec<u8>,
}

impl<'o> MessageSeed<'o> {
    pub(super) fn new(message: &'static Message, out: &'o mut Vec<u8>) -> Self {
        Self { message, out }
    }

    /// Writes the fields of an object.
    fn write_fields<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(field) = object.next_key_seed(NameSeed(self.message))? {
            match field {
                Some(field) => object.next_value_seed(FieldSeed::new(field, self.out))?,
                None => object.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        self.write_fields(object)
    }
}

/// Reads a name and looks it up; `None` for one that the schema does not have.
struct NameSeed(&'static Message);

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Option<&'static Field>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.0.iter().find(|field| field.name == name))
    }
}

/// Reads a field's value, or an item of it where the field is a list, and writes it with its key.
struct FieldSeed<'o> {
    field: &'static Field,
    /// Whether a list is expected.
    list: bool,
    out: &'o mut Vec<u8>,
}

impl<'o> FieldSeed<'o> {
    fn new(field: &'static Field, out: &'o mut Vec<u8>) -> Self {
        Self {
            field,
            list: field.repeated,
            out,
        }
    }

    fn write<E: Error>(self, value: Scalar<'_>) -> Result<(), E> {
        let field = self.field;
        if self.list {
            return Err(mismatch(field, "a list"));
        }
        scalar::write(field, value, self.out).map_err(|wrong| match wrong {
            Mismatch::Range => E::custom(format_args!("`{}` is out of range", field.name)),
            Mismatch::Type | Mismatch::Form => mismatch(field, scalar::description(field.kind)),
        })
    }
}

/// Says what a field takes, but not what was sent: that may be megabytes.
fn mismatch<E: Error>(field: &Field, expected: &str) -> E {
    E::custom(format_args!("`{}` must be {expected}", field.name))
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = if self.list {
            "a list"
        } else {
            scalar::description(self.field.kind)
        };
        write!(formatter, "{expected} for `{}`", self.field.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        // Null means absent; as an item of a list it must keep its place, which only a message can.
        if self.list || !self.field.repeated {
            return Ok(());
        }
        match self.field.kind {
            Kind::Nested(_) => try_message(self.out, self.field.number, |_| Ok(())),
            kind => Err(mismatch(self.field, scalar::description(kind))),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.write(Scalar::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.write(Scalar::Whole(i128::from(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.write(Scalar::Whole(i128::from(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.write(Scalar::Fraction(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.write(Scalar::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !self.list {
            return Err(mismatch(self.field, scalar::description(self.field.kind)));
        }
        while let Some(()) = list.next_element_seed(FieldSeed {
            field: self.field,
            list: false,
            out: self.out,
        })? {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        match self.field.kind {
            Kind::Nested(message) if !self.list => {
                try_message(self.out, self.field.number, |out| {
                    MessageSeed::new(message, out).write_fields(object)
                })
            }
            _ if self.list => Err(mismatch(self.field, "a list")),
            kind => Err(mismatch(self.field, scalar::description(kind))),
        }
    }
}
