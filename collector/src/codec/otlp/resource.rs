//! Resources and scopes: the service that sent spans, and the library that made them.

use super::value::{Fault, KnownKeys, attribute, text};
use super::wire::{Malformed, Reader, length_key, varint_key};
use super::{AttributeView, Limits, ResourceView, ScopeView, ValueView};

/// The specification's name for a service without one.
const UNKNOWN_SERVICE: &str = "unknown_service";

const ATTRIBUTES: u32 = length_key(1);
const RESOURCE_FIELDS: u32 = 0b1110;

const NAME: u32 = length_key(1);
const VERSION: u32 = length_key(2);
const SCOPE_ATTRIBUTES: u32 = length_key(3);
const DROPPED: u32 = varint_key(4);
const SCOPE_FIELDS: u32 = 0b1_1110;

/// A resource being read; its vector is reused for the next.
#[derive(Debug, Default)]
pub(super) struct ResourceScratch<'a> {
    attributes: Vec<AttributeView<'a>>,
    /// A key or value is not UTF-8: it is to be read again from a copy in which that is replaced.
    pub(super) invalid_utf8: bool,
}

impl<'a> ResourceScratch<'a> {
    /// Clears it for the next resource.
    pub(super) fn clear(&mut self) {
        self.attributes.clear();
        self.invalid_utf8 = false;
    }

    /// Reads a `Resource`; one that comes in pieces is merged as proto3 asks.
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
                // Counts of dropped attributes and entity references are not kept.
                0x10 | 0x1a => reader.skip(key)?,
                _ => reader.skip_unknown(key, RESOURCE_FIELDS)?,
            }
        }
        Ok(())
    }

    /// Returns a view of it.
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
        }
    }
}

/// Returns the service and the instance that a resource's attributes name, each at most `max` bytes; an attribute is
/// its key and, where its value is one, its text.
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

/// An instrumentation scope being read.
#[derive(Debug, Default)]
pub(super) struct ScopeScratch<'a> {
    name: &'a str,
    version: &'a str,
    /// Its name or version is not UTF-8, as in `ResourceScratch`.
    pub(super) invalid_utf8: bool,
}

impl<'a> ScopeScratch<'a> {
    /// Reads an `InstrumentationScope`; its attributes are not kept.
    pub(super) fn read(
        &mut self,
        mut reader: Reader<'a>,
        limits: &Limits,
        cut: &mut u64,
    ) -> Result<(), Malformed> {
        while let Some(key) = reader.key()? {
            match key {
                NAME => self.name = self.checked(reader.bytes()?, limits, cut),
                VERSION => self.version = self.checked(reader.bytes()?, limits, cut),
                SCOPE_ATTRIBUTES | DROPPED => reader.skip(key)?,
                _ => reader.skip_unknown(key, SCOPE_FIELDS)?,
            }
        }
        Ok(())
    }

    /// Returns a view of it.
    pub(super) fn view(&self) -> ScopeView<'a> {
        ScopeView {
            name: self.name,
            version: self.version,
        }
    }

    fn checked(&mut self, bytes: &'a [u8], limits: &Limits, cut: &mut u64) -> &'a str {
        text(bytes, limits.name_bytes, cut).unwrap_or_else(|_| {
            self.invalid_utf8 = true;
            ""
        })
    }
}
