//! A value that is JSON, a list or a map, as a flat list of parts that a template prints in order: opening, content,
//! closing.

use fusebox_collector::model::Value;
use serde_json::Value as Json;

use crate::pages::view::text::{self, VALUE_CHARS};

/// Most parts of one value; of a larger one only the text is shown.
const PARTS_MAX: usize = 500;
/// Most levels of one value.
const LEVELS_MAX: usize = 32;

/// A part of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// The start of an object or list: its name in its parent, and its kind.
    Open(String, String),
    /// The end of an object or list.
    Close,
    /// A value with its name.
    Leaf(String, String),
}

/// Returns the parts of a non-empty object or list; `None` for any other value, and for one that is too large.
pub(crate) fn parts(value: &Value) -> Option<Vec<Part>> {
    let json = match value {
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            serde_json::from_str(text).ok()?
        }
        Value::Array(_) | Value::Map(_) => json_of(value, LEVELS_MAX)?,
        _ => return None,
    };
    let mut parts = Vec::new();
    put(String::new(), &json, LEVELS_MAX, &mut parts)?;
    (parts.len() > 2).then_some(parts)
}

fn put(name: String, json: &Json, levels: usize, parts: &mut Vec<Part>) -> Option<()> {
    if parts.len() >= PARTS_MAX {
        return None;
    }
    let below = levels.checked_sub(1)?;
    match json {
        Json::Object(entries) => {
            parts.push(Part::Open(name, format!("{{{}}}", entries.len())));
            for (key, value) in entries {
                put(text::name(key).into_owned(), value, below, parts)?;
            }
            parts.push(Part::Close);
        }
        Json::Array(items) => {
            parts.push(Part::Open(name, format!("[{}]", items.len())));
            for (index, value) in items.iter().enumerate() {
                put(index.to_string(), value, below, parts)?;
            }
            parts.push(Part::Close);
        }
        Json::String(value) => {
            let value = text::shown(value, VALUE_CHARS).into_owned();
            parts.push(Part::Leaf(name, value));
        }
        other => parts.push(Part::Leaf(name, other.to_string())),
    }
    Some(())
}

fn json_of(value: &Value, levels: usize) -> Option<Json> {
    let below = levels.checked_sub(1)?;
    Some(match value {
        Value::Array(items) => {
            let items = items.iter().map(|item| json_of(item, below));
            Json::Array(items.collect::<Option<_>>()?)
        }
        Value::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| Some((key.clone(), json_of(value, below)?)));
            Json::Object(entries.collect::<Option<_>>()?)
        }
        Value::Empty => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => Json::from(*number),
        other => Json::String(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_maps_open_into_their_parts_and_other_values_do_not() {
        let leaf = |name: &str, value: &str| Part::Leaf(name.to_owned(), value.to_owned());
        let open = |name: &str, value: &str| Part::Open(name.to_owned(), value.to_owned());
        let wanted = vec![
            open("", "{2}"),
            leaf("a", "1"),
            open("b", "[1]"),
            leaf("0", "x"),
            Part::Close,
            Part::Close,
        ];
        let text = Value::String("{\"a\": 1, \"b\": [\"x\"]}".to_owned());
        assert_eq!(parts(&text), Some(wanted.clone()));
        let list = Value::Array(vec![Value::String("x".to_owned())]);
        let map = Value::Map(vec![
            ("a".to_owned(), Value::Int(1)),
            ("b".to_owned(), list),
        ]);
        assert_eq!(parts(&map), Some(wanted));
        for plain in ["{}", "[", "text", "{not json}", "12"] {
            assert_eq!(parts(&Value::String(plain.to_owned())), None, "{plain}");
        }
        let hostile = Value::String("[\"a\\u202eb\", {\"\\u202e\": 1}]".to_owned());
        let shown = format!("{:?}", parts(&hostile).expect("parts"));
        assert!(
            !shown.contains("202e"),
            "no part reorders the page: {shown}"
        );
        let large = format!("[{}0]", "0,".repeat(PARTS_MAX));
        assert_eq!(parts(&Value::String(large)), None);
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(parts(&Value::String(deep)), None);
    }
}
