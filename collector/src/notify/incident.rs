//! One incident from its beginning to its end, and what was sent of it to whom. Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::channel::Channel;
use super::settings::Target;
use super::subject::Subject;
use crate::model::{MINUTE, UnixNanos};

/// The time within which a circuit that opens again and again is flapping, and for which it must be calm until that is over.
pub(super) const FLAPPING_WITHIN: Duration = Duration::from_secs(10 * 60);
/// How often it opens within that time until it is flapping.
const FLAPPING_FROM: usize = 3;
/// The most openings that are remembered: of more, the oldest are forgotten.
const OPENINGS_MAX: usize = 10;
/// How long after its end an incident that was not sent is still sent.
const SENT_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// How often an alert is posted again: Alertmanager takes one for resolved that it does not hear of.
const ALERT_EVERY: Duration = MINUTE;

/// What is wrong with a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Since when.
    pub(super) since: UnixNanos,
    /// Why, in words.
    pub(super) reason: String,
    /// The call that opened the circuit, as an id.
    pub(super) opened_by: Option<String>,
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// When it began, Unix nanoseconds.
    #[serde(rename = "since_unix_nanos")]
    pub since: UnixNanos,
    /// When it ended, Unix nanoseconds.
    #[serde(rename = "ended_unix_nanos")]
    pub ended: Option<UnixNanos>,
    /// Why, in words.
    pub reason: String,
    /// The call that opened the circuit: the id of its trace.
    pub opened_by: Option<String>,
    /// Whether it begins and ends again and again.
    pub is_flapping: bool,
    /// Whether it ended because its circuit or instance is no longer listed.
    #[serde(default)]
    pub is_gone: bool,
    /// Whether it was quiet when it ended: what was not sent by then is not sent.
    pub(super) is_muted: bool,
    /// Whether the problem is there; a circuit that is flapping is closed now and then.
    pub(super) is_present: bool,
    /// When it began within the last minutes.
    pub(super) openings: Vec<UnixNanos>,
    /// Counts the times that it began anew after its end was noted.
    pub(super) round: u32,
    /// What was sent, by target.
    pub(super) sent: BTreeMap<String, Sent>,
}

/// An incident as programs are shown it, without what the collector keeps for itself.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    subject: &'a Subject,
    since_unix_nanos: UnixNanos,
    ended_unix_nanos: Option<UnixNanos>,
    reason: &'a str,
    opened_by: Option<&'a str>,
    is_flapping: bool,
    is_gone: bool,
}

/// Writes incidents as programs are shown them.
pub(super) fn show<S: Serializer>(incidents: &[Incident], out: S) -> Result<S::Ok, S::Error> {
    out.collect_seq(incidents.iter().map(|one| Shown {
        subject: &one.subject,
        since_unix_nanos: one.since,
        ended_unix_nanos: one.ended,
        reason: &one.reason,
        opened_by: one.opened_by.as_deref(),
        is_flapping: one.is_flapping,
        is_gone: one.is_gone,
    }))
}

/// What was sent of an incident to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    round: u32,
    stage: Stage,
    at: UnixNanos,
}

/// How far an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    Begun,
    Flapping,
    Ended,
}

/// What is to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) incident: Incident,
    pub(super) stage: Stage,
    /// Whether it was sent before.
    pub(super) is_reminder: bool,
}

impl Problem {
    /// Returns it with a beginning that is past: the clock of the service may be ahead, and an incident that is to begin would
    /// be sent late, and refused by Alertmanager once it ends.
    fn begun(self, now: UnixNanos) -> Self {
        let since = self.since.min(now);
        Self { since, ..self }
    }
}

impl Incident {
    pub(super) fn new(subject: Subject, problem: Problem, now: UnixNanos) -> Self {
        let problem = problem.begun(now);
        Self {
            subject,
            since: problem.since,
            ended: None,
            reason: problem.reason,
            opened_by: problem.opened_by,
            is_flapping: false,
            is_gone: false,
            is_muted: false,
            is_present: true,
            openings: vec![now],
            round: 0,
            sent: BTreeMap::new(),
        }
    }

    /// Notes that the problem is there; returns whether that is new.
    pub(super) fn go_on(&mut self, problem: Problem, now: UnixNanos) -> bool {
        if self.is_present {
            return false;
        }
        self.is_present = true;
        self.openings.push(now);
        self.openings.retain(|at| *at + FLAPPING_WITHIN > now);
        let surplus = self.openings.len().saturating_sub(OPENINGS_MAX);
        self.openings.drain(..surplus);
        self.is_flapping |= self.openings.len() >= FLAPPING_FROM;
        match self.ended {
            Some(_) => self.begin_anew(problem.begun(now)),
            None => {
                self.reason = problem.reason;
                self.opened_by = problem.opened_by;
            }
        }
        true
    }

    fn begin_anew(&mut self, problem: Problem) {
        self.since = problem.since;
        self.ended = None;
        self.reason = problem.reason;
        self.opened_by = problem.opened_by;
        self.is_gone = false;
        self.is_muted = false;
        self.round = self.round.wrapping_add(1);
    }

    /// Notes that the problem is gone; returns whether that is new.
    pub(super) fn calm(&mut self, is_quiet: bool, now: UnixNanos) -> bool {
        let is_new = std::mem::replace(&mut self.is_present, false);
        let last = self.openings.last().copied().unwrap_or_default();
        if self.ended.is_some() || (self.is_flapping && last + FLAPPING_WITHIN > now) {
            return is_new;
        }
        self.ended = Some(now);
        self.is_muted = is_quiet;
        self.is_flapping = false;
        true
    }

    /// Ends it, as nothing more is heard of its subject.
    pub(super) fn vanish(&mut self, is_quiet: bool, now: UnixNanos) {
        self.is_present = false;
        self.ended = Some(now);
        self.is_gone = true;
        self.is_muted = is_quiet;
        self.is_flapping = false;
    }

    /// Whether it can be forgotten: it is over, and nothing more of it is sent to these.
    pub(super) fn is_over(&self, targets: &[&Target], now: UnixNanos) -> bool {
        let Some(ended) = self.ended else {
            return false;
        };
        let is_due =
            |target: &&Target| self.due(target, UnixNanos::default(), false, now).is_some();
        ended + SENT_WITHIN < now || (ended + FLAPPING_WITHIN < now && !targets.iter().any(is_due))
    }

    /// Returns what is to be sent to a target that has been there since that time.
    pub(super) fn due(
        &self,
        target: &Target,
        known_since: UnixNanos,
        is_quiet: bool,
        now: UnixNanos,
    ) -> Option<Notice> {
        let sent = self.sent.get(&target.name);
        let sent = sent.filter(|sent| sent.round == self.round);
        let stage = match (self.ended, self.is_flapping) {
            (Some(_), _) => Stage::Ended,
            (None, true) => Stage::Flapping,
            (None, false) => Stage::Begun,
        };
        let is_reminder = match sent {
            Some(sent) if sent.stage >= stage => match target.repeats_every() {
                Some(every) if stage != Stage::Ended && sent.at + every <= now => true,
                _ => return None,
            },
            _ => false,
        };
        let is_wanted = match self.ended {
            Some(ended) => {
                // What began and ended before it could be sent is sent once, with its end.
                let lasted = ended - self.since >= target.after;
                let is_news = sent.is_some() || (!self.is_muted && lasted && ended >= known_since);
                is_news && (target.ends || sent.is_none())
            }
            None => {
                // Alertmanager would take it for resolved.
                let is_kept_alive = sent.is_some() && target.is_alertmanager();
                let is_due = sent.is_some() || self.since + target.after <= now;
                is_due && (!is_quiet || is_kept_alive)
            }
        };
        is_wanted.then(|| Notice {
            incident: self.clone(),
            stage,
            is_reminder,
        })
    }

    /// Notes that something was sent, or cannot be.
    pub(super) fn settle(&mut self, target: &str, notice: &Notice, at: UnixNanos) {
        let (round, stage) = (notice.incident.round, notice.stage);
        self.sent
            .insert(target.to_owned(), Sent { round, stage, at });
    }
}

impl Target {
    /// Returns from message to message of one incident.
    fn repeats_every(&self) -> Option<Duration> {
        match self.is_alertmanager() {
            true => Some(ALERT_EVERY),
            false => self.remind,
        }
    }

    fn is_alertmanager(&self) -> bool {
        matches!(self.channel, Channel::Alertmanager(_))
    }
}

impl Notice {
    /// Whether it is the first of its incident to that target.
    pub(super) fn is_first(&self) -> bool {
        !self.is_reminder && self.stage != Stage::Ended
    }

    /// Returns what the messages of one incident have in common: letters, digits and dots.
    pub(super) fn thread(&self) -> String {
        let subject = serde_json::to_string(&self.incident.subject).unwrap_or_default();
        let sum = crc32fast::hash(subject.as_bytes());
        format!("{sum:08x}.{}", self.incident.since.get())
    }
}
