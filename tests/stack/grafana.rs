//! The dashboards of the folder `grafana` as Grafana reads them: panels, queries, variables, and how a query is expanded
//! before it is sent. Grafana itself is not run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A dashboard.
pub(crate) struct Dashboard {
    /// Its file name, for messages.
    pub(crate) file: String,
    /// The whole document.
    pub(crate) json: Value,
}

/// A query of a panel, a variable or an annotation.
pub(crate) struct PanelQuery {
    /// Its dashboard and panel, for messages.
    pub(crate) place: String,
    /// Its text with macros and variables.
    pub(crate) text: String,
    /// The template of its series names; empty if the columns name them.
    pub(crate) alias: String,
}

/// The chosen value of a variable.
#[derive(Clone)]
pub(crate) struct Chosen {
    /// As shown to the user: `${name:text}`.
    pub(crate) text: String,
    /// As inserted into queries: `${name}`, and escaped as `${name:regex}`.
    pub(crate) value: String,
}

/// The chosen values of all variables of a dashboard.
pub(crate) type Choices = BTreeMap<String, Chosen>;

/// The value of "All": the variables' `allValue`, which Grafana does not escape.
pub(crate) const ALL: &str = ".*";

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the repository")
        .join("grafana")
}

/// Returns every dashboard, by file name.
pub(crate) fn dashboards() -> Vec<Dashboard> {
    let entries = std::fs::read_dir(folder().join("dashboards")).expect("there are dashboards");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let read = |path: PathBuf| Dashboard {
        file: path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into()),
        json: serde_json::from_slice(&std::fs::read(&path).expect("it can be read"))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    };
    files.into_iter().map(read).collect()
}

impl Dashboard {
    /// Returns its panels, including rows and the panels in them.
    pub(crate) fn panels(&self) -> Vec<&Value> {
        let panels = list(&self.json["panels"]);
        panels
            .flat_map(|panel| std::iter::once(panel).chain(list(&panel["panels"])))
            .collect()
    }

    /// Returns its panels without the rows.
    pub(crate) fn drawn(&self) -> impl Iterator<Item = &Value> {
        self.panels()
            .into_iter()
            .filter(|panel| panel["type"] != "row")
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = &Value> {
        list(&self.json["templating"]["list"])
    }

    pub(crate) fn queries(&self, panel: &Value) -> Vec<PanelQuery> {
        let query = |target: &Value| PanelQuery {
            place: format!(
                "{}, {}, {}",
                self.file,
                text(&panel["title"]),
                text(&target["refId"])
            ),
            text: text(&target["query"]).to_owned(),
            alias: text(&target["alias"]).to_owned(),
        };
        list(&panel["targets"]).map(query).collect()
    }

    pub(crate) fn annotations(&self) -> Vec<(&Value, PanelQuery)> {
        let ours = list(&self.json["annotations"]["list"]).filter(|a| a["builtIn"] != 1);
        ours.map(|annotation| (annotation, self.named("annotation", annotation)))
            .collect()
    }

    pub(crate) fn variable_queries(&self) -> Vec<(&Value, PanelQuery)> {
        let asked = self
            .variables()
            .filter(|variable| variable["type"] == "query");
        asked
            .map(|variable| (variable, self.named("variable", variable)))
            .collect()
    }

    fn named(&self, kind: &str, value: &Value) -> PanelQuery {
        PanelQuery {
            place: format!("{}, {kind} {}", self.file, text(&value["name"])),
            text: text(&value["query"]).to_owned(),
            alias: String::new(),
        }
    }

    /// Returns every combination of the custom variables; query variables are set to "All".
    pub(crate) fn all_choices(&self) -> Vec<Choices> {
        let mut all = vec![Choices::new()];
        for variable in self.variables() {
            let name = text(&variable["name"]);
            let options = match text(&variable["type"]) {
                "query" => vec![Chosen::same(ALL)],
                _ => list(&variable["options"]).map(Chosen::of_option).collect(),
            };
            all = all
                .iter()
                .flat_map(|choices| options.iter().map(|option| with(choices, name, option)))
                .collect();
        }
        all
    }
}

impl Chosen {
    /// Returns a choice whose text is its value.
    pub(crate) fn same(value: &str) -> Self {
        Self {
            text: value.to_owned(),
            value: value.to_owned(),
        }
    }

    fn of_option(option: &Value) -> Self {
        Self {
            text: text(&option["text"]).to_owned(),
            value: text(&option["value"]).to_owned(),
        }
    }

    /// Returns the value as Grafana inserts it into a regex.
    fn regex(&self) -> String {
        if self.value == ALL {
            return ALL.to_owned();
        }
        let special = |c: char| r"\^$*+?.()|[]{}/".contains(c);
        let escape = |c| {
            if special(c) {
                format!("\\{c}")
            } else {
                c.to_string()
            }
        };
        self.value.chars().map(escape).collect()
    }
}

fn with(choices: &Choices, name: &str, option: &Chosen) -> Choices {
    let mut choices = choices.clone();
    choices.insert(name.to_owned(), option.clone());
    choices
}

/// The time range of a dashboard in Unix milliseconds, and its interval.
#[derive(Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    pub(crate) interval: &'static str,
}

/// Returns the query with variables and macros expanded. An error names an unknown one.
pub(crate) fn sent(query: &str, choices: &Choices, shown: Shown) -> Result<String, String> {
    let Shown {
        from_ms,
        to_ms,
        interval,
    } = shown;
    let mut text = query
        .replace(
            "$timeFilter",
            &format!("time >= {from_ms}ms and time <= {to_ms}ms"),
        )
        .replace("$__interval", interval)
        .replace("${__from}", &from_ms.to_string())
        .replace("${__to}", &to_ms.to_string());
    for (name, chosen) in choices {
        text = text
            .replace(&format!("${{{name}:regex}}"), &chosen.regex())
            .replace(&format!("${{{name}:text}}"), &chosen.text)
            .replace(&format!("${{{name}}}"), &chosen.value);
    }
    // A dollar that is left may only end a regex.
    match text
        .match_indices('$')
        .find(|(at, _)| !text[at + 1..].starts_with('/'))
    {
        Some((at, _)) => Err(format!("unknown macro or variable: {}", &text[at..])),
        None => Ok(text),
    }
}

/// Returns the elements of a list; none for anything else.
pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

/// Returns a string; an empty one for anything else.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
