//! The dashboards of the folder `grafana` as Grafana reads them: panels, queries, variables, and what becomes of a query
//! before it is sent. Nothing here runs Grafana.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A dashboard.
pub(crate) struct Dashboard {
    /// Its file, for messages.
    pub(crate) file: String,
    /// All of it.
    pub(crate) json: Value,
}

/// A query of a panel, a variable or an annotation.
pub(crate) struct Question {
    /// Where it stands, for messages.
    pub(crate) place: String,
    /// Its text with macros and variables.
    pub(crate) text: String,
    /// How names of its series are made; empty where columns give them.
    pub(crate) alias: String,
}

/// What a variable stands for.
#[derive(Clone)]
pub(crate) struct Chosen {
    /// As the person sees it: `${name:text}`.
    pub(crate) text: String,
    /// As queries see it: `${name}`, and `${name:regex}` with it escaped.
    pub(crate) value: String,
}

/// What all variables of a dashboard stand for.
pub(crate) type Choices = BTreeMap<String, Chosen>;

/// What is chosen with "All": the variables' own `allValue`, which Grafana never escapes.
pub(crate) const ALL: &str = ".*";

/// Returns the folder `grafana` of the repository.
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
    /// Returns its panels, those within rows included, rows themselves too.
    pub(crate) fn panels(&self) -> Vec<&Value> {
        let panels = list(&self.json["panels"]);
        panels
            .flat_map(|panel| std::iter::once(panel).chain(list(&panel["panels"])))
            .collect()
    }

    /// Returns its panels that draw something.
    pub(crate) fn drawn(&self) -> impl Iterator<Item = &Value> {
        self.panels()
            .into_iter()
            .filter(|panel| panel["type"] != "row")
    }

    /// Returns its variables.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &Value> {
        list(&self.json["templating"]["list"])
    }

    /// Returns the queries of a panel.
    pub(crate) fn questions(&self, panel: &Value) -> Vec<Question> {
        let question = |target: &Value| Question {
            place: format!(
                "{}, {}, {}",
                self.file,
                text(&panel["title"]),
                text(&target["refId"])
            ),
            text: text(&target["query"]).to_owned(),
            alias: text(&target["alias"]).to_owned(),
        };
        list(&panel["targets"]).map(question).collect()
    }

    /// Returns the queries of its annotations, each with its annotation.
    pub(crate) fn annotations(&self) -> Vec<(&Value, Question)> {
        let ours = list(&self.json["annotations"]["list"]).filter(|a| a["builtIn"] != 1);
        ours.map(|annotation| (annotation, self.named("annotation", annotation)))
            .collect()
    }

    /// Returns the queries of its variables, each with its variable.
    pub(crate) fn variable_questions(&self) -> Vec<(&Value, Question)> {
        let asked = self
            .variables()
            .filter(|variable| variable["type"] == "query");
        asked
            .map(|variable| (variable, self.named("variable", variable)))
            .collect()
    }

    fn named(&self, kind: &str, value: &Value) -> Question {
        Question {
            place: format!("{}, {kind} {}", self.file, text(&value["name"])),
            text: text(&value["query"]).to_owned(),
            alias: String::new(),
        }
    }

    /// Returns every choice that the custom variables allow together; the asked variables stand at "All".
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
    /// Returns a choice that looks like its value.
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

    /// Returns it as Grafana puts it into a regex.
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

/// The time that a dashboard shows, Unix milliseconds, and the width of its intervals.
#[derive(Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    pub(crate) interval: &'static str,
}

/// Returns the query as it is sent: variables by the page, macros by the back end. An error names what is unknown.
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
    // What is left of the dollars may only end a regex.
    match text
        .match_indices('$')
        .find(|(at, _)| !text[at + 1..].starts_with('/'))
    {
        Some((at, _)) => Err(format!("unknown macro or variable: {}", &text[at..])),
        None => Ok(text),
    }
}

/// Returns the elements of a list; nothing of anything else.
pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

/// Returns a text; nothing of anything else.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
