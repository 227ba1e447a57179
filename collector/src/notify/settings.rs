//! The file of targets: who is notified, of what, and how. It is JSON, validated as a whole before it is
//! used, and reloaded when it changes. The collector sends to no other address.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use serde::Deserialize;

use super::channel::{self, Channel, ChannelEntry, check_url};
use super::subject::{Subject, Topic};
use crate::model::parse_duration;
use crate::secret::Secret;

/// Largest file; twenty targets with long templates are some 100 KB.
const FILE_BYTES_MAX: u64 = 512 << 10;
/// Number of targets: each is a task with a connection.
const TARGETS_MAX: usize = 20;
const PATTERNS_MAX: usize = 100;
/// How long a target's messages are gathered: openings of one outage come within seconds, and a person reacts no faster.
const GATHER: Duration = Duration::from_secs(3);
const REMIND_MIN: Duration = Duration::from_secs(60);
/// Longest interval of reminders, and longest delay of the first message.
const WAIT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug, Default)]
pub(super) struct Settings {
    /// The base URL of the pages, for links.
    pub(super) url: Option<String>,
    /// Certificate authorities that replace the system's.
    pub(super) ca_file: Option<PathBuf>,
    pub(super) targets: Vec<Arc<Target>>,
}

/// A recipient, and the incidents that it gets.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) channel: Channel,
    services: Patterns,
    circuits: Patterns,
    topics: Vec<Topic>,
    pub(super) ends: bool,
    /// How long an incident must last before it is sent.
    pub(super) after: Duration,
    pub(super) remind: Option<Duration>,
    /// How long messages are gathered into one; zero sends each by itself.
    pub(super) gather: Duration,
}

/// Why the file cannot be used; no message contains a secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingsError {
    #[error("could not read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: line {line}, column {column}: {what}")]
    Json {
        path: PathBuf,
        line: usize,
        column: usize,
        what: &'static str,
    },
    #[error("{path}: {place}: {problem}")]
    Invalid {
        path: PathBuf,
        place: String,
        problem: String,
    },
}

#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    read: Option<Secret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    url: Option<String>,
    ca_file: Option<PathBuf>,
    targets: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    webhook: Option<channel::HookEntry>,
    slack: Option<channel::HookEntry>,
    teams: Option<channel::HookEntry>,
    alertmanager: Option<channel::HookEntry>,
    mail: Option<channel::Mail>,
    #[serde(default)]
    services: Vec<String>,
    #[serde(default)]
    circuits: Vec<String>,
    #[serde(default)]
    topics: Vec<Topic>,
    ends: Option<bool>,
    after: Option<String>,
    remind: Option<String>,
    gather: Option<String>,
}

/// Names, with `*` for any text; empty means all.
#[derive(Debug)]
struct Patterns(Vec<Regex>);

impl Source {
    /// Does not read the file yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, read: None }
    }

    /// Returns the settings; `None` if the file has not changed.
    ///
    /// # Errors
    /// When the file cannot be read or is invalid; the previous settings stay in force.
    pub(super) fn changed(&mut self) -> Result<Option<Settings>, SettingsError> {
        let path = &self.path;
        let read = Secret::read_if_changed(path, FILE_BYTES_MAX, self.read.as_ref());
        let read = read.map_err(|source| SettingsError::Read {
            path: path.clone(),
            source,
        })?;
        let Some(read) = read else { return Ok(None) };
        let settings = parse(path, read.expose())?;
        self.read = Some(read);
        Ok(Some(settings))
    }

    /// Makes the next call of `changed` return the settings even if the file is unchanged.
    pub(super) fn forget(&mut self) {
        self.read = None;
    }
}

fn parse(path: &Path, text: &str) -> Result<Settings, SettingsError> {
    let document: Document = serde_json::from_str(text).map_err(|error| SettingsError::Json {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        // The parser's own message may repeat the contents.
        what: match error.is_data() {
            true => "a key is unknown, missing or given twice, or a value is of the wrong type",
            false => "this is no JSON",
        },
    })?;
    let invalid = |(place, problem)| SettingsError::Invalid {
        path: path.to_owned(),
        place,
        problem,
    };
    settings(document).map_err(invalid)
}

/// The place of a problem, and the problem.
type Invalid = (String, String);

fn settings(document: Document) -> Result<Settings, Invalid> {
    if document.targets.len() > TARGETS_MAX {
        let problem = format!("at most {TARGETS_MAX} are possible");
        return Err(("targets".to_owned(), problem));
    }
    if let Some(url) = &document.url {
        check_url(url).map_err(|problem| ("url".to_owned(), problem))?;
    }
    let mut targets: Vec<Arc<Target>> = Vec::new();
    for (number, entry) in (1..).zip(document.targets) {
        let place = format!("target {number}");
        let target = target(entry).map_err(|problem| (place.clone(), problem))?;
        if targets.iter().any(|other| other.name == target.name) {
            return Err((place, "its name is that of another".to_owned()));
        }
        targets.push(Arc::new(target));
    }
    Ok(Settings {
        url: document.url.map(|url| url.trim_end_matches('/').to_owned()),
        ca_file: document.ca_file,
        targets,
    })
}

fn target(entry: Entry) -> Result<Target, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !(1..=100).contains(&entry.name.len()) || !entry.name.chars().all(is_plain) {
        return Err("name: must be 1 to 100 letters, digits, or one of `- _ .`".to_owned());
    }
    let lists = [entry.services.len(), entry.circuits.len()];
    if lists.iter().any(|length| *length > PATTERNS_MAX) {
        return Err(format!(
            "services, circuits: at most {PATTERNS_MAX} are possible"
        ));
    }
    let after = time("after", entry.after.as_deref(), Duration::ZERO)?;
    let remind = time("remind", entry.remind.as_deref(), REMIND_MIN)?;
    let gather = time("gather", entry.gather.as_deref(), Duration::ZERO)?;
    Ok(Target {
        channel: ChannelEntry {
            webhook: entry.webhook,
            slack: entry.slack,
            teams: entry.teams,
            alertmanager: entry.alertmanager,
            mail: entry.mail,
        }
        .read()?,
        name: entry.name,
        services: Patterns::new(&entry.services)?,
        circuits: Patterns::new(&entry.circuits)?,
        topics: match entry.topics.is_empty() {
            true => Topic::ALL.to_vec(),
            false => entry.topics,
        },
        ends: entry.ends.unwrap_or(true),
        after: after.unwrap_or_default(),
        remind,
        gather: gather.unwrap_or(GATHER),
    })
}

fn time(name: &str, text: Option<&str>, least: Duration) -> Result<Option<Duration>, String> {
    let Some(text) = text else {
        return Ok(None);
    };
    let time = parse_duration(text).map(Duration::from_nanos);
    match time.filter(|time| (least..=WAIT_MAX).contains(time)) {
        Some(time) => Ok(Some(time)),
        None => Err(format!(
            "{name}: must be a duration such as 30m, from {} s to 7 days",
            least.as_secs()
        )),
    }
}

impl Target {
    /// Returns whether the target gets incidents of that subject.
    pub(super) fn wants(&self, subject: &Subject) -> bool {
        self.topics.contains(&subject.topic())
            && subject
                .service()
                .is_none_or(|name| self.services.contain(name))
            && subject
                .circuit()
                .is_none_or(|name| self.circuits.contain(name))
    }
}

impl Patterns {
    fn new(patterns: &[String]) -> Result<Self, String> {
        let compiled = patterns.iter().map(|pattern| {
            let any = regex::escape(pattern).replace("\\*", ".*");
            Regex::new(&format!("^(?s:{any})$"))
                .map_err(|_| "services, circuits: a pattern is too long".to_owned())
        });
        compiled.collect::<Result<_, _>>().map(Self)
    }

    fn contain(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.is_match(name))
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
pub(super) mod tests;
