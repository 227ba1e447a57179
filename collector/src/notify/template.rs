//! Templates of webhooks: JSON whose texts contain `{{names}}` to be replaced by values. Texts are replaced
//! before they are serialised, so that no value can break out of its string.

use serde_json::Value;

/// Names and their values.
pub(super) type Values<'a> = [(&'static str, &'a str)];

pub(super) const NAMES: [&str; 11] = [
    "event", "title", "text", "service", "circuit", "instance", "reason", "since", "until", "link",
    "trace",
];
const DEPTH_MAX: usize = 32;

/// Describes what is wrong with a template.
pub(super) fn check(template: &Value) -> Result<(), String> {
    check_within(template, DEPTH_MAX)
}

fn check_within(template: &Value, depth: usize) -> Result<(), String> {
    let below = |one: &Value| match depth {
        0 => Err(format!("template: deeper than {DEPTH_MAX}")),
        _ => check_within(one, depth - 1),
    };
    match template {
        Value::String(text) => check_text(text),
        Value::Array(all) => all.iter().try_for_each(below),
        Value::Object(all) => all.values().try_for_each(below),
        _ => Ok(()),
    }
}

fn check_text(text: &str) -> Result<(), String> {
    let places = text.split("{{").skip(1);
    let mut names = places.map(|place| place.split("}}").next().unwrap_or_default().trim());
    match names.find(|name| !NAMES.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let name: String = name.chars().take(50).collect();
            let known = NAMES.join(", ");
            Err(format!(
                "template: there is no {{{{{name}}}}}; there are {known}"
            ))
        }
    }
}

pub(super) fn fill(template: &Value, values: &Values<'_>) -> Value {
    match template {
        Value::String(text) => Value::String(fill_text(text, values)),
        Value::Array(all) => all.iter().map(|one| fill(one, values)).collect(),
        Value::Object(all) => {
            let filled = all
                .iter()
                .map(|(key, one)| (key.clone(), fill(one, values)));
            Value::Object(filled.collect())
        }
        other => other.clone(),
    }
}

fn fill_text(text: &str, values: &Values<'_>) -> String {
    let mut parts = text.split("{{");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or((part, ""));
        let value = values.iter().find(|(known, _)| *known == name.trim());
        filled.push_str(value.map_or("", |(_, value)| value));
        filled.push_str(rest);
    }
    filled
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_replaced_and_values_stay_in_their_place() {
        let template =
            json!({"a": ["x {{title}}, {{ service }}", 7], "{{title}}": {"b": "{{reason}}"}});
        assert_eq!(check(&template), Ok(()));
        let values = [("title", "\"}, {{reason}}"), ("service", "shop")];
        let expected = json!({"a": ["x \"}, {{reason}}, shop", 7], "{{title}}": {"b": ""}});
        assert_eq!(fill(&template, &values), expected);
    }

    #[test]
    fn unknown_names_are_refused() {
        for wrong in [
            json!("{{titel}}"),
            json!(["{{"]),
            json!({"a": {"b": "{{title}"}}),
        ] {
            assert!(
                check(&wrong).unwrap_err().contains("there is no"),
                "{wrong}"
            );
        }
        let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
        assert!(check(&deep).unwrap_err().contains("deeper"));
    }
}
