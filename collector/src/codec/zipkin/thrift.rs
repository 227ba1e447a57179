//! Zipkin v1 in thrift, TBinaryProtocol: `application/x-thrift` on `/api/v1/spans`. A body is a list of
//! `Span` or a single one, as defined in openzipkin's `zipkinCore.thrift`.

use std::net::Ipv4Addr;

use super::super::otlp::{DecodeError, Repairs};
use super::protobuf::{address, text};
use super::span::Endpoint;
use super::v1::{self, Annotation, BinaryAnnotation, Value};

/// The types of TBinaryProtocol.
mod kind {
    pub(super) const STOP: u8 = 0;
    pub(super) const BOOL: u8 = 2;
    pub(super) const BYTE: u8 = 3;
    pub(super) const DOUBLE: u8 = 4;
    pub(super) const I16: u8 = 6;
    pub(super) const I32: u8 = 8;
    pub(super) const I64: u8 = 10;
    pub(super) const STRING: u8 = 11;
    pub(super) const STRUCT: u8 = 12;
    pub(super) const MAP: u8 = 13;
    pub(super) const SET: u8 = 14;
    pub(super) const LIST: u8 = 15;
}

/// Nesting depth of structs and lists in skipped fields.
const DEPTH_MAX: usize = 32;

/// Converts spans to an `ExportTraceServiceRequest`.
///
/// # Errors
/// `DecodeError::Thrift` if the bytes are not spans.
pub(super) fn to_otlp(message: &[u8]) -> Result<(Vec<u8>, Repairs), DecodeError> {
    let mut reader = Reader {
        rest: message,
        length: message.len(),
        repairs: Repairs::default(),
    };
    let mut out = Vec::with_capacity(2 * message.len());
    // The first byte of a list is the type of its items; that of a span is the type of its first field.
    if message.first() == Some(&kind::STRUCT) {
        reader.byte()?;
        reader.items(|reader| {
            reader.span()?.write(&mut out);
            Ok(())
        })?;
    } else if !message.is_empty() {
        reader.span()?.write(&mut out);
    }
    if !reader.rest.is_empty() {
        return Err(reader.malformed("bytes after the spans"));
    }
    Ok((out, reader.repairs))
}

struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
    repairs: Repairs,
}

type Read<T> = Result<T, DecodeError>;

impl<'a> Reader<'a> {
    fn span(&mut self) -> Read<v1::Span> {
        let mut span = v1::Span::default();
        self.fields(|reader, field, of| {
            match (field, of) {
                (1, kind::I64) => span.trace_id[8..].copy_from_slice(&reader.array::<8>()?),
                (3, kind::STRING) => span.name = reader.text()?,
                (4, kind::I64) => span.id = reader.array()?,
                (5, kind::I64) => span.parent_id = reader.array()?,
                (6, kind::LIST) => reader.list(|reader| {
                    let annotation = reader.annotation()?;
                    reader.repairs.left_out += span.add_annotation(annotation);
                    Ok(())
                })?,
                (8, kind::LIST) => reader.list(|reader| {
                    let annotation = reader.binary_annotation()?;
                    reader.repairs.left_out += span.add_binary_annotation(annotation);
                    Ok(())
                })?,
                (9, kind::BOOL) => span.debug = reader.byte()? != 0,
                (10, kind::I64) => span.timestamp_us = reader.number()?,
                (11, kind::I64) => span.duration_us = reader.number()?,
                (12, kind::I64) => span.trace_id[..8].copy_from_slice(&reader.array::<8>()?),
                _ => reader.skip(of, DEPTH_MAX)?,
            }
            Ok(())
        })?;
        Ok(span)
    }

    fn annotation(&mut self) -> Read<Annotation> {
        let mut annotation = Annotation::default();
        self.fields(|reader, field, of| {
            match (field, of) {
                (1, kind::I64) => annotation.at_us = reader.number()?,
                (2, kind::STRING) => annotation.value = reader.text()?,
                (3, kind::STRUCT) => annotation.endpoint = Some(reader.endpoint()?),
                _ => reader.skip(of, DEPTH_MAX)?,
            }
            Ok(())
        })?;
        Ok(annotation)
    }

    fn binary_annotation(&mut self) -> Read<BinaryAnnotation> {
        let (mut key, mut endpoint) = (String::new(), None);
        let (mut value, mut value_type) = (&b""[..], 6);
        self.fields(|reader, field, of| {
            match (field, of) {
                (1, kind::STRING) => key = reader.text()?,
                (2, kind::STRING) => value = reader.bytes()?,
                (3, kind::I32) => value_type = i32::from_be_bytes(reader.array()?),
                (4, kind::STRUCT) => endpoint = Some(reader.endpoint()?),
                _ => reader.skip(of, DEPTH_MAX)?,
            }
            Ok(())
        })?;
        let value = self.value(value_type, value);
        Ok(BinaryAnnotation {
            key,
            value,
            endpoint,
        })
    }

    /// Decodes a value of an `AnnotationType`; numbers in `bytes` are big-endian.
    fn value(&mut self, value_type: i32, bytes: &[u8]) -> Value {
        let whole = || {
            let number = match *bytes {
                [a, b] => i16::from_be_bytes([a, b]).into(),
                [a, b, c, d] => i32::from_be_bytes([a, b, c, d]).into(),
                _ => i64::from_be_bytes(bytes.try_into().ok()?),
            };
            Some(Value::Whole(number))
        };
        let double = || {
            let bits = u64::from_be_bytes(bytes.try_into().ok()?);
            Some(Value::Double(f64::from_bits(bits)))
        };
        let typed = match value_type {
            0 => Some(Value::Bool(bytes.first().is_some_and(|byte| *byte != 0))),
            2..=4 => whole(),
            5 => double(),
            6 => Some(Value::Text(
                text(bytes, &mut self.repairs.replaced).into_owned(),
            )),
            _ => None,
        };
        typed.unwrap_or_else(|| Value::Bytes(bytes.to_vec()))
    }

    fn endpoint(&mut self) -> Read<Endpoint> {
        let mut endpoint = Endpoint::default();
        self.fields(|reader, field, of| {
            match (field, of) {
                (1, kind::I32) => {
                    let address = Ipv4Addr::from(reader.array::<4>()?);
                    if !address.is_unspecified() {
                        endpoint.address = address.to_string();
                    }
                }
                (2, kind::I16) => endpoint.port = u16::from_be_bytes(reader.array()?),
                (3, kind::STRING) => endpoint.service_name = reader.text()?,
                (4, kind::STRING) => {
                    if let Some(address) = address(reader.bytes()?) {
                        endpoint.address = address.to_string();
                    }
                }
                _ => reader.skip(of, DEPTH_MAX)?,
            }
            Ok(())
        })?;
        Ok(endpoint)
    }

    /// Calls `read` for each field of a struct, with its number and type.
    fn fields(&mut self, mut read: impl FnMut(&mut Self, i16, u8) -> Read<()>) -> Read<()> {
        loop {
            let of = self.byte()?;
            if of == kind::STOP {
                return Ok(());
            }
            let field = i16::from_be_bytes(self.array()?);
            read(self, field, of)?;
        }
    }

    fn list(&mut self, read: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        match self.byte()? {
            kind::STRUCT => self.items(read),
            of => {
                let read = |reader: &mut Self| reader.skip(of, DEPTH_MAX);
                self.items(read)
            }
        }
    }

    /// Reads a count and calls `read` that many times. Each item takes at least a byte, so a false count ends
    /// with the input.
    fn items(&mut self, mut read: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        let count = i32::from_be_bytes(self.array()?);
        for _ in 0..count {
            read(self)?;
        }
        Ok(())
    }

    fn skip(&mut self, of: u8, depth: usize) -> Read<()> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.malformed("too many levels"));
        };
        match of {
            kind::BOOL | kind::BYTE => self.byte().map(drop),
            kind::I16 => self.array::<2>().map(drop),
            kind::I32 => self.array::<4>().map(drop),
            kind::I64 | kind::DOUBLE => self.array::<8>().map(drop),
            kind::STRING => self.bytes().map(drop),
            kind::STRUCT => self.fields(|reader, _, of| reader.skip(of, depth)),
            kind::SET | kind::LIST => {
                let of = self.byte()?;
                self.items(|reader| reader.skip(of, depth))
            }
            kind::MAP => {
                let [key, value] = self.array()?;
                self.items(|reader| {
                    reader.skip(key, depth)?;
                    reader.skip(value, depth)
                })
            }
            _ => Err(self.malformed("unknown type")),
        }
    }

    fn text(&mut self) -> Read<String> {
        let bytes = self.bytes()?;
        Ok(text(bytes, &mut self.repairs.replaced).into_owned())
    }

    fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = i32::from_be_bytes(self.array()?);
        let split = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length));
        let Some((bytes, rest)) = split else {
            return Err(self.malformed("length beyond the end"));
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// Reads a number; a negative one counts as absent.
    fn number(&mut self) -> Read<u64> {
        let number = i64::from_be_bytes(self.array()?);
        Ok(u64::try_from(number).unwrap_or(0))
    }

    fn byte(&mut self) -> Read<u8> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else {
            return Err(self.malformed("cut off"));
        };
        self.rest = rest;
        Ok(*bytes)
    }

    fn malformed(&self, what: &'static str) -> DecodeError {
        DecodeError::Thrift {
            offset: self.length - self.rest.len(),
            what,
        }
    }
}
