//! The texts of the scripts: `t("…")` in `assets/*.js` names them in English, and a page in another language loads a
//! file that maps them to that language. It is generated from the scripts and the table.

use std::collections::BTreeMap;

use super::{Language, Text};

/// The scripts that contain texts.
const SCRIPTS: [&str; 7] = [
    include_str!("../../../assets/page.js"),
    include_str!("../../../assets/wall.js"),
    include_str!("../../../assets/copy.js"),
    include_str!("../../../assets/map.js"),
    include_str!("../../../assets/trace.js"),
    include_str!("../../../assets/traces.js"),
    include_str!("../../../assets/upload.js"),
];

/// Returns the script with the texts of all scripts in a language.
pub(crate) fn of_scripts(language: Language) -> String {
    let text = |english| Some((english, Text::find_maybe(english)?.get()));
    let words: BTreeMap<&str, &str> = language.within(|| said().filter_map(text).collect());
    let json = serde_json::to_string(&words).unwrap_or_default();
    format!("window.fuseboxWords = {json};\n")
}

/// Returns the texts in the scripts.
pub(super) fn said() -> impl Iterator<Item = &'static str> {
    SCRIPTS.into_iter().flat_map(said_by)
}

fn said_by(script: &'static str) -> impl Iterator<Item = &'static str> {
    let calls = script.match_indices("t(\"");
    let calls = calls.filter(|(at, _)| {
        let before = script[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
    });
    calls.filter_map(|(at, call)| script[at + call.len()..].split('"').next())
}
