//! A batch in delivery: sent whole, or split between lines when the server rejects them together.

use bytes::{Bytes, BytesMut};

use super::lane::BATCH_BYTES_MAX;

/// Requests are not split below this size for a body limit: what is rejected below it is a line that is too
/// large.
const BYTES_MIN: usize = 64 << 10;
/// After this many accepted requests larger ones are tried again: a limit may have been lifted, or never
/// existed.
const ACCEPTED_MIN: u32 = 200;

/// A batch or a part of it; whole lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) lines: Bytes,
    pub(super) points: u64,
}

impl Part {
    /// Returns whether its size may be the reason for a rejection.
    pub(super) fn is_large(&self) -> bool {
        self.lines.len() > BYTES_MIN
    }

    pub(super) fn first_line(&self) -> &[u8] {
        &self.lines[..end_of_line(&self.lines)]
    }

    /// Splits it in half; `None` for a single line.
    fn halves(&self) -> Option<[Self; 2]> {
        let lines = lines_of(&self.lines);
        let first = lines.len() / 2;
        let bytes: usize = lines[..first].iter().map(Bytes::len).sum();
        let part = |lines: Bytes, points: usize| Self {
            lines,
            points: points as u64,
        };
        (first > 0).then(|| {
            [
                part(self.lines.slice(..bytes), first),
                part(self.lines.slice(bytes..), lines.len() - first),
            ]
        })
    }

    /// Returns it without the lines that an answer names as unparsable; `None` if it names none of them.
    pub(super) fn without_named(&self, said: &str) -> Option<Self> {
        const NAMES: &str = "unable to parse '";
        let named: Vec<&[u8]> = said
            .match_indices(NAMES)
            .map(|(at, _)| &said.as_bytes()[at + NAMES.len()..])
            .collect();
        let is_named = |line: &Bytes| {
            let line = line.trim_ascii_end();
            let is = |text: &&[u8]| text.starts_with(line) && text.get(line.len()) == Some(&b'\'');
            named.iter().any(is)
        };
        let lines = lines_of(&self.lines);
        let rest: Vec<_> = lines.iter().filter(|line| !is_named(line)).collect();
        let mut text = BytesMut::new();
        (rest.len() < lines.len()).then(|| {
            rest.iter().for_each(|line| text.extend_from_slice(line));
            Self {
                lines: text.freeze(),
                points: rest.len() as u64,
            }
        })
    }
}

/// The remaining parts of a batch, the next one last, and the known limit of a request's size.
#[derive(Debug)]
pub(super) struct Parts {
    stack: Vec<Part>,
    bytes_max: usize,
    accepted: u32,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            stack: Vec::new(),
            bytes_max: usize::MAX,
            accepted: 0,
        }
    }
}

impl Parts {
    /// Starts a batch, discarding the rest of any earlier one.
    pub(super) fn begin(&mut self, batch: Part) {
        self.stack = vec![batch];
    }

    /// Returns the next part within the size limit, or a single line.
    pub(super) fn next(&mut self) -> Option<Part> {
        loop {
            let part = self.stack.pop()?;
            if part.lines.is_empty() {
                continue;
            }
            match Some(&part).filter(|part| part.lines.len() > self.bytes_max) {
                Some(large) if self.halve(large) => {}
                _ => return Some(part),
            }
        }
    }

    /// Puts back the halves of a part; returns false for a single line.
    pub(super) fn halve(&mut self, part: &Part) -> bool {
        let halves = part.halves();
        let halved = halves.is_some();
        self.stack.extend(halves.into_iter().flatten().rev());
        halved
    }

    pub(super) fn put_next(&mut self, part: Part) {
        self.stack.push(part);
    }

    pub(super) fn put_last(&mut self, part: Part) {
        self.stack.insert(0, part);
    }

    /// Lowers the size limit after a request that was too large.
    pub(super) fn too_large(&mut self, part: &Part) {
        let bytes = (part.lines.len() / 2).max(BYTES_MIN);
        self.bytes_max = self.bytes_max.min(bytes);
        self.accepted = 0;
    }

    /// Counts an accepted request.
    pub(super) fn accepted(&mut self) {
        self.accepted = self.accepted.saturating_add(1);
        if self.accepted >= ACCEPTED_MIN {
            self.accepted = 0;
            self.bytes_max = match self.bytes_max {
                bytes if bytes > BATCH_BYTES_MAX => usize::MAX,
                bytes => bytes * 2,
            };
        }
    }
}

fn lines_of(text: &Bytes) -> Vec<Bytes> {
    let mut lines = Vec::new();
    let mut begin = 0;
    while begin < text.len() {
        let end = begin + end_of_line(&text[begin..]);
        lines.push(text.slice(begin..end));
        begin = end;
    }
    lines
}

/// Returns the end of the first line after its newline, ignoring newlines within strings.
///
/// Strings are quoted and occur in fields, that is after the first space without a backslash; within them a
/// backslash escapes the next byte.
fn end_of_line(text: &[u8]) -> usize {
    let mut in_fields = false;
    let mut in_string = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'\\' if in_string || !in_fields => at += 1,
            b'"' if in_fields => in_string = !in_string,
            b' ' => in_fields = true,
            b'\n' if !in_string => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::influxdb::schema::{COLLECTOR, RED, SERVICE};
    use crate::store::influxdb::wire::line::Lines;

    fn part(text: &str) -> Part {
        let lines = Bytes::copy_from_slice(text.as_bytes());
        let points = lines_of(&lines).len() as u64;
        Part { lines, points }
    }

    proptest! {
        /// Whatever names and texts contain, lines are cut where they end, and both halves together are the
        /// whole.
        #[test]
        fn lines_are_cut_where_they_were_made(points in prop::collection::vec((".*", "(?s).*"), 1..20)) {
            let mut lines = Lines::default();
            let mut ends = Vec::new();
            for (service, text) in &points {
                let tags = lines.point(&RED).tag(COLLECTOR, "a").tag(SERVICE, service);
                tags.fields().int("calls", 1).string("h", text).at(7);
                ends.push(lines.bytes());
            }
            let whole = part(lines.text());
            let mut end = 0;
            let cut: Vec<_> = lines_of(&whole.lines)
                .iter()
                .map(|line| { end += line.len(); end })
                .collect();
            prop_assert_eq!(cut, ends);
            if let Some([first, second]) = whole.halves() {
                prop_assert_eq!(first.points + second.points, points.len() as u64);
                prop_assert_eq!([first.lines, second.lines].concat(), whole.lines);
            }
        }
    }

    #[test]
    fn named_lines_are_put_aside_and_only_they() {
        let lines = part("m f=1z 1\nm f=1z 12\nm f=2i 3\n");
        let said = "partial write: unable to parse 'm f=1z 1': invalid number\nunable to parse 'm f=1z 12': invalid \
                    number dropped=0";
        assert_eq!(lines.without_named(said), Some(part("m f=2i 3\n")));
        assert_eq!(lines.without_named("unable to parse 'm f=2i': x"), None);
        assert_eq!(lines.without_named("bad request"), None);
    }

    #[test]
    fn a_limit_is_remembered_and_tried_again_later() {
        let line = "m f=\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" 1\n";
        let large = part(&line.repeat(8_000));
        let mut parts = Parts::default();
        parts.too_large(&large);
        parts.begin(large.clone());
        let half = large.lines.len() / 2;
        let sizes: Vec<_> = std::iter::from_fn(|| parts.next())
            .map(|p| p.lines.len())
            .collect();
        assert_eq!(sizes, [half, half]);
        (0..ACCEPTED_MIN).for_each(|_| parts.accepted());
        parts.begin(large.clone());
        assert_eq!(parts.next(), Some(large));
    }
}
