//! Indents JSON by four spaces for `prettyPrint`, piece by piece.

use crate::api::pieces::Write;

const SPACES: &[u8] = b"    ";

/// Returns a writer that indents the compact JSON of another.
pub(super) fn indented(mut compact: impl Write) -> impl Write {
    let mut state = State::default();
    let mut piece = Vec::new();
    move |out: &mut Vec<u8>| {
        piece.clear();
        let goes_on = compact(&mut piece);
        piece.iter().for_each(|byte| state.write(*byte, out));
        goes_on
    }
}

/// The position in the JSON.
#[derive(Debug, Default)]
struct State {
    depth: usize,
    in_text: bool,
    is_escaped: bool,
    /// Whether the last byte opened a bracket.
    is_just_opened: bool,
}

impl State {
    fn write(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.in_text {
            self.in_text = byte != b'"' || self.is_escaped;
            self.is_escaped = byte == b'\\' && !self.is_escaped;
            return out.push(byte);
        }
        let was_just_opened = std::mem::take(&mut self.is_just_opened);
        match byte {
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if !was_just_opened {
                    self.line(out);
                }
            }
            _ if was_just_opened => self.line(out),
            _ => {}
        }
        out.push(byte);
        match byte {
            b'{' | b'[' => {
                self.depth += 1;
                self.is_just_opened = true;
            }
            b',' => self.line(out),
            b':' => out.push(b' '),
            b'"' => self.in_text = true,
            _ => {}
        }
    }

    fn line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        (0..self.depth).for_each(|_| out.extend_from_slice(SPACES));
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_what_serde_writes() {
        let value = json!({
            "empty": [[], {}, ""],
            "text \\ \"{[,:": "a\\\\\"b\n{",
            "list": [1, -2.5, null, true, {"k": {"m": [[1], [2, 3]]}}],
        });
        let compact = value.to_string().into_bytes();
        let mut bytes = compact.into_iter();
        let mut write = indented(move |out: &mut Vec<u8>| {
            out.extend(bytes.next());
            bytes.len() > 0
        });
        let mut out = Vec::new();
        while write(&mut out) {}
        let mut expected = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(SPACES);
        let mut serializer = serde_json::Serializer::with_formatter(&mut expected, formatter);
        value.serialize(&mut serializer).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            String::from_utf8(expected).unwrap()
        );
    }
}
