//! The documents for people who work on Fusebox name files that exist.

use crate::source::repository;

const DOCUMENTS: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "GLOSSARY.md",
    "collector/README.md",
    "dashboard/README.md",
    "grafana/README.md",
];

/// What a path in backticks begins with, when it is one from the top of the repository.
const TOP: [&str; 7] = [
    "collector/",
    "dashboard/",
    "instrumentation/",
    "tests/",
    "grafana/",
    ".ci/",
    ".github/",
];

/// Guarantees: every path in backticks and every link to a file leads somewhere.
#[test]
fn documents_name_files_that_exist() {
    let mut missing = Vec::new();
    for document in DOCUMENTS {
        let file = repository().join(document);
        let Ok(text) = std::fs::read_to_string(&file) else {
            missing.push(format!("{document} itself"));
            continue;
        };
        let folder = file.parent().expect("a document is in a folder");
        let paths = quoted(&text).map(|path| repository().join(path));
        let links = links(&text).map(|link| folder.join(link));
        let gone = paths.chain(links).filter(|path| !path.exists());
        missing.extend(gone.map(|path| format!("{document}: {}", path.display())));
    }
    assert!(missing.is_empty(), "no such file:\n{}", missing.join("\n"));
}

/// Returns the paths in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|word| TOP.iter().any(|top| word.starts_with(top)));
    paths.filter(|path| !path.contains(char::is_whitespace))
}

/// Returns the files that links lead to, without the heading.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let links = text.split("](").skip(1);
    let links = links.filter_map(|rest| rest.split_once(')').map(|(link, _)| link));
    let files = links.filter_map(|link| link.split('#').next());
    files.filter(|file| !file.is_empty() && !file.contains("://"))
}
