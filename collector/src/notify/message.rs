//! The text of a message: title, lines and links, the same for every target.

use super::incident::{Notice, Stage};
use super::subject::{Subject, Topic};
use super::template::Values;
use crate::model::{UnixNanos, format_duration, format_timestamp, nanos};

/// Longest name or reason, in characters: both come from outside.
const TEXT_CHARS_MAX: usize = 300;
/// Incidents listed in a message about several: Slack shows 50 blocks at most, and a person reads no more.
const LISTED_MAX: usize = 20;
/// Their titles and links, bytes: a card of Teams has 28 KB at most.
const LISTED_BYTES_MAX: usize = 12_000;
/// The event of a message about incidents of several kinds.
const SEVERAL: &str = "several";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// An identifier such as `circuit_open`.
    pub(super) event: &'static str,
    pub(super) title: String,
    pub(super) reason: String,
    pub(super) since: String,
    /// The end; empty while it is open.
    pub(super) until: String,
    /// The duration; empty while it is open.
    lasted: String,
    /// The URL of the page about it.
    pub(super) link: String,
    /// The URL of the call that opened the circuit; empty if unknown.
    pub(super) trace: String,
    pub(super) service: String,
    pub(super) circuit: String,
    pub(super) instance: String,
    /// The incidents of a message about several: title and link.
    pub(super) listed: Vec<(String, String)>,
    /// Number of further ones.
    pub(super) unlisted: usize,
}

impl Message {
    /// Makes the one message of what is due to a target.
    pub(super) fn of(notices: &[Notice], url: &str) -> Self {
        match notices {
            [one] => Self::new(one, url),
            several => Self::about_several(several, url),
        }
    }

    /// Its fields have what is the same for all, and are empty otherwise.
    fn about_several(notices: &[Notice], url: &str) -> Self {
        let each: Vec<_> = notices.iter().map(|one| Self::new(one, url)).collect();
        let all = || notices.iter().map(|notice| &notice.incident);
        let text = |field: fn(&Self) -> &String| common(&each, field).cloned().unwrap_or_default();
        let since = all().map(|one| one.since).min().unwrap_or_default();
        let ended: Option<Vec<UnixNanos>> = all().map(|one| one.ended).collect();
        let until = ended.and_then(|ended| ended.into_iter().max());
        let link = common(&each, |one| &one.link).cloned();
        let listed = listed(&each);
        Self {
            event: common(&each, |one| &one.event).copied().unwrap_or(SEVERAL),
            title: tally(notices),
            reason: text(|one| &one.reason),
            since: format_timestamp(since),
            until: until.map(format_timestamp).unwrap_or_default(),
            lasted: String::new(),
            link: link.unwrap_or_else(|| format!("{url}{}", path_of_several(notices))),
            trace: text(|one| &one.trace),
            service: text(|one| &one.service),
            circuit: text(|one| &one.circuit),
            instance: text(|one| &one.instance),
            unlisted: each.len() - listed.len(),
            listed,
        }
    }

    /// `url` is the base of the links.
    pub(super) fn new(notice: &Notice, url: &str) -> Self {
        let incident = &notice.incident;
        let subject = &incident.subject;
        let name = |name: Option<&str>| name.map(printable).unwrap_or_default();
        let lasted = incident.ended.map(|ended| ended - incident.since);
        Self {
            event: event(notice),
            title: title(notice),
            reason: printable(&incident.reason),
            since: format_timestamp(incident.since),
            until: incident.ended.map(format_timestamp).unwrap_or_default(),
            lasted: lasted.map_or_else(String::new, |time| format_duration(nanos(time))),
            link: format!("{url}{}", path(subject)),
            trace: match &incident.opened_by {
                Some(trace) => format!("{url}/traces/{trace}"),
                None => String::new(),
            },
            service: name(subject.service()),
            circuit: name(subject.circuit()),
            instance: name(subject.instance()),
            listed: Vec::new(),
            unlisted: 0,
        }
    }

    /// Returns the lines below the title: label and text, without empty ones.
    pub(super) fn lines(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("Why", self.reason.as_str()),
            ("Since", &self.since),
            ("Until", &self.until),
            ("Lasted", &self.lasted),
        ];
        all.into_iter()
            .filter(|(_, text)| !text.is_empty())
            .collect()
    }

    pub(super) fn links(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("Show", self.link.as_str()),
            ("The call that opened it", &self.trace),
        ];
        all.into_iter().filter(|(_, url)| !url.is_empty()).collect()
    }

    /// Returns the line about the incidents that are not listed, if there are any.
    pub(super) fn rest(&self) -> Option<String> {
        (self.unlisted > 0).then(|| format!("and {} more", self.unlisted))
    }

    pub(super) fn text(&self) -> String {
        let lines = self.lines().into_iter().chain(self.links());
        let lines = lines.map(|(word, text)| format!("{word}: {text}\n"));
        let listed = self.listed.iter();
        let listed = listed.map(|(title, link)| format!("- {title}: {link}\n"));
        let rest = self.rest().map(|rest| format!("- {rest}\n"));
        let all: String = lines.chain(listed).chain(rest).collect();
        format!("{}\n\n{all}", self.title)
    }

    /// Calls `fill` with the values for a template.
    pub(super) fn with_values<T>(&self, fill: impl FnOnce(&Values<'_>) -> T) -> T {
        let text = self.text();
        fill(&[
            ("event", self.event),
            ("title", &self.title),
            ("text", &text),
            ("service", &self.service),
            ("circuit", &self.circuit),
            ("instance", &self.instance),
            ("reason", &self.reason),
            ("since", &self.since),
            ("until", &self.until),
            ("link", &self.link),
            ("trace", &self.trace),
        ])
    }
}

/// Returns the value of a field if it is the same in all messages.
fn common<T: PartialEq>(each: &[Message], field: impl Fn(&Message) -> &T) -> Option<&T> {
    let first = field(each.first()?);
    each.iter().all(|one| field(one) == first).then_some(first)
}

/// Returns titles and links until there are too many.
fn listed(each: &[Message]) -> Vec<(String, String)> {
    let mut bytes = 0;
    let has_room = |one: &&Message| {
        bytes += one.title.len() + one.link.len();
        bytes <= LISTED_BYTES_MAX
    };
    let listed = each.iter().take(LISTED_MAX).take_while(has_room);
    let listed = listed.map(|one| (one.title.clone(), one.link.clone()));
    listed.collect()
}

/// Returns how many there are of each kind: `48 circuits open, 1 instance down`.
fn tally(notices: &[Notice]) -> String {
    let mut kinds: Vec<(&Notice, usize)> = Vec::new();
    for notice in notices {
        let is_same = |(other, _): &&mut (&Notice, usize)| {
            event(other) == event(notice) && other.is_reminder == notice.is_reminder
        };
        match kinds.iter_mut().find(is_same) {
            Some((_, count)) => *count += 1,
            None => kinds.push((notice, 1)),
        }
    }
    let kinds = kinds.iter().map(|(notice, count)| {
        let (noun, state) = match &notice.incident.subject {
            Subject::Circuit(_) => ("circuit", state(notice)),
            Subject::Instance { .. } => ("instance", state(notice)),
            // There is one of each.
            Subject::Silence | Subject::Collector | Subject::Influxdb => return title(notice),
        };
        let plural = if *count == 1 { "" } else { "s" };
        let still = if notice.is_reminder { "still " } else { "" };
        format!("{count} {noun}{plural} {still}{state}")
    });
    kinds.collect::<Vec<_>>().join(", ")
}

/// Returns the state of a circuit or an instance in some words.
fn state(notice: &Notice) -> &'static str {
    match event(notice) {
        "circuit_open" => "open",
        "circuit_closed" => "closed again",
        "circuit_gone" => "no longer reported",
        "circuit_flapping" => "opening and closing again and again",
        "instance_down" => "down",
        "instance_up" => "back",
        "instance_gone" => "gone",
        _ => "going down again and again",
    }
}

/// Returns the page that lists the subjects of several incidents.
fn path_of_several(notices: &[Notice]) -> &'static str {
    let are_of = |topic| {
        let mut notices = notices.iter();
        notices.all(|notice| notice.incident.subject.topic() == topic)
    };
    match () {
        () if are_of(Topic::Circuit) => "/circuits",
        () if are_of(Topic::Instance) => "/instances",
        () => "/notifications",
    }
}

fn event(notice: &Notice) -> &'static str {
    match (&notice.incident.subject, notice.stage) {
        (Subject::Circuit(_), Stage::Ended) if notice.incident.is_gone => "circuit_gone",
        (Subject::Instance { .. }, Stage::Ended) if notice.incident.is_gone => "instance_gone",
        (Subject::Circuit(_), Stage::Begun) => "circuit_open",
        (Subject::Circuit(_), Stage::Flapping) => "circuit_flapping",
        (Subject::Circuit(_), Stage::Ended) => "circuit_closed",
        (Subject::Instance { .. }, Stage::Begun) => "instance_down",
        (Subject::Instance { .. }, Stage::Flapping) => "instance_flapping",
        (Subject::Instance { .. }, Stage::Ended) => "instance_up",
        (Subject::Silence, Stage::Ended) => "silence_over",
        (Subject::Silence, _) => "silence",
        (Subject::Collector, Stage::Ended) => "collector_works",
        (Subject::Collector, _) => "collector_failing",
        (Subject::Influxdb, Stage::Ended) => "influxdb_reachable",
        (Subject::Influxdb, _) => "influxdb_unreachable",
    }
}

fn title(notice: &Notice) -> String {
    let still = if notice.is_reminder { "still " } else { "" };
    let is_over = notice.stage == Stage::Ended;
    match &notice.incident.subject {
        Subject::Circuit(key) => {
            let name = format!("{} → {}", printable(&key.service), printable(&key.name));
            match notice.stage {
                Stage::Begun => format!("{name} is {still}open"),
                Stage::Flapping => format!("{name} {still}opens and closes again and again"),
                Stage::Ended if notice.incident.is_gone => format!("{name} is no longer reported"),
                Stage::Ended => format!("{name} is closed again"),
            }
        }
        Subject::Instance { service, id } => {
            let name = format!("{} of {}", printable(id), printable(service));
            match notice.stage {
                Stage::Begun => format!("{name} is {still}down"),
                Stage::Flapping => format!("{name} {still}goes down again and again"),
                Stage::Ended if notice.incident.is_gone => format!("{name} is gone"),
                Stage::Ended => format!("{name} is back"),
            }
        }
        Subject::Silence if is_over => "the instances report again".to_owned(),
        Subject::Silence => "many instances stopped reporting at once".to_owned(),
        Subject::Collector if is_over => "the collector works again".to_owned(),
        Subject::Collector => format!("the collector {still}cannot do its work"),
        Subject::Influxdb if is_over => "InfluxDB is reachable again".to_owned(),
        Subject::Influxdb => format!("InfluxDB is {still}not reachable"),
    }
}

fn path(subject: &Subject) -> String {
    let encoded = |text: &str| {
        let bytes = text.bytes().map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        });
        bytes.collect::<String>()
    };
    match subject {
        Subject::Circuit(key) => {
            format!("/circuits/{}/{}", encoded(&key.service), encoded(&key.name))
        }
        Subject::Instance { service, .. } => format!("/instances?filter={}", encoded(service)),
        Subject::Silence => "/instances".to_owned(),
        Subject::Collector | Subject::Influxdb => "/about".to_owned(),
    }
}

/// Makes an external text safe for a line: bounded, and without characters that move or hide the surrounding
/// text.
fn printable(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let shown = text.chars().take(TEXT_CHARS_MAX);
    let shown = shown.map(|c| if is_hidden(c) { '\u{fffd}' } else { c });
    let mut shown: String = shown.collect();
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
