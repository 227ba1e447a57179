//! Small XML documents as JSON values, by the convention of Eureka's JSON: attributes are `@name`, the text beside them
//! is `$`, repeated elements are a list, and an element with neither attributes nor children is its text.
//!
//! The reader knows elements, attributes, text, CDATA, comments, the five predefined entities and character references.
//! It refuses document types, so there are no other entities to expand.

use std::fmt::Write;

use serde_json::{Map, Value};

/// Deepest nesting; a registration has three levels.
const DEPTH_MAX: usize = 16;

/// Why a document was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum XmlError {
    #[error("document types and their entities are not read")]
    DocumentType,
    #[error("an unknown entity or an invalid character reference")]
    Entity,
    #[error("elements are nested more than {DEPTH_MAX} deep")]
    TooDeep,
    #[error("it is not well-formed")]
    Malformed,
}

enum Token<'a> {
    Open {
        name: &'a str,
        attributes: Map<String, Value>,
        is_empty: bool,
    },
    Close(&'a str),
    Text(String),
}

/// Reads a document: an object with its root element.
pub(crate) fn read_xml(text: &str) -> Result<Value, XmlError> {
    let mut reader = Reader(text);
    let mut open: Vec<(&str, Element)> = vec![("", Element::default())];
    while let Some(token) = reader.next()? {
        match token {
            Token::Text(text) => top(&mut open)?.text.push_str(&text),
            Token::Open {
                name,
                attributes,
                is_empty,
            } => {
                let element = Element {
                    fields: attributes,
                    text: String::new(),
                };
                match is_empty {
                    _ if open.len() > DEPTH_MAX => return Err(XmlError::TooDeep),
                    true => top(&mut open)?.add(name, element.value()),
                    false => open.push((name, element)),
                }
            }
            Token::Close(name) => match open.pop() {
                Some((opened, element)) if opened == name => {
                    top(&mut open)?.add(name, element.value());
                }
                _ => return Err(XmlError::Malformed),
            },
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some((_, document)), true) if document.fields.len() == 1 => {
            Ok(Value::Object(document.fields))
        }
        _ => Err(XmlError::Malformed),
    }
}

fn top<'a>(open: &'a mut [(&str, Element)]) -> Result<&'a mut Element, XmlError> {
    let last = open.last_mut().map(|(_, element)| element);
    last.ok_or(XmlError::Malformed)
}

#[derive(Default)]
struct Element {
    fields: Map<String, Value>,
    text: String,
}

impl Element {
    fn add(&mut self, name: &str, value: Value) {
        match self.fields.get_mut(name) {
            None => {
                self.fields.insert(name.to_owned(), value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }

    fn value(mut self) -> Value {
        let text = self.text.trim();
        if self.fields.is_empty() {
            return Value::from(text);
        }
        if !text.is_empty() {
            self.fields.insert("$".to_owned(), Value::from(text));
        }
        Value::Object(self.fields)
    }
}

struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<Token<'a>>, XmlError> {
        loop {
            if self.0.is_empty() {
                return Ok(None);
            }
            if let Some(rest) = self.0.strip_prefix("<!--") {
                self.0 = rest;
                self.until("-->")?;
            } else if let Some(rest) = self.0.strip_prefix("<?") {
                self.0 = rest;
                self.until("?>")?;
            } else if let Some(rest) = self.0.strip_prefix("<![CDATA[") {
                self.0 = rest;
                return Ok(Some(Token::Text(self.until("]]>")?.to_owned())));
            } else if self.0.starts_with("<!") {
                return Err(XmlError::DocumentType);
            } else if let Some(rest) = self.0.strip_prefix("</") {
                self.0 = rest;
                return Ok(Some(Token::Close(self.until(">")?.trim_end())));
            } else if let Some(rest) = self.0.strip_prefix('<') {
                self.0 = rest;
                return self.open().map(Some);
            } else {
                let end = self.0.find('<').unwrap_or(self.0.len());
                let (text, rest) = self.0.split_at(end);
                self.0 = rest;
                return Ok(Some(Token::Text(unescaped(text)?)));
            }
        }
    }

    /// Returns what is before `end`, and continues after it.
    fn until(&mut self, end: &str) -> Result<&'a str, XmlError> {
        let (before, rest) = self.0.split_once(end).ok_or(XmlError::Malformed)?;
        self.0 = rest;
        Ok(before)
    }

    fn open(&mut self) -> Result<Token<'a>, XmlError> {
        let name = self.name()?;
        let mut attributes = Map::new();
        loop {
            self.0 = self.0.trim_start();
            if let Some(rest) = self.0.strip_prefix('>') {
                self.0 = rest;
                break;
            }
            if let Some(rest) = self.0.strip_prefix("/>") {
                self.0 = rest;
                return Ok(Token::Open {
                    name,
                    attributes,
                    is_empty: true,
                });
            }
            let key = self.name()?;
            let rest = self.0.trim_start().strip_prefix('=');
            self.0 = rest.ok_or(XmlError::Malformed)?.trim_start();
            let quote = self.0.get(..1).filter(|quote| matches!(*quote, "\"" | "'"));
            let quote = quote.ok_or(XmlError::Malformed)?;
            self.0 = &self.0[1..];
            let value = unescaped(self.until(quote)?)?;
            attributes.insert(format!("@{key}"), value.into());
        }
        Ok(Token::Open {
            name,
            attributes,
            is_empty: false,
        })
    }

    fn name(&mut self) -> Result<&'a str, XmlError> {
        let end = self
            .0
            .find(|c: char| !is_of_name(c))
            .unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(end);
        self.0 = rest;
        let is_name = name.starts_with(|c: char| is_of_name(c) && !is_inner(c));
        is_name.then_some(name).ok_or(XmlError::Malformed)
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | ':' | '-' | '.')
}

/// Whether a name cannot start with it.
fn is_inner(c: char) -> bool {
    c.is_numeric() || matches!(c, '-' | '.')
}

fn unescaped(text: &str) -> Result<String, XmlError> {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split('&');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (entity, rest) = part.split_once(';').ok_or(XmlError::Entity)?;
        out.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            reference => referenced(reference).ok_or(XmlError::Entity)?,
        });
        out.push_str(rest);
    }
    Ok(out)
}

fn referenced(reference: &str) -> Option<char> {
    let number = reference.strip_prefix('#')?;
    let code = match number.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    char::from_u32(code.ok()?).filter(|c| is_xml(*c))
}

/// Whether XML 1.0 allows a character (2.2).
fn is_xml(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Appends a value as the element `name`. Characters that XML does not allow become U+FFFD in texts and `_` in names.
pub(crate) fn put_xml(out: &mut String, name: &str, value: &Value) {
    let Value::Object(fields) = value else {
        return match value {
            Value::Array(list) => list.iter().for_each(|one| put_xml(out, name, one)),
            Value::Null => {}
            scalar => {
                put_tag(out, "<", name);
                out.push('>');
                put_text(out, scalar);
                put_tag(out, "</", name);
                out.push('>');
            }
        };
    };
    put_tag(out, "<", name);
    for (attribute, value) in fields {
        if let Some(attribute) = attribute.strip_prefix('@') {
            put_tag(out, " ", attribute);
            out.push_str("=\"");
            put_text(out, value);
            out.push('"');
        }
    }
    out.push('>');
    for (child, value) in fields.iter().filter(|(name, _)| !name.starts_with('@')) {
        match child.as_str() {
            "$" => put_text(out, value),
            child => put_xml(out, child, value),
        }
    }
    put_tag(out, "</", name);
    out.push('>');
}

fn put_tag(out: &mut String, before: &str, name: &str) {
    out.push_str(before);
    // Fewer than XML allows: which letters it does depends on its version, and a colon begins a namespace.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(|c: char| begins(c) || !is_plain(c)) {
        out.push('_');
    }
    out.extend(name.chars().map(|c| if is_plain(c) { c } else { '_' }));
}

fn put_text(out: &mut String, value: &Value) {
    let Value::String(text) = value else {
        // Numbers and booleans; writing to a string cannot fail.
        let _ = write!(out, "{value}");
        return;
    };
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Readers would turn it into a line feed.
            '\r' => out.push_str("&#13;"),
            c if is_xml(c) => out.push(c),
            _ => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_attributes_and_texts_are_read() {
        let text = r#"<?xml version="1.0"?><!-- no --><instance>
            <port enabled='true'>80&#x38;0</port><empty/><a x="&lt;1"/>
            <metadata><zone>b &amp; c</zone><raw><![CDATA[<&>]]></raw></metadata>
            <list>1</list><list>2</list></instance>"#;
        let read = read_xml(text).unwrap();
        let expected = json!({"instance": {
            "port": {"@enabled": "true", "$": "8080"},
            "empty": "", "a": {"@x": "<1"},
            "metadata": {"zone": "b & c", "raw": "<&>"},
            "list": ["1", "2"],
        }});
        assert_eq!(read, expected);
        let mut written = String::new();
        put_xml(&mut written, "instance", &read["instance"]);
        assert_eq!(read_xml(&written).unwrap(), expected);
    }

    #[test]
    fn document_types_and_entities_are_refused() {
        let bomb = r#"<!DOCTYPE a [<!ENTITY b "bbb">]><a>&b;</a>"#;
        assert_eq!(read_xml(bomb), Err(XmlError::DocumentType));
        for entity in ["&b;", "&", "&#0;", "&#xfffe;", "&#x110000;", "&#;"] {
            let text = format!("<a>{entity}</a>");
            assert_eq!(read_xml(&text), Err(XmlError::Entity), "{entity}");
        }
        let deep = "<a>".repeat(100_000);
        assert_eq!(read_xml(&deep), Err(XmlError::TooDeep));
        for malformed in [
            "", "text", "<a>", "</a>", "<a></b>", "<a b>", "<a b=c/>", "<a b='>", "<1/>",
            "<a/><b/>", "<é", "<a b=é",
        ] {
            assert_eq!(read_xml(malformed), Err(XmlError::Malformed), "{malformed}");
        }
    }

    #[test]
    fn nothing_written_leaves_its_element() {
        let hostile = json!({
            "a b><x": "</i>\u{0}&\"\r", "@c\"": "\"><y/>", "1": 2, "": "x", "µ:b": "y",
        });
        let mut out = String::new();
        put_xml(&mut out, "i", &hostile);
        let read = read_xml(&out).unwrap();
        let expected = json!({"i": {
            "a_b__x": "</i>\u{fffd}&\"", "@c_": "\"><y/>", "_1": "2", "_": "x", "__b": "y",
        }});
        assert_eq!(read, expected);
    }
}
