//! Text for a person at a terminal: results on standard output, problems on standard error.
//!
//! Text from outside (a sender, an InfluxDB, a file name) cannot move the cursor, change colours or hide other text:
//! such characters are escaped. A closed pipe is not an error.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;

/// Writes lines to standard output.
pub fn print(lines: impl Display) {
    // The reader may have ended (`| head`), which must not affect the program.
    let _closed = writeln!(std::io::stdout(), "{}", lines_of(&lines.to_string()));
}

/// Writes a problem to standard error.
pub fn complain(problem: impl Display) {
    let _closed = writeln!(
        std::io::stderr(),
        "fusebox: {}",
        lines_of(&problem.to_string())
    );
}

/// Returns a text with escapes (`\u{1b}`) for characters that control a terminal, or that reorder or hide others.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|c| match is_obeyed(c) {
        true => c.escape_unicode().to_string(),
        false => c.to_string(),
    });
    Cow::Owned(shown.collect())
}

/// As `printable`, but keeps line ends.
fn lines_of(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

/// Control characters (C0, C1), and characters that reorder or hide text: zero-width and bidirectional marks, isolates,
/// overrides, the byte order mark (Unicode's "Bidi_Control" and the invisible ones of its general punctuation).
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_from_elsewhere() {
        assert_eq!(printable("plain, ümläut 中"), "plain, ümläut 中");
        assert_eq!(printable("a\u{1b}[2Jb\r\n"), "a\\u{1b}[2Jb\\u{d}\\u{a}");
        assert_eq!(
            printable("\u{9b}31m\u{202e}x\u{200b}"),
            "\\u{9b}31m\\u{202e}x\\u{200b}"
        );
        assert_eq!(lines_of("one\ntwo\u{7}"), "one\ntwo\\u{7}");
    }
}
