//! Values as some senders write them: plain objects and lists instead of `kvlistValue` and `arrayValue`. An object with a
//! name of a type (`stringValue`) is a value as specified, and what else is in it is ignored.

use serde::de::{IgnoredAny, MapAccess, SeqAccess};

use super::super::super::schema::{ARRAY_VALUE, Field, KEY_VALUE, Message};
use super::super::super::write;
use super::{FieldSeed, Name, Sink};

/// The fields of a value for a list and for an object.
const LIST: u32 = 5;
const OBJECT: u32 = 6;
/// The only field of both.
const VALUES: u32 = 1;

/// Writes an object as the value of a field.
pub(super) fn write_object<'de, A: MapAccess<'de>>(
    (field, message): (&'static Field, &'static Message),
    sink: &mut Sink,
    mut object: A,
) -> Result<(), A::Error> {
    let start = write::begin(&mut sink.out, field.number);
    let (empty, left_out) = (sink.out.len(), sink.left_out);
    sink.depth += 1;
    let mut is_typed = true;
    let mut list = 0;
    let mut next = object.next_key_seed(Name(message))?;
    while let Some(name) = next {
        match name {
            Ok(known) => {
                if !is_typed {
                    sink.out.truncate(empty);
                    (sink.left_out, is_typed) = (left_out, true);
                }
                object.next_value_seed(FieldSeed::new(known, sink))?;
            }
            // A name of a later version.
            Err(_) if sink.out.len() > empty && is_typed => {
                object.next_value::<IgnoredAny>()?;
            }
            Err(name) => {
                if is_typed {
                    is_typed = false;
                    list = write::begin(&mut sink.out, OBJECT);
                }
                write_pair(&name, sink, &mut object)?;
            }
        }
        next = object.next_key_seed(Name(message))?;
    }
    if !is_typed {
        write::end(&mut sink.out, list);
    }
    sink.depth -= 1;
    write::end(&mut sink.out, start);
    Ok(())
}

fn write_pair<'de, A: MapAccess<'de>>(
    name: &str,
    sink: &mut Sink,
    object: &mut A,
) -> Result<(), A::Error> {
    let pair = write::begin(&mut sink.out, VALUES);
    write::text(&mut sink.out, 1, name);
    let value = KEY_VALUE.by_number(2).expect("it has a value");
    object.next_value_seed(FieldSeed::new(value, sink))?;
    write::end(&mut sink.out, pair);
    Ok(())
}

/// Writes a list as the value of a field.
pub(super) fn write_list<'de, A: SeqAccess<'de>>(
    field: &'static Field,
    sink: &mut Sink,
    mut items: A,
) -> Result<(), A::Error> {
    let start = write::begin(&mut sink.out, field.number);
    let list = write::begin(&mut sink.out, LIST);
    let item = ARRAY_VALUE.by_number(VALUES).expect("it has values");
    sink.depth += 1;
    while let Some(()) = items.next_element_seed(FieldSeed::item(item, sink))? {}
    sink.depth -= 1;
    write::end(&mut sink.out, list);
    write::end(&mut sink.out, start);
    Ok(())
}
