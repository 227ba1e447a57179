//! Zipkin protobuf v2, `ListOfSpans` of openzipkin's `zipkin.proto`: the input of `/api/v2/spans` and the
//! gRPC service.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::otlp::wire::{Malformed, Reader, fixed64_key, length_key, varint_key};
use super::super::otlp::{DecodeError, Repairs};
use super::span::{Endpoint, Kind, Span};

const SPANS: u32 = length_key(1);

const TRACE_ID: u32 = length_key(1);
const PARENT_ID: u32 = length_key(2);
const ID: u32 = length_key(3);
const KIND: u32 = varint_key(4);
const NAME: u32 = length_key(5);
const TIMESTAMP: u32 = fixed64_key(6);
const DURATION: u32 = varint_key(7);
const LOCAL: u32 = length_key(8);
const REMOTE: u32 = length_key(9);
const ANNOTATIONS: u32 = length_key(10);
const TAGS: u32 = length_key(11);
const DEBUG: u32 = varint_key(12);

const SERVICE_NAME: u32 = length_key(1);
const IPV4: u32 = length_key(2);
const IPV6: u32 = length_key(3);
const PORT: u32 = varint_key(4);

/// Converts a list of spans to an `ExportTraceServiceRequest`.
///
/// # Errors
/// `DecodeError::Protobuf` if the bytes are not such a list.
pub(super) fn to_otlp(message: &[u8]) -> Result<(Vec<u8>, Repairs), DecodeError> {
    let mut list = List {
        out: Vec::with_capacity(message.len() + message.len() / 4),
        span: Span::default(),
        replaced: 0,
    };
    list.read(Reader::new(message))?;
    let repairs = Repairs {
        replaced: list.replaced,
        ..Repairs::default()
    };
    Ok((list.out, repairs))
}

struct List {
    out: Vec<u8>,
    span: Span,
    replaced: u64,
}

impl List {
    fn read(&mut self, mut reader: Reader<'_>) -> Result<(), Malformed> {
        while let Some(key) = reader.key()? {
            match key {
                SPANS => {
                    self.span.clear();
                    self.span(reader.message()?)?;
                    self.span.write(&mut self.out);
                }
                _ => reader.skip(key)?,
            }
        }
        Ok(())
    }

    fn span(&mut self, mut reader: Reader<'_>) -> Result<(), Malformed> {
        while let Some(key) = reader.key()? {
            match key {
                TRACE_ID => self.span.trace_id = id(reader.bytes()?),
                PARENT_ID => self.span.parent_id = id(reader.bytes()?),
                ID => self.span.id = id(reader.bytes()?),
                KIND => self.span.kind = kind(reader.varint()?),
                NAME => {
                    let name = text(reader.bytes()?, &mut self.replaced);
                    self.span.name(&name);
                }
                TIMESTAMP => self.span.timestamp_us = reader.fixed64()?,
                DURATION => self.span.duration_us = reader.varint()?,
                LOCAL => self.span.local = self.endpoint(reader.message()?)?,
                REMOTE => self.span.remote = self.endpoint(reader.message()?)?,
                ANNOTATIONS => self.annotation(reader.message()?)?,
                TAGS => self.tag(reader.message()?)?,
                DEBUG => self.span.debug = reader.varint()? != 0,
                // `shared` is not stored.
                _ => reader.skip(key)?,
            }
        }
        Ok(())
    }

    fn endpoint(&mut self, mut reader: Reader<'_>) -> Result<Endpoint, Malformed> {
        let mut endpoint = Endpoint::default();
        while let Some(key) = reader.key()? {
            match key {
                SERVICE_NAME => {
                    let name = text(reader.bytes()?, &mut self.replaced);
                    endpoint.service_name = name.into_owned();
                }
                IPV4 | IPV6 => {
                    if let Some(address) = address(reader.bytes()?) {
                        endpoint.address = address.to_string();
                    }
                }
                PORT => endpoint.port = u16::try_from(reader.varint()?).unwrap_or(0),
                _ => reader.skip(key)?,
            }
        }
        Ok(endpoint)
    }

    fn annotation(&mut self, mut reader: Reader<'_>) -> Result<(), Malformed> {
        let (mut at_us, mut value) = (0, &b""[..]);
        while let Some(key) = reader.key()? {
            match key {
                _ if key == fixed64_key(1) => at_us = reader.fixed64()?,
                _ if key == length_key(2) => value = reader.bytes()?,
                _ => reader.skip(key)?,
            }
        }
        let value = text(value, &mut self.replaced);
        self.span.annotation(at_us, &value);
        Ok(())
    }

    fn tag(&mut self, mut reader: Reader<'_>) -> Result<(), Malformed> {
        let (mut name, mut value) = (&b""[..], &b""[..]);
        while let Some(key) = reader.key()? {
            match key {
                _ if key == length_key(1) => name = reader.bytes()?,
                _ if key == length_key(2) => value = reader.bytes()?,
                _ => reader.skip(key)?,
            }
        }
        let name = text(name, &mut self.replaced);
        let value = text(value, &mut self.replaced);
        self.span.tag(&name, &value);
        Ok(())
    }
}

/// Returns the bytes as text; ill-formed sequences are replaced by U+FFFD and counted.
pub(super) fn text<'a>(bytes: &'a [u8], replaced: &mut u64) -> Cow<'a, str> {
    let text = String::from_utf8_lossy(bytes);
    *replaced += u64::from(matches!(text, Cow::Owned(_)));
    text
}

/// Returns an id, padded on the left: a trace id may have 8 bytes. Any other length gives zero.
fn id<const BYTES: usize>(bytes: &[u8]) -> [u8; BYTES] {
    let mut id = [0; BYTES];
    if bytes.len() == BYTES || bytes.len() == 8 {
        id[BYTES - bytes.len()..].copy_from_slice(bytes);
    }
    id
}

fn kind(number: u64) -> Option<Kind> {
    match number {
        1 => Some(Kind::Client),
        2 => Some(Kind::Server),
        3 => Some(Kind::Producer),
        4 => Some(Kind::Consumer),
        _ => None,
    }
}

pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(octets).into())
}
