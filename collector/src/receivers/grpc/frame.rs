//! gRPC's message frame: one byte for the compression flag, four for the length, the message.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::receivers::refusal::Refusal;

/// The flag and the length.
const PREFIX_BYTES: usize = 5;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Whether the message is compressed with `grpc-encoding`.
    pub(crate) compressed: bool,
    pub(crate) message: Bytes,
}

/// Returns the total length that a body's first bytes announce.
pub(in crate::receivers) fn message_length(first: &[u8]) -> Option<usize> {
    let length = first.get(1..PREFIX_BYTES)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(length))
        .ok()?
        .checked_add(PREFIX_BYTES)
}

/// Returns the only message of a unary call.
///
/// # Errors
/// When there is none, more than one, or an incomplete one.
pub(crate) fn unframe(mut body: Bytes) -> Result<Frame, Refusal> {
    if body.is_empty() {
        return Err(malformed("the call carries no message"));
    }
    if body.len() < PREFIX_BYTES {
        return Err(malformed("the message frame is truncated"));
    }
    let compressed = match body.get_u8() {
        0 => false,
        1 => true,
        _ => return Err(malformed("the message frame has an unknown flag")),
    };
    let length = body.get_u32();
    match usize::try_from(length).map(|length| length.cmp(&body.len())) {
        Ok(std::cmp::Ordering::Equal) => Ok(Frame {
            compressed,
            message: body,
        }),
        Ok(std::cmp::Ordering::Less) => Err(malformed("a unary call carries one message only")),
        _ => Err(malformed("the message is shorter than its frame says")),
    }
}

pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("our responses are short"));
    framed.put_slice(message);
    framed.freeze()
}

fn malformed(problem: &str) -> Refusal {
    Refusal::Malformed(problem.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_framed_is_unframed(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            let framed = frame(&message);
            prop_assert_eq!(message_length(&framed), Some(framed.len()));
            let unframed = unframe(framed).unwrap();
            prop_assert_eq!(unframed, Frame { compressed: false, message: message.into() });
        }

        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = message_length(&noise);
            let _ = unframe(noise.into());
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let says = |body: &'static [u8]| unframe(Bytes::from_static(body)).unwrap_err().to_string();
        assert_eq!(says(b""), "the call carries no message");
        assert_eq!(says(b"\0\0\0"), "the message frame is truncated");
        assert_eq!(
            says(b"\0\0\0\0\x02x"),
            "the message is shorter than its frame says"
        );
        assert_eq!(
            says(b"\0\0\0\0\0\0\0\0\0\0"),
            "a unary call carries one message only"
        );
        assert_eq!(
            says(b"\x07\0\0\0\0"),
            "the message frame has an unknown flag"
        );
    }
}
