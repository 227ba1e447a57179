//! Which file of a crate takes names from which: imports and paths, followed through re-exports to where the name is
//! defined.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{File, Files, join};

/// From a file's module to the modules that it takes names from.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// A path as it is written, and the name that it has here.
#[derive(Debug, Clone)]
struct Import {
    path: Vec<String>,
    name: String,
    is_exported: bool,
}

/// Returns the arrows between the files of a crate.
pub(crate) fn graph(files: &Files) -> Graph {
    let imports: BTreeMap<&str, Vec<Import>> = files
        .iter()
        .map(|(module, file)| (module.as_str(), imports(&file.tokens)))
        .collect();
    let crate_ = Crate { files, imports };
    let mut graph = Graph::new();
    for (module, file) in files {
        let arrows = crate_.arrows(module, file);
        graph.insert(module.clone(), arrows);
    }
    graph
}

struct Crate<'a> {
    files: &'a Files,
    imports: BTreeMap<&'a str, Vec<Import>>,
}

impl Crate<'_> {
    fn arrows(&self, module: &str, file: &File) -> BTreeSet<String> {
        let imports = self.imports[module].iter();
        let imports = imports.filter(|import| !import.is_exported);
        let imported = imports.map(|import| import.path.clone());
        let written = paths(&file.tokens);
        let targets = imported.chain(written);
        let mut targets: BTreeSet<String> = targets
            .filter_map(|path| self.resolve(module, &path, 0))
            .collect();
        targets.retain(|target| !crate::source::is_within(module, target) && !target.is_empty());
        targets
    }

    /// Returns the module in which that path's last name is defined, if it is of this crate.
    fn resolve(&self, module: &str, path: &[String], depth: u32) -> Option<String> {
        const DEPTH_MAX: u32 = 8;
        if depth > DEPTH_MAX {
            return None;
        }
        let (first, rest) = path.split_first()?;
        let child = join(module, first);
        match first.as_str() {
            "crate" => self.descend(String::new(), rest, depth),
            "self" => self.descend(module.to_owned(), rest, depth),
            "super" => {
                let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
                match rest.first().map(String::as_str) {
                    Some("super") => self.resolve(parent, rest, depth + 1),
                    _ => self.descend(parent.to_owned(), rest, depth),
                }
            }
            _ if self.files.contains_key(&child) => self.descend(child, rest, depth),
            _ => {
                let imports = self.imports.get(module)?;
                let import = imports.iter().find(|import| import.name == *first)?;
                if import.path == path {
                    return None;
                }
                let path = [&import.path[..], rest].concat();
                self.resolve(module, &path, depth + 1)
            }
        }
    }

    fn descend(&self, mut module: String, path: &[String], depth: u32) -> Option<String> {
        for (at, name) in path.iter().enumerate() {
            let child = join(&module, name);
            if self.files.contains_key(&child) {
                module = child;
                continue;
            }
            let imports = self.imports.get(module.as_str())?.iter();
            let exported = imports
                .filter(|import| import.is_exported)
                .find(|import| import.name == *name);
            return match exported {
                Some(import) => {
                    let path = [&import.path[..], &path[at + 1..]].concat();
                    self.resolve(&module, &path, depth + 1)
                }
                None => Some(module),
            };
        }
        Some(module)
    }
}

/// Returns what a file imports and re-exports.
fn imports(tokens: &[String]) -> Vec<Import> {
    let mut imports = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| tokens[before].as_str());
        // `use<..>` in a return type is no import.
        if token != "use" || tokens.get(at + 1).is_some_and(|next| next == "<") {
            continue;
        }
        let is_exported = matches!(before, Some("pub" | ")"));
        let end = tokens[at..].iter().position(|token| token == ";");
        let end = end.map_or(tokens.len(), |end| at + end);
        tree(&tokens[at + 1..end], &[], is_exported, &mut imports);
    }
    imports
}

/// Reads `a::{b, c as d}` into its paths.
fn tree(tokens: &[String], prefix: &[String], is_exported: bool, imports: &mut Vec<Import>) {
    let mut path = prefix.to_vec();
    let mut tokens = tokens;
    while let Some((token, rest)) = tokens.split_first() {
        match token.as_str() {
            "::" => {}
            "{" => {
                let inner = &rest[..rest.len().saturating_sub(1)];
                for branch in branches(inner) {
                    tree(branch, &path, is_exported, imports);
                }
                return;
            }
            "as" => break,
            name => path.push(name.to_owned()),
        }
        tokens = rest;
    }
    if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
        path.pop();
    }
    let renamed = tokens
        .get(1)
        .filter(|_| tokens.first().is_some_and(|t| t == "as"));
    if let Some(name) = renamed.or(path.last()).cloned() {
        imports.push(Import {
            path,
            name,
            is_exported,
        });
    }
}

/// Splits at the commas that are in no braces.
fn branches(tokens: &[String]) -> Vec<&[String]> {
    let mut depth = 0_i32;
    let branches = tokens.split(|token| {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        token == "," && depth == 0
    });
    branches.filter(|branch| !branch.is_empty()).collect()
}

/// Returns the paths that are written outside imports: `crate::a::b`, `super::a`, `module::a`.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] == "use" {
            at += tokens[at..].iter().position(|t| t == ";").unwrap_or(1);
        }
        let mut path = Vec::new();
        while at + 1 < tokens.len() && is_name(&tokens[at]) && tokens[at + 1] == "::" {
            path.push(tokens[at].clone());
            at += 2;
        }
        if !path.is_empty() {
            if at < tokens.len() && is_name(&tokens[at]) {
                path.push(tokens[at].clone());
            }
            paths.push(path);
        }
        at += 1;
    }
    paths
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}
