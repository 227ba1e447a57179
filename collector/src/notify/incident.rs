//! One incident from its beginning to its end, and the messages sent about it. Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::channel::Channel;
use super::settings::Target;
use super::subject::Subject;
use crate::model::{MINUTE, UnixNanos};

/// The time within which repeated openings count as flapping, and for which a circuit must stay closed until
/// it no longer flaps.
pub(super) const FLAPPING_WITHIN: Duration = Duration::from_secs(10 * 60);
/// Openings within that time that count as flapping.
const FLAPPING_FROM: usize = 3;
/// Openings remembered; beyond it, the oldest are dropped.
const OPENINGS_MAX: usize = 10;
/// How long after its end an unsent incident is still sent.
const SENT_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// Interval of posting an alert again: Alertmanager treats an alert that is not repeated as resolved.
const ALERT_EVERY: Duration = MINUTE;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) since: UnixNanos,
    pub(super) reason: String,
    /// Trace id of the call that opened the circuit.
    pub(super) opened_by: Option<String>,
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its subject.
    #[serde(flatten)]
    pub subject: Subject,
    /// When it began.
    #[serde(rename = "since_unix_nanos")]
    pub since: UnixNanos,
    /// When it ended; `None` while it is open.
    #[serde(rename = "ended_unix_nanos")]
    pub ended: Option<UnixNanos>,
    /// The reason, for people.
    pub reason: String,
    /// Trace id of the call that opened the circuit.
    pub opened_by: Option<String>,
    /// Whether it repeatedly begins and ends.
    pub is_flapping: bool,
    /// Whether it ended because its circuit or instance is no longer listed, or its instance ended.
    #[serde(default)]
    pub is_gone: bool,
    /// Whether it ended during a mute: what was not sent until then is not sent any more.
    pub(super) is_muted: bool,
    /// Whether the problem currently exists; a flapping circuit is closed now and then.
    pub(super) is_present: bool,
    /// Its latest beginnings.
    pub(super) openings: Vec<UnixNanos>,
    /// How often it began again after its end was recorded.
    pub(super) round: u32,
    /// The last message by target.
    pub(super) sent: BTreeMap<String, Sent>,
}

/// The public part of an incident, without internal fields.
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

/// Serialises the public part of incidents.
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

/// The last message of an incident to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    round: u32,
    stage: Stage,
    at: UnixNanos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    Begun,
    Flapping,
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) incident: Incident,
    pub(super) stage: Stage,
    pub(super) is_reminder: bool,
}

impl Problem {
    /// Moves a beginning in the future to now: the service's clock may be ahead, and Alertmanager rejects an
    /// alert that ends before it begins.
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

    /// Records that the problem exists; returns whether that is new.
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

    /// Records that the problem is gone; returns whether that is new.
    pub(super) fn calm(&mut self, is_muted: bool, now: UnixNanos) -> bool {
        let is_new = std::mem::replace(&mut self.is_present, false);
        let last = self.openings.last().copied().unwrap_or_default();
        if self.ended.is_some() || (self.is_flapping && last + FLAPPING_WITHIN > now) {
            return is_new;
        }
        self.ended = Some(now);
        self.is_muted = is_muted;
        self.is_flapping = false;
        true
    }

    /// Ends it because its subject is no longer listed, or has ended.
    pub(super) fn vanish(&mut self, is_muted: bool, now: UnixNanos) {
        self.is_present = false;
        self.ended = Some(now);
        self.is_gone = true;
        self.is_muted = is_muted;
        self.is_flapping = false;
    }

    /// Whether it can be removed: it has ended, and nothing more is due to these targets.
    pub(super) fn is_over(&self, targets: &[&Target], now: UnixNanos) -> bool {
        let Some(ended) = self.ended else {
            return false;
        };
        let is_due =
            |target: &&Target| self.due(target, UnixNanos::default(), false, now).is_some();
        ended + SENT_WITHIN < now || (ended + FLAPPING_WITHIN < now && !targets.iter().any(is_due))
    }

    /// Returns the message that is due to a target, which is known since `known_since`.
    pub(super) fn due(
        &self,
        target: &Target,
        known_since: UnixNanos,
        is_muted: bool,
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
                Some(every) if stage != Stage::Ended && is_over(sent.at, every, now) => true,
                _ => return None,
            },
            _ => false,
        };
        let is_wanted = match self.ended {
            Some(ended) => {
                // An incident that began and ended before it was sent is sent once, with its end.
                let lasted = ended - self.since >= target.after;
                let is_news = sent.is_some() || (!self.is_muted && lasted && ended >= known_since);
                is_news && (target.ends || sent.is_none())
            }
            None => {
                // Without this repetition Alertmanager would treat it as resolved.
                let is_kept_alive = sent.is_some() && target.is_alertmanager();
                let is_due = sent.is_some() || is_over(self.since, target.after, now);
                is_due && (!is_muted || is_kept_alive)
            }
        };
        is_wanted.then(|| Notice {
            incident: self.clone(),
            stage,
            is_reminder,
        })
    }

    /// Records that a message was sent, or given up.
    pub(super) fn settle(&mut self, target: &str, notice: &Notice, at: UnixNanos) {
        let (round, stage) = (notice.incident.round, notice.stage);
        self.sent
            .insert(target.to_owned(), Sent { round, stage, at });
    }
}

/// Returns whether a wait that began at that time is over; one that began in the future, by a clock that was ahead, is.
fn is_over(began: UnixNanos, wait: Duration, now: UnixNanos) -> bool {
    began > now || began + wait <= now
}

impl Target {
    /// Returns the interval between messages of one incident.
    fn repeats_every(&self) -> Option<Duration> {
        match self.is_alertmanager() {
            true => Some(ALERT_EVERY),
            false => self.remind,
        }
    }

    pub(super) fn is_alertmanager(&self) -> bool {
        matches!(self.channel, Channel::Alertmanager(_))
    }
}

impl Notice {
    /// Whether it is the first message of its incident to that target.
    pub(super) fn is_first(&self) -> bool {
        !self.is_reminder && self.stage != Stage::Ended
    }

    /// Returns the common id of an incident's messages: letters, digits and dots.
    pub(super) fn thread(&self) -> String {
        let subject = serde_json::to_string(&self.incident.subject).unwrap_or_default();
        let sum = crc32fast::hash(subject.as_bytes());
        format!("{sum:08x}.{}", self.incident.since.get())
    }
}
