//! The subset of server-sent events that Hystrix and Turbine write: a line `data: {json}` per object. Lines
//! arrive in chunks, and an endless one takes bounded memory.

/// Longest line; a command's object has 3 KiB, and 300 more bytes for each value in which hosts differ.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The beginning of the current line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    is_too_long: bool,
}

impl Lines {
    /// Reads a chunk; calls `object` with the data of each completed line. Returns the number of lines that
    /// were too long.
    pub(super) fn read(&mut self, mut piece: &[u8], mut object: impl FnMut(&str)) -> u64 {
        let mut too_long = 0;
        while let Some(end) = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.extend(&piece[..end]);
            piece = &piece[end + 1..];
            if std::mem::take(&mut self.is_too_long) {
                too_long += 1;
            } else if let Some(data) = data(&self.begun) {
                object(data);
            }
            self.begun.clear();
        }
        self.extend(piece);
        too_long
    }

    fn extend(&mut self, piece: &[u8]) {
        if self.begun.len() + piece.len() > LINE_BYTES_MAX {
            self.is_too_long = true;
            self.begun.clear();
        }
        if !self.is_too_long {
            self.begun.extend_from_slice(piece);
        }
    }
}

/// Returns the data of a line; pings, comments and invalid text have none.
fn data(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?;
    let data = line.strip_prefix("data:")?.trim();
    (!data.is_empty()).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> (Vec<String>, u64) {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        let too_long = pieces
            .iter()
            .map(|piece| lines.read(piece, |data| found.push(data.to_owned())));
        let too_long = too_long.sum();
        (found, too_long)
    }

    #[test]
    fn lines_come_in_any_pieces() {
        let text = b"ping: \n\ndata: {\"a\":1}\r\n\r\n: ping\ndata:{\"b\":2}\n\ndata: \nevent: x\ndata: \xff\n\n";
        let whole = read(&[text]);
        assert_eq!(
            whole,
            (vec!["{\"a\":1}".to_owned(), "{\"b\":2}".to_owned()], 0)
        );
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(read(&bytes), whole);
    }

    #[test]
    fn a_line_without_an_end_takes_bounded_memory() {
        let mut lines = Lines::default();
        let endless = vec![b'a'; 50_000];
        for _ in 0..100 {
            assert_eq!(lines.read(&endless, |_| unreachable!()), 0);
            assert!(lines.begun.capacity() <= 2 * LINE_BYTES_MAX);
        }
        let mut found = 0;
        assert_eq!(lines.read(b"\ndata: {}\n", |_| found += 1), 1);
        assert_eq!(found, 1);
    }
}
