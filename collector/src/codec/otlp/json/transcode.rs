//! Walks JSON along a schema and writes protobuf on the way. Only invalid JSON is an error: a value that its
//! field cannot hold is left out and counted.

mod plain;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::schema::{Field, Kind, Message};
use super::super::write;
use super::keys::Keys;
use super::scalar::{self, Scalar, Unfit};

/// Nesting depth that is read: `serde_json` rejects a text with more than 127 levels.
const DEPTH_MAX: usize = 120;
/// Begins a text or message that is the first field of a message.
const FIRST_TEXT: u8 = 0x0a;

/// The output, and facts collected on the way.
#[derive(Debug, Default)]
pub(super) struct Sink {
    pub(super) out: Vec<u8>,
    /// Number of values that their field cannot hold.
    pub(super) left_out: u64,
    pub(super) items: u64,
    pub(super) keys: Keys,
    depth: usize,
}

impl Sink {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }
}

/// Reads an object and writes the content of a message.
#[derive(Debug)]
pub(super) struct MessageSeed<'s> {
    message: &'static Message,
    sink: &'s mut Sink,
}

impl<'s> MessageSeed<'s> {
    pub(super) fn new(message: &'static Message, sink: &'s mut Sink) -> Self {
        Self { message, sink }
    }

    fn write_fields<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let Self { message, sink } = self;
        sink.items += u64::from(message.is_item);
        sink.depth += 1;
        let name = |sink: &mut Sink, object: &mut A| {
            let keys = &mut sink.keys;
            let is_top = sink.depth == 1;
            object.next_key_seed(NameSeed {
                message,
                keys,
                is_top,
            })
        };
        while let Some(field) = name(sink, &mut object)? {
            match field {
                Some(field) if sink.depth < DEPTH_MAX => {
                    object.next_value_seed(FieldSeed::new(field, sink))?;
                }
                Some(_) => {
                    sink.left_out += 1;
                    object.next_value::<IgnoredAny>().map(drop)?;
                }
                None => object.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        sink.depth -= 1;
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

/// Reads a name and finds its field; `None` if the schema does not have it.
struct NameSeed<'k> {
    message: &'static Message,
    keys: &'k mut Keys,
    is_top: bool,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Option<&'static Field>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let field = self.message.by_name(name);
        if self.is_top || field.is_none() {
            self.keys.add(name, field.is_some(), self.is_top);
        }
        Ok(field)
    }
}

/// Reads the value of a field, or an item of a list field, and writes it with its key.
struct FieldSeed<'s> {
    field: &'static Field,
    in_list: bool,
    sink: &'s mut Sink,
}

impl<'s> FieldSeed<'s> {
    fn new(field: &'static Field, sink: &'s mut Sink) -> Self {
        Self {
            field,
            in_list: false,
            sink,
        }
    }

    /// Reads an item of a list.
    fn item(field: &'static Field, sink: &'s mut Sink) -> Self {
        Self {
            in_list: true,
            ..Self::new(field, sink)
        }
    }

    fn write<E>(self, value: Scalar<'_>) -> Result<(), E> {
        let Self { field, sink, .. } = self;
        let written = match field.kind {
            Kind::Nested(message) => nested_scalar(field, message, value, &mut sink.out),
            _ => scalar::write(field, value, &mut sink.out),
        };
        sink.left_out += u64::from(written == Err(Unfit));
        Ok(())
    }
}

/// Writes a value without the object that states its type, as some senders do: `"value": "text"`.
fn nested_scalar(
    field: &'static Field,
    message: &'static Message,
    value: Scalar<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Unfit> {
    let name = match value {
        Scalar::Text(_) => "stringValue",
        Scalar::Bool(_) => "boolValue",
        Scalar::Whole(_) => "intValue",
        Scalar::Fraction(_) => "doubleValue",
    };
    let inner = message.by_name(name).ok_or(Unfit)?;
    let start = write::begin(out, field.number);
    let written = scalar::write(inner, value, out);
    write::end(out, start);
    written
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
        write!(formatter, "a value of `{}`", self.field.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        // Null means absent; as an item of a list it must keep its place, which only a message can.
        if !self.in_list {
            return Ok(());
        }
        match self.field.kind {
            Kind::Nested(_) => write::message(&mut self.sink.out, self.field.number, |_| ()),
            _ => self.sink.left_out += 1,
        }
        Ok(())
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
        let Self { field, sink, .. } = self;
        let is_inner = !field.repeated || self.in_list;
        if let Kind::Nested(message) = field.kind
            && is_inner
            && message.is_value
            && sink.depth < DEPTH_MAX
        {
            return plain::write_list(field, sink, list);
        }
        if is_inner || sink.depth >= DEPTH_MAX {
            sink.left_out += 1;
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        sink.depth += 1;
        while let Some(()) = list.next_element_seed(FieldSeed::item(field, sink))? {}
        sink.depth -= 1;
        Ok(())
    }

    /// Writes a message. A single one in place of a list is a list of one.
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let Self { field, sink, .. } = self;
        match field.kind {
            Kind::Nested(message) if sink.depth < DEPTH_MAX && message.is_attribute => {
                write_attributes((field, message), sink, object)?;
            }
            Kind::Nested(message) if sink.depth < DEPTH_MAX && message.is_value => {
                plain::write_object((field, message), sink, object)?;
            }
            Kind::Nested(message) if sink.depth < DEPTH_MAX => {
                let start = write::begin(&mut sink.out, field.number);
                MessageSeed::new(message, sink).write_fields(object)?;
                write::end(&mut sink.out, start);
            }
            Kind::Map(message) if sink.depth < DEPTH_MAX => {
                while let Some(key) = object.next_key::<String>()? {
                    let start = write::begin(&mut sink.out, field.number);
                    write::text(&mut sink.out, 1, &key);
                    let value = write::begin(&mut sink.out, 2);
                    object.next_value_seed(MessageSeed::new(message, sink))?;
                    write::end(&mut sink.out, value);
                    write::end(&mut sink.out, start);
                }
            }
            _ => {
                sink.left_out += 1;
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            }
        }
        Ok(())
    }
}

/// Writes an attribute, `{"key": "a", "value": …}`; or several in the form of some senders, `{"a": …, "b": …}`,
/// which begin with another name and do not have both.
fn write_attributes<'de, A: MapAccess<'de>>(
    (field, message): (&'static Field, &'static Message),
    sink: &mut Sink,
    mut object: A,
) -> Result<(), A::Error> {
    sink.depth += 1;
    let first = object.next_key_seed(Name(message))?;
    if let (Some(Err(name)), Some(value)) = (&first, message.by_name("value")) {
        let before = (sink.out.len(), sink.left_out);
        let (mut key_text, mut value_held) = (Vec::new(), None);
        let mut name = Some(name.clone());
        while let Some(key) = name {
            let start = write::begin(&mut sink.out, field.number);
            write::text(&mut sink.out, 1, &key);
            let (from, left_out) = (sink.out.len(), sink.left_out);
            object.next_value_seed(FieldSeed::new(value, sink))?;
            let written = &sink.out[from..];
            let content = content_of(written);
            // An object that does not say its type.
            sink.left_out += u64::from(!written.is_empty() && content.is_empty());
            match message.by_name(&key).map(|known| known.number) {
                // A text is the first field of a value, as the key is of an attribute.
                Some(1) if content.first() == Some(&FIRST_TEXT) => key_text = content.to_vec(),
                Some(2) => value_held = Some((written.to_vec(), sink.left_out - left_out)),
                _ => {}
            }
            write::end(&mut sink.out, start);
            name = object.next_key()?;
        }
        if let Some((value, left_out)) = value_held.filter(|_| !key_text.is_empty()) {
            sink.out.truncate(before.0);
            sink.left_out = before.1 + left_out;
            let start = write::begin(&mut sink.out, field.number);
            sink.out.extend_from_slice(&key_text);
            sink.out.extend_from_slice(&value);
            write::end(&mut sink.out, start);
        }
    } else {
        let start = write::begin(&mut sink.out, field.number);
        let mut name = first;
        while let Some(known) = name {
            match known {
                Ok(field) => object.next_value_seed(FieldSeed::new(field, sink))?,
                Err(_) => drop(object.next_value::<IgnoredAny>()?),
            }
            name = object.next_key_seed(Name(message))?;
        }
        write::end(&mut sink.out, start);
    }
    sink.depth -= 1;
    Ok(())
}

/// Returns the content of a message that is the only field written.
fn content_of(written: &[u8]) -> &[u8] {
    let lengths = written.iter().skip(1);
    let length_bytes = 1 + lengths.take_while(|byte| **byte >= 0x80).count();
    written.get(1 + length_bytes..).unwrap_or_default()
}

/// Reads a name: a field of a message, else the name itself.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Result<&'static Field, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Result<&'static Field, String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.by_name(name).ok_or_else(|| name.to_owned()))
    }
}
