//! The direction of dependencies between the modules of a crate, as ARCHITECTURE.md draws it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::imports::{Graph, graph};
use crate::source::{Files, is_within, read_crate, repository};

/// The top-level modules of each crate, from the bottom up: a module may import only from modules before it.
const LAYERS: [(&str, &[&str]); 3] = [
    (
        "instrumentation",
        &[
            "sync",
            "sharded",
            "semaphore",
            "isolated",
            "name",
            "time",
            "setting",
            "semconv",
            "error_type",
            "body",
            "propagation",
            "resilience",
            "circuit_breaker",
            "request",
            "hystrix",
            "control",
            "http",
            "telemetry",
            "registry",
            "actuator",
        ],
    ),
    (
        "collector",
        &[
            "sync",
            "counters",
            "handles",
            "files",
            "secret",
            "stop",
            "outbound",
            "model",
            "codec",
            "sample",
            "log",
            "store",
            "traceql",
            "live",
            "actuator",
            "pipeline",
            "receivers",
            "query",
            "notify",
            "api",
            "fuzz",
            "config",
            "shipping",
            "collector",
        ],
    ),
    (
        "dashboard",
        &[
            "error", "terminal", "load", "shop", "pages", "serve", "demo", "cli",
        ],
    ),
];

/// Guarantees: a top-level module imports only from the layers below it.
#[test]
fn top_level_modules_import_downward_only() {
    let mut found = String::new();
    for (crate_, layers) in LAYERS {
        let files = read_crate(crate_);
        for (importer, imported) in arrows(&graph(&files)) {
            let (from, to) = (first(importer), first(imported));
            if rank(crate_, layers, from) < rank(crate_, layers, to) {
                let arrow = arrow(&files, importer, imported);
                let _ = writeln!(found, "{from} is below {to}, but {arrow}");
            }
        }
    }
    assert!(found.is_empty(), "imports against the layers:\n{found}");
}

/// Guarantees: ARCHITECTURE.md states the same order.
#[test]
fn the_architecture_states_the_layers() {
    let text = std::fs::read_to_string(repository().join("ARCHITECTURE.md"));
    let text = text.expect("ARCHITECTURE.md is there");
    for (crate_, layers) in LAYERS {
        let row = format!("| `{crate_}` | `{}` |", layers.join("`, `"));
        assert!(text.contains(&row), "ARCHITECTURE.md lacks: {row}");
    }
}

/// Guarantees: within every folder, siblings import one another in one direction. What a module takes from the modules
/// that contain it does not count: a parent defines what its children share.
#[test]
fn no_modules_of_a_folder_import_one_another_in_a_circle() {
    let mut found = String::new();
    for (crate_, _) in LAYERS {
        let files = read_crate(crate_);
        let graph = graph(&files);
        let folders = files.keys().filter_map(|module| module.rsplit_once("::"));
        let folders: BTreeSet<&str> = folders.map(|(folder, _)| folder).collect();
        for folder in folders {
            for circle in circles(&graph, folder) {
                let _ = writeln!(found, "{crate_}, {folder}:");
                for (importer, imported) in circle {
                    let _ = writeln!(found, "    {}", arrow(&files, &importer, &imported));
                }
            }
        }
    }
    assert!(found.is_empty(), "imports in a circle:\n{found}");
}

/// Returns the arrows between different top-level modules.
fn arrows(graph: &Graph) -> impl Iterator<Item = (&String, &String)> {
    let all = graph
        .iter()
        .flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
    all.filter(|(from, to)| !from.is_empty() && !to.is_empty() && first(from) != first(to))
}

fn first(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}

fn rank(crate_: &str, layers: &[&str], module: &str) -> usize {
    let rank = layers.iter().position(|layer| *layer == module);
    rank.unwrap_or_else(|| panic!("{crate_} has a module {module}: give it a place in LAYERS"))
}

fn arrow(files: &Files, importer: &str, imported: &str) -> String {
    format!("{} imports {}", files[importer].name, files[imported].name)
}

/// Returns the circles among the modules of a folder, each as the imports that close it.
fn circles(graph: &Graph, folder: &str) -> Vec<Vec<(String, String)>> {
    let child = |module: &str| {
        let below = is_within(module, folder) && module != folder;
        below.then(|| first(&module[folder.len() + 2..]).to_owned())
    };
    let mut siblings: BTreeMap<(String, String), Vec<(String, String)>> = BTreeMap::new();
    for (importer, imported) in arrows_within(graph, folder) {
        if let (Some(from), Some(to)) = (child(importer), child(imported))
            && from != to
        {
            let arrow = (importer.clone(), imported.clone());
            siblings.entry((from, to)).or_default().push(arrow);
        }
    }
    let pairs: BTreeSet<_> = siblings.keys().cloned().collect();
    let mut circles: BTreeMap<BTreeSet<String>, Vec<(String, String)>> = BTreeMap::new();
    for ((from, to), arrows) in siblings {
        let back = reachable(&pairs, &to);
        if back.contains(&from) {
            let forth = reachable(&pairs, &from);
            let circle = forth.into_iter().filter(|name| back.contains(name));
            circles.entry(circle.collect()).or_default().extend(arrows);
        }
    }
    circles.into_values().collect()
}

fn arrows_within<'a>(
    graph: &'a Graph,
    folder: &'a str,
) -> impl Iterator<Item = (&'a String, &'a String)> {
    let all = graph
        .iter()
        .flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
    all.filter(move |(from, to)| is_within(from, folder) && is_within(to, folder))
}

/// Returns every module that one leads to.
fn reachable(arrows: &BTreeSet<(String, String)>, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(module) = open.pop() {
        for (_, to) in arrows.iter().filter(|(from, _)| *from == module) {
            if found.insert(to.clone()) {
                open.push(to.clone());
            }
        }
    }
    found
}
