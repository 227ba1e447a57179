//! A message to live pages: server-sent events as bytes, plain and compressed. Pages that show the same cards receive
//! the same bytes, which are created once.
//!
//! A compressed stream is one gzip member without an end. Each message is a sequence of complete deflate blocks that
//! refers to no earlier data (a full flush, RFC 1951 and the zlib manual), so it can follow any other.

use std::sync::OnceLock;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};

/// The header of a gzip member without name and time (RFC 1952, 2.3): deflate, no flags, no time, no extra flags,
/// unknown system.
pub(super) const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Higher levels cost more than they save of a few dozen kilobytes.
const LEVEL: u32 = 4;

/// The encoding of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Uncompressed.
    Identity,
    /// Compressed with gzip.
    Gzip,
}

/// Events to be sent to pages.
#[derive(Debug, Default)]
pub(super) struct Message {
    plain: Bytes,
    gzip: OnceLock<Bytes>,
}

impl Message {
    /// Returns the message of these events, each a name and its data.
    pub(super) fn new(events: &[(&str, String)]) -> Self {
        let mut plain = String::new();
        for (name, data) in events {
            plain.push_str("event: ");
            plain.push_str(name);
            // A carriage return would end a line of the stream.
            for line in data.replace('\r', " ").split('\n') {
                plain.push_str("\ndata: ");
                plain.push_str(line);
            }
            plain.push_str("\n\n");
        }
        Self {
            plain: plain.into(),
            gzip: OnceLock::new(),
        }
    }

    /// Returns a comment, which keeps an idle connection open.
    pub(super) fn keep_alive() -> Self {
        Self {
            plain: Bytes::from_static(b":\n\n"),
            gzip: OnceLock::new(),
        }
    }

    pub(super) fn bytes(&self, coding: Coding) -> Bytes {
        match coding {
            Coding::Identity => self.plain.clone(),
            Coding::Gzip => self.gzip.get_or_init(|| blocks(&self.plain)).clone(),
        }
    }
}

/// Compresses bytes to whole deflate blocks.
fn blocks(plain: &[u8]) -> Bytes {
    let mut compress = Compress::new(Compression::new(LEVEL), false);
    let mut out = Vec::with_capacity(plain.len() / 4 + 64);
    loop {
        let read = usize::try_from(compress.total_in()).unwrap_or(plain.len());
        let rest = plain.get(read..).unwrap_or_default();
        let status = compress.compress_vec(rest, &mut out, FlushCompress::Full);
        // The buffer grows as needed, so there is no other error.
        let is_done = !matches!(status, Ok(Status::Ok)) || out.len() < out.capacity();
        if is_done {
            return out.into();
        }
        out.reserve(out.capacity());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn events_are_framed_line_by_line() {
        let message = Message::new(&[("wall", "a\nb\r".to_owned()), ("said", "c".to_owned())]);
        assert_eq!(
            message.bytes(Coding::Identity),
            "event: wall\ndata: a\ndata: b \n\nevent: said\ndata: c\n\n"
        );
    }

    /// *Guarantees*: each message can be read immediately and without the earlier ones.
    #[test]
    fn each_message_stands_on_its_own() {
        let text = |n: usize| format!("{n} {}", "<article>&amp;".repeat(20_000));
        let messages: Vec<Message> = (0..3)
            .map(|n| Message::new(&[("cards", text(n))]))
            .collect();
        for order in [[0, 1, 2], [2, 0, 0]] {
            let mut stream = GZIP_HEAD.to_vec();
            let mut plain = Vec::new();
            for index in order {
                stream.extend_from_slice(&messages[index].bytes(Coding::Gzip));
                plain.extend_from_slice(&messages[index].bytes(Coding::Identity));
                let mut read = vec![0; plain.len()];
                #[expect(clippy::disallowed_types, reason = "the test made the bytes itself")]
                let mut decoder = flate2::read::GzDecoder::new(&stream[..]);
                decoder.read_exact(&mut read).unwrap();
                assert_eq!(read, plain);
            }
            assert!(stream.len() < plain.len() / 20, "{}", stream.len());
        }
    }
}
