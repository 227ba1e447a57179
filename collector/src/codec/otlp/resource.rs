//! Resources and scopes: the service that sent spans, and the library that created them.

use super::value::{Fault, KnownKeys, attribute, check_text, text};
use super::wire::{Malformed, Reader, length_key, varint_key};
use super::{AttributeView, Limits, ResourceView, ScopeView, ValueView};
use crate::model::UNKNOWN_SERVICE;

/// Entities of a resource: a host, a container, a process, a service and the like; each has a few keys.
const ENTITIES_MAX: usize = 16;
const ENTITY_BYTES_MAX: usize = 1024;
/// Keys of an entity: as many of the usual 15 bytes as fit. Empty ones would take 2 bytes there, but 24 in
/// memory.
const ENTITY_KEYS_MAX: usize = 64;

const ATTRIBUTES: u32 = length_key(1);
const DROPPED_ATTRIBUTES: u32 = varint_key(2);
const ENTITIES: u32 = length_key(3);
const RESOURCE_FIELDS: u32 = 0b1110;
const ENTITY_FIELDS: u32 = 0b1_1110;

const NAME: u32 = length_key(1);
const VERSION: u32 = length_key(2);
const SCOPE_ATTRIBUTES: u32 = length_key(3);
const DROPPED: u32 = varint_key(4);
const SCOPE_FIELDS: u32 = 0b1_1110;

/// A resource being read; its vectors are reused.
#[derive(Debug, Default)]
pub(super) struct ResourceScratch<'a> {
    attributes: Vec<AttributeView<'a>>,
    dropped: u32,
    schema_url: &'a str,
    entities: Vec<&'a [u8]>,
    /// A key or value is not UTF-8, so the resource must be read again from a repaired copy.
    pub(super) invalid_utf8: bool,
}

impl<'a> ResourceScratch<'a> {
    pub(super) fn clear(&mut self) {
        self.attributes.clear();
        self.dropped = 0;
        self.schema_url = "";
        self.entities.clear();
        self.invalid_utf8 = false;
    }

    /// Reads a `Resource`; one in several pieces is merged, as proto3 requires.
    pub(super) fn read(
        &mut self,
        mut reader: Reader<'a>,
        limits: &Limits,
        cut: &mut u64,
    ) -> Result<(), Malformed> {
        let mut keys = KnownKeys::default();
        while let Some(key) = reader.key()? {
            match key {
                ATTRIBUTES if self.attributes.len() >= limits.attributes => {
                    reader.skip(key)?;
                    *cut += 1;
                }
                ATTRIBUTES => match attribute(reader.message()?, limits, &mut keys, cut) {
                    Ok(attribute) => self.attributes.push(attribute),
                    Err(Fault::Malformed(malformed)) => return Err(malformed),
                    Err(Fault::InvalidUtf8) => self.invalid_utf8 = true,
                    Err(Fault::OverLimit) => *cut += 1,
                },
                DROPPED_ATTRIBUTES => self.dropped = reader.varint()? as u32,
                ENTITIES => match entity(reader.message()?, self.entities.len()) {
                    Ok(entity) => self.entities.push(entity),
                    Err(Fault::Malformed(malformed)) => return Err(malformed),
                    Err(Fault::InvalidUtf8) => self.invalid_utf8 = true,
                    Err(Fault::OverLimit) => *cut += 1,
                },
                _ => reader.skip_unknown(key, RESOURCE_FIELDS)?,
            }
        }
        Ok(())
    }

    /// Sets the schema URL, which is outside of the message.
    pub(super) fn set_schema_url(&mut self, url: &'a [u8], limits: &Limits, cut: &mut u64) {
        self.schema_url = text(url, limits.name_bytes, cut).unwrap_or_else(|_| {
            self.invalid_utf8 = true;
            ""
        });
    }

    pub(super) fn view(&self, limits: &Limits) -> ResourceView<'_> {
        let pairs = self.attributes.iter().map(|attribute| {
            let text = match attribute.value {
                ValueView::String(text) => Some(text),
                _ => None,
            };
            (attribute.key, text)
        });
        let (service_name, instance_id) = identity(pairs, limits.name_bytes);
        ResourceView {
            attributes: &self.attributes,
            service_name,
            instance_id,
            dropped_attributes_count: self.dropped,
            schema_url: self.schema_url,
            entities: &self.entities,
        }
    }
}

/// Checks an `EntityRef`, whose fields are all text; `before` is the number of entities before it.
fn entity(message: Reader<'_>, before: usize) -> Result<&[u8], Fault> {
    let mut reader = message;
    let mut keys = 0;
    while let Some(key) = reader.key()? {
        match key >> 3 {
            1..=4 if key == length_key(key >> 3) => {
                keys += usize::from(key >> 3 >= 3);
                check_text(reader.bytes()?)?;
            }
            _ => reader.skip_unknown(key, ENTITY_FIELDS)?,
        }
    }
    let is_large = message.rest().len() > ENTITY_BYTES_MAX || keys > ENTITY_KEYS_MAX;
    if before >= ENTITIES_MAX || is_large {
        return Err(Fault::OverLimit);
    }
    Ok(message.rest())
}

/// Returns service and instance from a resource's attributes, each cut to `max` bytes. An attribute is its
/// key and, if its value is text, the text.
pub(crate) fn identity<'a>(
    attributes: impl Iterator<Item = (&'a str, Option<&'a str>)> + Clone,
    max: usize,
) -> (&'a str, &'a str) {
    let named = |wanted: &str| {
        let (_, text) = attributes.clone().find(|(key, _)| *key == wanted)?;
        let text = text.filter(|text| !text.is_empty())?;
        Some(crate::model::cut(text, max))
    };
    let instance = named("service.instance.id").or_else(|| named("host.name"));
    (
        named("service.name").unwrap_or(UNKNOWN_SERVICE),
        instance.unwrap_or_default(),
    )
}

#[derive(Debug, Default)]
pub(super) struct ScopeScratch<'a> {
    name: &'a str,
    version: &'a str,
    attributes: Vec<AttributeView<'a>>,
    dropped: u32,
    schema_url: &'a str,
    /// As in `ResourceScratch`.
    pub(super) invalid_utf8: bool,
}

impl<'a> ScopeScratch<'a> {
    pub(super) fn read(
        &mut self,
        mut reader: Reader<'a>,
        limits: &Limits,
        cut: &mut u64,
    ) -> Result<(), Malformed> {
        let mut keys = KnownKeys::default();
        while let Some(key) = reader.key()? {
            match key {
                NAME => self.name = self.checked(reader.bytes()?, limits, cut),
                VERSION => self.version = self.checked(reader.bytes()?, limits, cut),
                DROPPED => self.dropped = reader.varint()? as u32,
                SCOPE_ATTRIBUTES if self.attributes.len() >= limits.attributes => {
                    reader.skip(key)?;
                    *cut += 1;
                }
                SCOPE_ATTRIBUTES => match attribute(reader.message()?, limits, &mut keys, cut) {
                    Ok(attribute) => self.attributes.push(attribute),
                    Err(Fault::Malformed(malformed)) => return Err(malformed),
                    Err(Fault::InvalidUtf8) => self.invalid_utf8 = true,
                    Err(Fault::OverLimit) => *cut += 1,
                },
                _ => reader.skip_unknown(key, SCOPE_FIELDS)?,
            }
        }
        Ok(())
    }

    /// Sets the schema URL, which is outside of the message.
    pub(super) fn set_schema_url(&mut self, url: &'a [u8], limits: &Limits, cut: &mut u64) {
        self.schema_url = self.checked(url, limits, cut);
    }

    pub(super) fn view(&self) -> ScopeView<'_> {
        ScopeView {
            name: self.name,
            version: self.version,
            attributes: &self.attributes,
            dropped_attributes_count: self.dropped,
            schema_url: self.schema_url,
        }
    }

    fn checked(&mut self, bytes: &'a [u8], limits: &Limits, cut: &mut u64) -> &'a str {
        text(bytes, limits.name_bytes, cut).unwrap_or_else(|_| {
            self.invalid_utf8 = true;
            ""
        })
    }
}
