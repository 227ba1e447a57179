//! The text of a message: title, lines and links, the same for every target.

use super::incident::{Notice, Stage};
use super::subject::Subject;
use super::template::Values;
use crate::model::{format_duration, format_timestamp, nanos};

/// Longest name or reason, in characters: both come from outside.
const TEXT_CHARS_MAX: usize = 300;

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
}

impl Message {
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

    pub(super) fn text(&self) -> String {
        let lines = self.lines().into_iter().chain(self.links());
        let lines: Vec<_> = lines
            .map(|(word, text)| format!("{word}: {text}\n"))
            .collect();
        format!("{}\n\n{}", self.title, lines.concat())
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
        Subject::Silence if is_over => "the instances are heard again".to_owned(),
        Subject::Silence => "many instances fell silent at once".to_owned(),
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
