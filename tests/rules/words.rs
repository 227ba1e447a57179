//! Words that this project does not use, in documents, comments, texts and names: each has a plainer or more usual one.

use std::path::{Path, PathBuf};

use crate::source::repository;

/// What not to write, and what to write instead.
const REPLACED: &[(&str, &str)] = &[
    ("came to grief", "failed"),
    ("company", "others, collectors"),
    ("come to grief", "fail"),
    ("comes of", "results from"),
    ("convict", "reject"),
    ("convicts", "rejects"),
    ("dispelled", "resolved"),
    ("gist", "row"),
    ("hearsay", "derived"),
    ("heeded", "respected"),
    ("in its right mind", "working"),
    ("let go of", "dropped"),
    ("lets go", "drops"),
    ("nobody", "no client, no caller, none"),
    ("patience", "timeout"),
    ("seldom", "rarely"),
    ("spelt", "written"),
    ("stranger", "anonymous, untrusted peer"),
    ("strangers", "untrusted peers"),
    ("sunk", "boxed future"),
    ("suspicion", "refusal"),
    ("told", "reported, shown, distinguished"),
    ("truth values", "booleans"),
    ("what becomes of", "the outcome of"),
    ("witness", "known good line"),
];

const FOLDERS: [&str; 5] = [
    "collector",
    "dashboard",
    "grafana",
    "instrumentation",
    "tests",
];
const ENDINGS: [&str; 5] = ["rs", "md", "html", "toml", "yaml"];

/// Guarantees: no file uses one of the replaced words, on its own or as a part of a name (`NextWord`, `next_word`).
#[test]
fn words_are_plain() {
    let replaced: Vec<(Vec<&str>, &str)> = REPLACED
        .iter()
        .map(|(words, instead)| (words.split(' ').collect(), *instead))
        .collect();
    let mut found = Vec::new();
    for path in files() {
        let text = std::fs::read_to_string(&path).expect("a file of text");
        let words = words(&text);
        for (phrase, instead) in &replaced {
            let places = words.windows(phrase.len());
            let places = places.filter(|place| place.iter().map(|(_, word)| word).eq(phrase));
            found.extend(places.map(|place| {
                let (path, line) = (path.display(), place[0].0);
                format!("{path}:{line}: {}: write {instead:?}", phrase.join(" "))
            }));
        }
    }
    assert!(found.is_empty(), "plainer words:\n{}", found.join("\n"));
}

/// Returns the files that people write, but for the one with the list.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        add_files(&repository().join(folder), &mut files);
    }
    let top = std::fs::read_dir(repository()).expect("the repository");
    files.extend(top.map(|entry| entry.expect("an entry").path()));
    let is_text = |path: &Path| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| ENDINGS.contains(&ending))
    };
    files.retain(|path| path.is_file() && is_text(path) && !path.ends_with(file!()));
    files
}

fn add_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            if !path.ends_with("target") {
                add_files(&path, files);
            }
        } else {
            files.push(path);
        }
    }
}

/// Splits text into lower-case words, each with its line: `NextWord` and `next_word` are two words.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let mut word = String::new();
        for c in text.chars().chain(Some(' ')) {
            let ends = !c.is_alphabetic() || c.is_uppercase();
            if ends && !word.is_empty() {
                words.push((line, std::mem::take(&mut word)));
            }
            if c.is_alphabetic() {
                word.extend(c.to_lowercase());
            }
        }
    }
    words
}
