//! The last log lines, as they are written to standard error.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use tracing_subscriber::fmt::MakeWriter;

use crate::sync::Mutex;

/// Most bytes of lines that are kept, some thousand lines.
const BYTES_MAX: usize = 1 << 20;

/// The last lines as the end of one long text whose bytes have fixed offsets. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    bytes: VecDeque<u8>,
    /// The offset after the last byte.
    end: u64,
}

impl Lines {
    /// Returns the offsets of the bytes that are kept.
    pub(crate) fn range(&self) -> Range<u64> {
        let kept = self.0.lock();
        kept.start()..kept.end
    }

    /// Returns the kept bytes of a range, and the offset of the first.
    pub(crate) fn read(&self, range: Range<u64>) -> (u64, Vec<u8>) {
        let kept = self.0.lock();
        let start = range.start.clamp(kept.start(), kept.end);
        let end = range.end.clamp(start, kept.end);
        let at = |place: u64| usize::try_from(place - kept.start()).unwrap_or(usize::MAX);
        let bytes = kept.bytes.range(at(start)..at(end));
        (start, bytes.copied().collect())
    }

    fn push(&self, text: &[u8]) {
        let text = &text[text.len().saturating_sub(BYTES_MAX)..];
        let mut kept = self.0.lock();
        let before = kept.bytes.len();
        push_plain(&mut kept.bytes, text);
        kept.end += (kept.bytes.len() - before) as u64;
        let surplus = kept.bytes.len().saturating_sub(BYTES_MAX);
        if surplus > 0 {
            // Removes whole lines.
            let mut rest = kept.bytes.range(surplus..);
            let end = rest.position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            kept.bytes.drain(..surplus + end);
        }
    }
}

impl Kept {
    fn start(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }
}

/// Appends text without the colour codes of terminals.
fn push_plain(bytes: &mut VecDeque<u8>, text: &[u8]) {
    let mut parts = text.split(|byte| *byte == b'\x1b');
    bytes.extend(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.iter().position(u8::is_ascii_alphabetic);
        bytes.extend(&part[end.map_or(0, |end| end + 1)..]);
    }
}

/// Writes to standard error and keeps the written text.
#[derive(Debug)]
pub(crate) struct Tee(Lines);

impl Write for Tee {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.push(text);
        // A line is kept even if standard error cannot be written.
        io::stderr().write_all(text)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Tee;

    fn make_writer(&self) -> Tee {
        Tee(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: &Lines, range: Range<u64>) -> (u64, String) {
        let (start, bytes) = lines.read(range);
        (start, String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn lines_are_read_by_place_and_without_colours() {
        let lines = Lines::default();
        lines.push(b"\x1b[2mone\x1b[0m two\n");
        lines.push(b"three\n");
        assert_eq!(lines.range(), 0..14);
        assert_eq!(text(&lines, 4..u64::MAX), (4, "two\nthree\n".to_owned()));
        assert_eq!(text(&lines, 14..20), (14, String::new()));
    }

    #[test]
    fn the_oldest_whole_lines_go() {
        let lines = Lines::default();
        let line = format!("{}\n", "x".repeat(99));
        for _ in 0..BYTES_MAX / 100 + 10 {
            lines.push(line.as_bytes());
        }
        let range = lines.range();
        assert_eq!((range.start % 100, range.end % 100), (0, 0));
        assert!(range.end - range.start <= BYTES_MAX as u64);
        assert!(range.end - range.start > BYTES_MAX as u64 - 200);
        assert_eq!(lines.read(0..u64::MAX).0, range.start);
        lines.push(&[b'y'; 2 * BYTES_MAX]);
        assert!(lines.0.lock().bytes.len() <= BYTES_MAX);
    }
}
