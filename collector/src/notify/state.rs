//! All incidents, mutes, and what was sent: the state that survives a restart. Pure: time is an
//! argument, and nothing is written here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::incident::{Incident, Notice, Problem};
use super::mute::{Mute, MuteError, MuteOrder};
use super::settings::Target;
use super::subject::Subject;
use crate::model::UnixNanos;

/// Concurrent incidents, some 500 bytes each: more would not be more informative.
const INCIDENTS_MAX: usize = 1_000;
const MUTES_MAX: usize = 100;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    #[serde(default)]
    incidents: Vec<Incident>,
    #[serde(default, alias = "quiets")]
    mutes: Vec<Mute>,
    /// Since when each target has been in the file.
    #[serde(default)]
    targets: BTreeMap<String, UnixNanos>,
    #[serde(default, alias = "last_quiet")]
    last_mute: u64,
}

/// The state of a subject in one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) subject: Subject,
    pub(super) problem: Option<Problem>,
}

/// The changes that findings made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) is_changed: bool,
    /// Number of problems beyond the limit.
    pub(super) not_kept: u64,
}

impl State {
    /// Sets the targets; a new one does not get what ended before.
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

    /// Applies findings. A subject without a finding is unchanged, because its state is unknown.
    pub(super) fn observe(&mut self, findings: Vec<Finding>, now: UnixNanos) -> Noted {
        let mut noted = Noted::default();
        let places = self.incidents.iter().enumerate();
        let mut places: BTreeMap<_, _> = places
            .map(|(place, one)| (one.subject.clone(), place))
            .collect();
        let mut shares: HashMap<String, usize> = HashMap::new();
        for one in &self.incidents {
            *shares.entry(share_of(&one.subject)).or_default() += 1;
        }
        for finding in findings {
            let known = places.get(&finding.subject);
            let known = known.map(|place| &mut self.incidents[*place]);
            match (known, finding.problem) {
                (Some(incident), Some(problem)) => {
                    noted.is_changed |= incident.go_on(problem, now);
                }
                (Some(incident), None) => {
                    let is_muted = is_muted(&self.mutes, &incident.subject, now);
                    noted.is_changed |= incident.calm(is_muted, now);
                }
                (None, Some(problem)) => match self.room(&shares, &finding.subject) {
                    Some(place) => {
                        *shares.entry(share_of(&finding.subject)).or_default() += 1;
                        places.insert(finding.subject.clone(), place);
                        let incident = Incident::new(finding.subject, problem, now);
                        if let Some(forgotten) = self.put(place, incident) {
                            places.remove(&forgotten);
                            let share = shares.entry(share_of(&forgotten)).or_default();
                            *share = share.saturating_sub(1);
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

    /// Returns the index for another incident. If full, that of the incident that ended first, as open ones are more
    /// important; if all are open, that of the latest of the service with most, if it has more than this one's would:
    /// one service must not take the room of all.
    fn room(&self, shares: &HashMap<String, usize>, subject: &Subject) -> Option<usize> {
        if self.incidents.len() < INCIDENTS_MAX {
            return Some(self.incidents.len());
        }
        let places = self.incidents.iter().enumerate();
        let ended = places.filter_map(|(place, one)| Some((one.ended?, place)));
        if let Some((_, place)) = ended.min() {
            return Some(place);
        }
        let own = shares.get(&share_of(subject)).copied().unwrap_or(0);
        let (service, most) = shares.iter().max_by_key(|(_, share)| **share)?;
        let is_of_most = |one: &Incident| one.subject.service() == Some(service);
        let latest = || self.incidents.iter().rposition(is_of_most);
        (own + 1 < *most).then(latest).flatten()
    }

    /// Stores an incident at an index; returns the subject of the replaced one.
    fn put(&mut self, place: usize, incident: Incident) -> Option<Subject> {
        match self.incidents.get_mut(place) {
            Some(there) => Some(std::mem::replace(there, incident).subject),
            None => {
                self.incidents.push(incident);
                None
            }
        }
    }

    /// Ends the incidents of circuits and instances that are no longer listed, or have ended; returns
    /// whether there were any.
    pub(super) fn end_unlisted(&mut self, listed: &BTreeSet<Subject>, now: UnixNanos) -> bool {
        let mut is_changed = false;
        for incident in &mut self.incidents {
            let subject = &incident.subject;
            let is_listed = subject.service().is_none() || listed.contains(subject);
            if !is_listed && incident.ended.is_none() {
                incident.vanish(is_muted(&self.mutes, &incident.subject, now), now);
                is_changed = true;
            }
        }
        is_changed
    }

    /// Removes what is over; returns whether there was anything.
    pub(super) fn prune(&mut self, targets: &[Arc<Target>], now: UnixNanos) -> bool {
        let before = (self.incidents.len(), self.mutes.len());
        let wanting = |subject: &Subject| -> Vec<&Target> {
            let targets = targets.iter().map(AsRef::as_ref);
            targets.filter(|target| target.wants(subject)).collect()
        };
        self.incidents
            .retain(|incident| !incident.is_over(&wanting(&incident.subject), now));
        self.mutes.retain(|mute| mute.until > now);
        before != (self.incidents.len(), self.mutes.len())
    }

    /// Returns the messages that are due to a target, oldest incident first.
    pub(super) fn due(&self, target: &Target, now: UnixNanos, most: usize) -> Vec<Notice> {
        let known_since = self.targets.get(&target.name).copied().unwrap_or(now);
        let wanted = self
            .incidents
            .iter()
            .filter(|one| target.wants(&one.subject));
        let due = wanted.filter_map(|incident| {
            let is_muted = is_muted(&self.mutes, &incident.subject, now);
            incident.due(target, known_since, is_muted, now)
        });
        due.take(most).collect()
    }

    /// Records that a message was sent, or given up.
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

    pub(super) fn mute(&mut self, order: MuteOrder, now: UnixNanos) -> Result<Mute, MuteError> {
        self.mutes.retain(|mute| mute.until > now);
        if self.mutes.len() >= MUTES_MAX {
            return Err(MuteError::TooMany(MUTES_MAX));
        }
        let mute = order.checked(self.last_mute + 1, now)?;
        self.last_mute = mute.id;
        self.mutes.push(mute.clone());
        Ok(mute)
    }

    pub(super) fn unmute(&mut self, id: u64) -> Option<Mute> {
        let at = self.mutes.iter().position(|mute| mute.id == id)?;
        Some(self.mutes.remove(at))
    }

    /// Puts a mute back in force whose end could not be written.
    pub(super) fn restore_mute(&mut self, mute: Mute) {
        self.mutes.push(mute);
    }

    pub(super) fn incidents(&self) -> &[Incident] {
        &self.incidents
    }

    pub(super) fn mutes(&self, now: UnixNanos) -> Vec<Mute> {
        let in_force = self.mutes.iter().filter(|mute| mute.until > now);
        in_force.cloned().collect()
    }
}

/// Returns the service whose share of the room an incident takes; empty for the collector's own.
fn share_of(subject: &Subject) -> String {
    subject.service().unwrap_or_default().to_owned()
}

fn is_muted(mutes: &[Mute], subject: &Subject, now: UnixNanos) -> bool {
    mutes.iter().any(|mute| mute.covers(subject, now))
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
