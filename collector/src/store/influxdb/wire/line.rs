//! Line protocol: points as text, escaped so that no external name or value can break a line.
//!
//! The rules are those of InfluxDB's parser (`models/points.go`): a tag value must not be empty or end in a
//! backslash, integers end in `i`, a string escapes `\` and `"` and may contain raw newlines.

use std::borrow::Cow;
use std::fmt::Write;

use crate::store::influxdb::schema::Measurement;

/// Longest tag value, bytes: names are labels, and a whole series key is limited to 65,535 bytes.
pub(crate) const TAG_BYTES_MAX: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Lines {
    text: String,
    count: usize,
}

impl Lines {
    /// Begins a point; its tags must be added in the order of their names.
    pub(crate) fn point(&mut self, measurement: &Measurement) -> Tags<'_> {
        let begin = self.text.len();
        self.text.push_str(measurement.name);
        Tags { lines: self, begin }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn take(&mut self) -> String {
        self.count = 0;
        std::mem::take(&mut self.text)
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// A point in the state of adding tags.
#[derive(Debug)]
pub(crate) struct Tags<'a> {
    lines: &'a mut Lines,
    begin: usize,
}

impl<'a> Tags<'a> {
    /// Adds a tag; an empty value is omitted.
    pub(crate) fn tag(self, key: &'static str, value: &str) -> Self {
        push_tag(&mut self.lines.text, key, value);
        self
    }

    pub(crate) fn fields(self) -> Fields<'a> {
        Fields {
            lines: self.lines,
            begin: self.begin,
            any: false,
        }
    }
}

/// A point in the state of adding fields.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    lines: &'a mut Lines,
    begin: usize,
    any: bool,
}

impl Fields<'_> {
    pub(crate) fn int(mut self, key: &'static str, value: i64) -> Self {
        self.key(key);
        push_number(&mut self.lines.text, value);
        self.lines.text.push('i');
        self
    }

    /// Adds a count, saturated at the largest signed integer.
    pub(crate) fn count(self, key: &'static str, value: u64) -> Self {
        self.int(key, i64::try_from(value).unwrap_or(i64::MAX))
    }

    /// Adds a float; NaN and infinity are omitted.
    pub(crate) fn float(mut self, key: &'static str, value: f64) -> Self {
        if value.is_finite() {
            self.key(key);
            let _ = write!(self.lines.text, "{value}");
        }
        self
    }

    pub(crate) fn bool(mut self, key: &'static str, value: bool) -> Self {
        self.key(key);
        self.lines.text.push(if value { 't' } else { 'f' });
        self
    }

    /// Adds a text; an empty one is omitted (openGemini rejects it).
    pub(crate) fn string(mut self, key: &'static str, value: &str) -> Self {
        if !value.is_empty() {
            self.key(key);
            let text = &mut self.lines.text;
            text.push('"');
            push_escaped(text, value);
            text.push('"');
        }
        self
    }

    /// Adds a text that is written as it is: what a string must not hold is escaped already.
    pub(crate) fn escaped(mut self, key: &'static str, value: &str) -> Self {
        self.key(key);
        self.lines.text.push('"');
        self.lines.text.push_str(value);
        self.lines.text.push('"');
        self
    }

    /// Ends the point; without fields it is omitted.
    pub(crate) fn at(self, unix_nanos: u64) {
        if !self.any {
            self.lines.text.truncate(self.begin);
            return;
        }
        self.lines.text.push(' ');
        push_number(&mut self.lines.text, unix_nanos);
        self.lines.text.push('\n');
        self.lines.count += 1;
    }

    fn key(&mut self, key: &'static str) {
        self.lines.text.push(if self.any { ',' } else { ' ' });
        self.lines.text.push_str(key);
        self.lines.text.push('=');
        self.any = true;
    }
}

/// Writes a comma and a tag; an empty value is omitted.
pub(crate) fn push_tag(text: &mut String, key: &'static str, value: &str) {
    let value = tag_value(value);
    if value.is_empty() {
        return;
    }
    text.push(',');
    text.push_str(key);
    text.push('=');
    for c in value.chars() {
        if matches!(c, ',' | '=' | ' ') {
            text.push('\\');
        }
        text.push(c);
    }
}

#[inline]
pub(crate) fn push_number(text: &mut String, number: impl itoa::Integer) {
    text.push_str(itoa::Buffer::new().format(number));
}

pub(crate) fn push_escaped(text: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\')) {
        text.push_str(&rest[..at]);
        text.push('\\');
        text.push_str(&rest[at..=at]);
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
}

/// Returns a name as it is written in a tag: without backslashes and control characters, cut to
/// `TAG_BYTES_MAX`.
///
/// Readers use the same function, so that they find a name as it was written.
pub(crate) fn tag_value(name: &str) -> Cow<'_, str> {
    let cut = crate::model::cut(name, TAG_BYTES_MAX);
    if !cut.contains(|c: char| c == '\\' || c.is_control()) {
        return Cow::Borrowed(cut);
    }
    let plain = |c: char| match c {
        '\\' => '/',
        c if c.is_control() => ' ',
        c => c,
    };
    Cow::Owned(cut.chars().map(plain).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::influxdb::schema::{COLLECTOR, RED, SERVICE};

    #[test]
    fn names_and_values_from_outside_stay_where_they_belong() {
        let mut lines = Lines::default();
        let point = lines
            .point(&RED)
            .tag(COLLECTOR, "a b")
            .tag(SERVICE, "x,y=z\\\n");
        point
            .fields()
            .int("calls", -1)
            .string("h", "say \"\\\"\n")
            .at(7);
        let wanted = "red,c=a\\ b,svc=x\\,y\\=z/\\  calls=-1i,h=\"say \\\"\\\\\\\"\n\" 7\n";
        assert_eq!(lines.text(), wanted);
        assert_eq!(lines.count(), 1);
    }

    #[test]
    fn a_point_without_fields_is_none() {
        let mut lines = Lines::default();
        lines
            .point(&RED)
            .tag(SERVICE, "")
            .fields()
            .float("x", f64::NAN)
            .at(1);
        assert_eq!((lines.text(), lines.count()), ("", 0));
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let name = "ü".repeat(200);
        assert_eq!(tag_value(&name).len(), TAG_BYTES_MAX);
    }
}
