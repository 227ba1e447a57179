//! The texts of the pages in every language. Templates and functions name a text in English, as `t!("Circuits")`, and
//! the reader gets it in the language of the page. All texts are in one table, in parts by page; a missing text is a
//! compile error.
//!
//! Text from outside (names, values, messages of services) is shown unchanged.

/// A text in the language of the current page: `t!("Circuits")`, and with values `t!("{service} is late", service =
/// name)`.
macro_rules! t {
    ($english:literal) => {
        const { $crate::pages::words::Text::find($english).with(&[]) }.get()
    };
    ($english:literal, $($name:ident = $value:expr),+ $(,)?) => {
        $crate::pages::words::fill(
            const { $crate::pages::words::Text::find($english).with(&[$(stringify!($name)),+]) }.get(),
            &[$((stringify!($name), &$value)),+],
        )
    };
}

/// A text in singular or plural: `tn!(3, "{n} span", "{n} spans")`; other values follow as in `t!`.
macro_rules! tn {
    ($count:expr, $one:literal, $many:literal $(, $name:ident = $value:expr)* $(,)?) => {{
        let count = $crate::pages::words::Number::number(&$count);
        let n = $crate::pages::words::count(count);
        match count {
            1 => t!($one, n = n $(, $name = $value)*),
            _ => t!($many, n = n $(, $name = $value)*),
        }
    }};
}

/// A text with markup, for a template. A value `name = value` is escaped; those after a `;` are markup themselves.
macro_rules! h {
    ($english:literal) => {
        ::askama::filters::Safe(t!($english))
    };
    ($english:literal $(, $name:ident = $value:expr)* $(; $($raw:ident = $markup:expr),+)?) => {
        ::askama::filters::Safe(t!(
            $english
            $(, $name = $crate::pages::words::escaped(&$value))*
            $($(, $raw = $markup)+)?
        ))
    };
}

mod circuit;
mod frame;
mod language;
mod messages;
mod pages;
mod script;
#[cfg(test)]
mod tests;
mod trace;
mod traces;
mod view;
mod wall;

use std::fmt::{Display, Write};

pub(crate) use language::Language;
pub(crate) use script::of_scripts;

/// A part of the table: English and Korean. The part of the English after a `#` distinguishes two meanings and is not
/// shown.
type Words = &'static [(&'static str, &'static str)];

/// The table.
const TABLE: [Words; 8] = [
    frame::WORDS,
    view::WORDS,
    wall::WORDS,
    circuit::WORDS,
    trace::WORDS,
    traces::WORDS,
    pages::WORDS,
    messages::WORDS,
];

/// A text in every language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text {
    english: &'static str,
    korean: &'static str,
}

impl Text {
    /// Finds a text in the table. It runs at compile time, which fails if the text is missing.
    pub(crate) const fn find(english: &'static str) -> Self {
        match Self::find_maybe(english) {
            Some(text) => text,
            None => panic!("these words are not in the table of words"),
        }
    }

    /// Returns a text that is the same in every language, such as `p99`.
    pub(crate) const fn same(words: &'static str) -> Self {
        Self {
            english: words,
            korean: words,
        }
    }

    /// Finds a text in the table.
    pub(crate) const fn find_maybe(english: &str) -> Option<Self> {
        let mut part = 0;
        while part < TABLE.len() {
            let mut row = 0;
            while row < TABLE[part].len() {
                let (key, korean) = TABLE[part][row];
                if is_same(key.as_bytes(), english.as_bytes()) {
                    let english = shown(key);
                    return Some(Self { english, korean });
                }
                row += 1;
            }
            part += 1;
        }
        None
    }

    /// Checks that the text has exactly these placeholders.
    pub(crate) const fn with(self, names: &[&str]) -> Self {
        assert!(
            has_places(self.english, names) && has_places(self.korean, names),
            "the words have other places for values"
        );
        self
    }

    /// Returns the English words.
    pub(crate) fn english(self) -> &'static str {
        self.english
    }

    /// Returns the text with values for its placeholders.
    pub(crate) fn filled(self, values: &[(&str, &dyn Display)]) -> String {
        fill(self.get(), values)
    }

    /// Returns the text in the language of the current page.
    pub(crate) fn get(self) -> &'static str {
        match Language::current() {
            Language::English => self.english,
            Language::Korean => self.korean,
        }
    }
}

impl Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.get())
    }
}

/// Returns the messages that come as English text.
pub(crate) fn messages() -> impl Iterator<Item = Text> {
    let rows = messages::WORDS.iter();
    rows.map(|(english, korean)| Text { english, korean })
}

/// Returns the keys of the table.
#[cfg(test)]
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    TABLE.into_iter().flatten().map(|(english, _)| *english)
}

/// Returns the shown part of a key.
const fn shown(key: &'static str) -> &'static str {
    let mut at = 0;
    while at < key.len() {
        if key.as_bytes()[at] == b'#' {
            return key.split_at(at).0;
        }
        at += 1;
    }
    key
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Returns whether a text has each of these placeholders once, and no others.
const fn has_places(text: &str, names: &[&str]) -> bool {
    let (mut at, mut places) = (0, 0);
    while at < text.len() {
        places += (text.as_bytes()[at] == b'{') as usize;
        at += 1;
    }
    let mut name = 0;
    while name < names.len() {
        if !has_place(text.as_bytes(), names[name].as_bytes()) {
            return false;
        }
        name += 1;
    }
    places == names.len()
}

const fn has_place(text: &[u8], name: &[u8]) -> bool {
    let mut at = 0;
    while at + name.len() + 1 < text.len() {
        if text[at] == b'{' && text[at + name.len() + 1] == b'}' {
            let (_, rest) = text.split_at(at + 1);
            if is_same(rest.split_at(name.len()).0, name) {
                return true;
            }
        }
        at += 1;
    }
    false
}

/// Replaces the placeholders of a text by values.
pub(crate) fn fill(text: &'static str, values: &[(&str, &dyn Display)]) -> String {
    let mut filled = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        if let Some((_, value)) = values.iter().find(|(known, _)| *known == name) {
            let _ = write!(filled, "{value}");
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// Returns a value as text within HTML.
pub(crate) fn escaped(value: &impl Display) -> String {
    let text = value.to_string();
    let safe = askama::filters::escape(&text, askama::filters::Html);
    safe.map_or_else(|never| match never {}, |safe| safe.to_string())
}

/// A number to be counted with `tn!`.
pub(crate) trait Number {
    /// Returns it as a number.
    fn number(&self) -> u64;
}

impl Number for u64 {
    fn number(&self) -> u64 {
        *self
    }
}

impl Number for u32 {
    fn number(&self) -> u64 {
        u64::from(*self)
    }
}

impl Number for usize {
    fn number(&self) -> u64 {
        *self as u64
    }
}

impl<T: Number> Number for &T {
    fn number(&self) -> u64 {
        T::number(self)
    }
}

/// Returns a count with separators, or with a unit from ten million on: `61,007`, `31.2 M`.
pub(crate) fn count(value: u64) -> String {
    if value >= 10_000_000 {
        let millions = format!("{:.1}", value as f64 / 1e6);
        return t!("{n} M", n = millions);
    }
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
