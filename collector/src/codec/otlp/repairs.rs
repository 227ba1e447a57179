//! Repairs that a message needed, and the replacement of text that is not UTF-8.
//!
//! Protobuf strings must be UTF-8, but senders cut strings in the middle of a character or pass on bytes in
//! another encoding. The walk checks for it; only a part in which it finds ill-formed text is copied here.

use super::schema::{Kind, Message};
use super::wire::{Malformed, Reader, wire_type};
use super::write;

/// What had to be changed in a message or left out of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Number of strings in which ill-formed text was replaced by U+FFFD.
    pub replaced: u64,
    /// Number of JSON values that their field cannot hold; they were left out.
    pub left_out: u64,
    /// An explanation for the sender of a message that has keys but no data.
    pub empty: Option<String>,
}

impl Repairs {
    pub(crate) fn add(&mut self, other: Self) {
        self.replaced += other.replaced;
        self.left_out += other.left_out;
        self.empty = self.empty.take().or(other.empty);
    }

    /// Adds replaced strings.
    pub(crate) fn and_replaced(self, strings: u64) -> Self {
        Self {
            replaced: self.replaced + strings,
            ..self
        }
    }
}

/// Nesting depth of messages that are repaired: values nest at most 16 deep, with two messages a level.
const DEPTH_MAX: usize = 64;

/// Appends a copy of a message in which each ill-formed sequence of a string is replaced by U+FFFD, as the
/// Unicode standard recommends (section 3.9); returns the number of such strings. A string may grow to three
/// times its length.
pub(crate) fn replace_ill_formed(
    message: &[u8],
    schema: &'static Message,
    out: &mut Vec<u8>,
) -> u64 {
    let mut copy = Copy { out, replaced: 0 };
    copy.message(message, schema, DEPTH_MAX);
    copy.replaced
}

struct Copy<'o> {
    out: &'o mut Vec<u8>,
    replaced: u64,
}

impl Copy<'_> {
    /// Copies a message; the rest of a malformed one is copied unchanged.
    fn message(&mut self, message: &[u8], schema: &'static Message, depth: usize) {
        let mut reader = Reader::new(message);
        while !reader.rest().is_empty() {
            let before = reader.rest();
            if self.field(&mut reader, schema, depth).is_err() {
                self.out.extend_from_slice(before);
                return;
            }
        }
    }

    fn field(
        &mut self,
        reader: &mut Reader<'_>,
        schema: &'static Message,
        depth: usize,
    ) -> Result<(), Malformed> {
        let before = reader.rest();
        let Some(key) = reader.key()? else {
            return Ok(());
        };
        let number = key >> 3;
        let is_length = key & 7 == wire_type::LENGTH;
        let known = schema.by_number(number).filter(|_| is_length);
        match known.map(|field| field.kind) {
            Some(Kind::Text) => self.text(number, reader.bytes()?),
            Some(Kind::Nested(inner)) if depth > 0 => {
                let message = reader.bytes()?;
                let start = write::begin(self.out, number);
                self.message(message, inner, depth - 1);
                write::end(self.out, start);
            }
            _ => {
                reader.skip(key)?;
                let length = before.len() - reader.rest().len();
                self.out.extend_from_slice(&before[..length]);
            }
        }
        Ok(())
    }

    fn text(&mut self, number: u32, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        self.replaced += u64::from(matches!(text, std::borrow::Cow::Owned(_)));
        write::bytes(self.out, number, text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::Span;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::super::schema::SPAN;
    use super::super::tests::arbitrary::traces;
    use super::*;

    fn copied(message: &[u8]) -> (Vec<u8>, u64) {
        let mut out = Vec::new();
        let replaced = replace_ill_formed(message, &SPAN, &mut out);
        (out, replaced)
    }

    #[test]
    fn each_ill_formed_sequence_becomes_one_replacement() {
        // The name of a span, then a status with a message.
        let span = b"\x2a\x05a\xf0\x9f\x98b\x7a\x03\x12\x01\xff";
        let (copy, replaced) = copied(span);
        let span = Span::decode(&copy[..]).unwrap();
        assert_eq!(span.name, "a\u{fffd}b");
        assert_eq!(span.status.unwrap().message, "\u{fffd}");
        assert_eq!(replaced, 2);
    }

    proptest! {
        #[test]
        fn well_formed_messages_stay_as_they_are(request in traces()) {
            for resource in &request.resource_spans {
                for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
                    let (copy, replaced) = copied(&span.encode_to_vec());
                    // NaN is a value like any other here, so compare by what is printed.
                    let copy = Span::decode(&copy[..]).unwrap();
                    prop_assert_eq!(format!("{copy:?}"), format!("{span:?}"));
                    prop_assert_eq!(replaced, 0);
                }
            }
        }

        #[test]
        fn noise_never_panics_and_grows_threefold_at_most(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (copy, _) = copied(&noise);
            // Lengths that were written in fewer bytes grow too.
            prop_assert!(copy.len() <= 3 * noise.len() + 10 * DEPTH_MAX);
        }
    }
}
