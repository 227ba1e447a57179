//! The Rust files of a crate as words: without comments, strings and whatever is compiled for tests only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The modules of a crate: path (`store::embedded`, empty for the root) to file.
pub(crate) type Files = BTreeMap<String, File>;

/// One file of a crate.
pub(crate) struct File {
    /// Where it is, relative to the repository.
    pub(crate) name: String,
    /// Its words: identifiers, `::`, and every other sign for itself.
    pub(crate) tokens: Vec<String>,
}

/// Returns the folder of the repository.
pub(crate) fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let parent = tests.parent().expect("the tests are in the repository");
    parent.to_owned()
}

/// Reads the modules of the crate in that folder.
pub(crate) fn read_crate(folder: &str) -> Files {
    let src = repository().join(folder).join("src");
    let mut files = Files::new();
    let mut for_tests = BTreeSet::new();
    for path in rust_files(&src) {
        let module = module_of(path.strip_prefix(&src).expect("it is below src"));
        let text = std::fs::read_to_string(&path).expect("source is text");
        let (tokens, tests) = without_tests(tokens(&text));
        for_tests.extend(tests.into_iter().map(|name| join(&module, &name)));
        let name = path.strip_prefix(repository()).expect("it is ours");
        let name = name.display().to_string();
        files.insert(module, File { name, tokens });
    }
    files.retain(|module, _| !for_tests.iter().any(|test| is_within(module, test)));
    files
}

/// Returns every Rust file below a folder.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

/// Returns a module's path with one more name.
pub(crate) fn join(module: &str, name: &str) -> String {
    match module {
        "" => name.to_owned(),
        module => format!("{module}::{name}"),
    }
}

/// Returns whether a module is another or lies below it.
pub(crate) fn is_within(module: &str, other: &str) -> bool {
    let rest = module.strip_prefix(other);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn module_of(path: &Path) -> String {
    let path = path.with_extension("");
    let names = path.iter().map(|name| name.to_string_lossy());
    let names: Vec<_> = names
        .filter(|name| name != "mod" && name != "lib")
        .collect();
    names.join("::")
}

/// Splits source into words.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |at| at + 2),
            '"' => string_length(rest),
            'r' | 'b' | 'c' if raw_string_length(rest).is_some() => {
                raw_string_length(rest).unwrap_or(1)
            }
            '\'' => char_length(rest),
            _ if first.is_alphanumeric() || first == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                let end = end.unwrap_or(rest.len());
                tokens.push(rest[..end].to_owned());
                end
            }
            ':' if rest.starts_with("::") => {
                tokens.push("::".to_owned());
                2
            }
            _ if first.is_whitespace() => first.len_utf8(),
            _ => {
                tokens.push(first.to_string());
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Returns the length of `r"…"`, `br#"…"#`, `b"…"` and their like; nothing where the text does not begin with one.
fn raw_string_length(text: &str) -> Option<usize> {
    let quote = text.find(|c: char| !matches!(c, 'r' | 'b' | 'c' | '#'))?;
    let (prefix, string) = text.split_at(quote);
    if !string.starts_with('"') {
        return None;
    }
    let hashes = prefix.trim_start_matches(['r', 'b', 'c']);
    if hashes.contains(|c| c != '#') {
        return None;
    }
    if !prefix.contains('r') {
        return Some(quote + string_length(string));
    }
    let end = format!("\"{hashes}");
    let length = string[1..].find(&end)?;
    Some(quote + 1 + length + end.len())
}

/// Returns the length of a character, or of a lifetime's apostrophe.
fn char_length(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            let rest = chars.skip(1);
            let mut rest = rest.skip_while(|(_, c)| *c != '\'');
            rest.next().map_or(text.len(), |(at, _)| at + 1)
        }
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// Leaves out every item below `#[cfg(test)]`; returns the names of modules in other files among them.
fn without_tests(tokens: Vec<String>) -> (Vec<String>, Vec<String>) {
    const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut rest = tokens.as_slice();
    while !rest.is_empty() {
        if rest.len() > CFG_TEST.len() && rest[..CFG_TEST.len()] == CFG_TEST {
            rest = &rest[CFG_TEST.len()..];
            let length = item_length(rest);
            if let [.., module, name, end] = &rest[..length]
                && module == "mod"
                && end == ";"
            {
                modules.push(name.clone());
            }
            rest = &rest[length..];
        } else {
            kept.push(rest[0].clone());
            rest = &rest[1..];
        }
    }
    (kept, modules)
}

/// Returns the length of an item: up to a semicolon or the end of its braces.
fn item_length(tokens: &[String]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" if depth == 1 => return at + 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}
