//! All incidents, the times of quiet, and what was sent: what the collector must know again after a restart. Pure: time is an
//! argument, and nothing is written here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::incident::{Incident, Notice, Problem};
use super::quiet::{Quiet, QuietError, QuietOrder};
use super::settings::Target;
use super::subject::Subject;
use crate::model::UnixNanos;

/// The most incidents at once, some 500 bytes each: more say nothing that these do not.
const INCIDENTS_MAX: usize = 1_000;
/// The most times of quiet.
const QUIETS_MAX: usize = 100;

/// What is kept over a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    #[serde(default)]
    incidents: Vec<Incident>,
    #[serde(default)]
    quiets: Vec<Quiet>,
    /// Since when each target has been in the file.
    #[serde(default)]
    targets: BTreeMap<String, UnixNanos>,
    #[serde(default)]
    last_quiet: u64,
}

/// How a subject is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) subject: Subject,
    /// What is wrong with it; `None` if nothing is.
    pub(super) problem: Option<Problem>,
}

/// What findings changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) is_changed: bool,
    /// Problems for which there was no room.
    pub(super) not_kept: u64,
}

impl State {
    /// Notes which targets there are; a new one is not sent what ended before.
    pub(super) fn set_targets(&mut self, targets: &[Arc<Target>], now: UnixNanos) {
        let known = std::mem::take(&mut self.targets);
        let since = |target: &Arc<Target>| {
            let since = known.get(&target.name).copied().unwrap_or(now);
            (target.name.clone(), since)
        };
        self.targets = targets.iter().map(since).collect();
        let names = &self.targets;
        for incident in &mut self.incidents {
            incident.sent.retain(|name, _| names.contains_key(name));
        }
    }

    /// Takes what was found. A subject that is not among the findings stays as it was: that it is not heard of says nothing.
    pub(super) fn observe(&mut self, findings: Vec<Finding>, now: UnixNanos) -> Noted {
        let mut noted = Noted::default();
        let places = self.incidents.iter().enumerate();
        let mut places: BTreeMap<_, _> = places
            .map(|(place, one)| (one.subject.clone(), place))
            .collect();
        for finding in findings {
            let known = places.get(&finding.subject);
            let known = known.map(|place| &mut self.incidents[*place]);
            match (known, finding.problem) {
                (Some(incident), Some(problem)) => {
                    noted.is_changed |= incident.go_on(problem, now);
                }
                (Some(incident), None) => {
                    let is_quiet = is_quiet(&self.quiets, &incident.subject, now);
                    noted.is_changed |= incident.calm(is_quiet, now);
                }
                (None, Some(problem)) => match self.room() {
                    Some(place) => {
                        places.insert(finding.subject.clone(), place);
                        let incident = Incident::new(finding.subject, problem, now);
                        if let Some(forgotten) = self.put(place, incident) {
                            places.remove(&forgotten);
                        }
                        noted.is_changed = true;
                    }
                    None => noted.not_kept += 1,
                },
                (None, None) => {}
            }
        }
        noted
    }

    /// Returns the place for one more incident: where all are taken, that of the one that ended first, as one that goes on
    /// says more.
    fn room(&self) -> Option<usize> {
        if self.incidents.len() < INCIDENTS_MAX {
            return Some(self.incidents.len());
        }
        let places = self.incidents.iter().enumerate();
        let ended = places.filter_map(|(place, one)| Some((one.ended?, place)));
        ended.min().map(|(_, place)| place)
    }

    /// Puts an incident into its place; returns the subject of the one that was there.
    fn put(&mut self, place: usize, incident: Incident) -> Option<Subject> {
        match self.incidents.get_mut(place) {
            Some(there) => Some(std::mem::replace(there, incident).subject),
            None => {
                self.incidents.push(incident);
                None
            }
        }
    }

    /// Ends the incidents of circuits and instances that are no longer listed; returns whether there were any.
    pub(super) fn end_unlisted(&mut self, listed: &BTreeSet<Subject>, now: UnixNanos) -> bool {
        let mut is_changed = false;
        for incident in &mut self.incidents {
            let subject = &incident.subject;
            let is_listed = subject.service().is_none() || listed.contains(subject);
            if !is_listed && incident.ended.is_none() {
                incident.vanish(is_quiet(&self.quiets, &incident.subject, now), now);
                is_changed = true;
            }
        }
        is_changed
    }

    /// Forgets what is over; returns whether there was anything.
    pub(super) fn prune(&mut self, targets: &[Arc<Target>], now: UnixNanos) -> bool {
        let before = (self.incidents.len(), self.quiets.len());
        let wanting = |subject: &Subject| -> Vec<&Target> {
            let targets = targets.iter().map(AsRef::as_ref);
            targets.filter(|target| target.wants(subject)).collect()
        };
        self.incidents
            .retain(|incident| !incident.is_over(&wanting(&incident.subject), now));
        self.quiets.retain(|quiet| quiet.until > now);
        before != (self.incidents.len(), self.quiets.len())
    }

    /// Returns what is to be sent to a target, the oldest incident first.
    pub(super) fn due(&self, target: &Target, now: UnixNanos, most: usize) -> Vec<Notice> {
        let known_since = self.targets.get(&target.name).copied().unwrap_or(now);
        let wanted = self
            .incidents
            .iter()
            .filter(|one| target.wants(&one.subject));
        let due = wanted.filter_map(|incident| {
            let is_quiet = is_quiet(&self.quiets, &incident.subject, now);
            incident.due(target, known_since, is_quiet, now)
        });
        due.take(most).collect()
    }

    /// Notes that something was sent, or cannot be.
    pub(super) fn settle(&mut self, target: &str, notice: &Notice, at: UnixNanos) {
        let subject = &notice.incident.subject;
        let incident = self
            .incidents
            .iter_mut()
            .find(|one| one.subject == *subject);
        if let Some(incident) = incident {
            incident.settle(target, notice, at);
        }
    }

    /// Adds a time of quiet.
    pub(super) fn be_quiet(
        &mut self,
        order: QuietOrder,
        now: UnixNanos,
    ) -> Result<Quiet, QuietError> {
        self.quiets.retain(|quiet| quiet.until > now);
        if self.quiets.len() >= QUIETS_MAX {
            return Err(QuietError::TooMany(QUIETS_MAX));
        }
        let quiet = order.checked(self.last_quiet + 1, now)?;
        self.last_quiet = quiet.id;
        self.quiets.push(quiet.clone());
        Ok(quiet)
    }

    /// Ends a time of quiet before its time; `None` if there is no such.
    pub(super) fn end_quiet(&mut self, id: u64) -> Option<Quiet> {
        let at = self.quiets.iter().position(|quiet| quiet.id == id)?;
        Some(self.quiets.remove(at))
    }

    pub(super) fn incidents(&self) -> &[Incident] {
        &self.incidents
    }

    pub(super) fn quiets(&self, now: UnixNanos) -> Vec<Quiet> {
        let in_force = self.quiets.iter().filter(|quiet| quiet.until > now);
        in_force.cloned().collect()
    }
}

fn is_quiet(quiets: &[Quiet], subject: &Subject, now: UnixNanos) -> bool {
    quiets.iter().any(|quiet| quiet.covers(subject, now))
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
