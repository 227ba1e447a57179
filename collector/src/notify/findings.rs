//! Checks every possible subject of incidents: circuits, instances, the collector and InfluxDB.

use std::collections::BTreeSet;
use std::time::Duration;

use fusebox::circuit_breaker::EffectiveState;

use super::incident::Problem;
use super::state::Finding;
use super::subject::Subject;
use crate::model::{CircuitTransition, CircuitView, InstanceStatus, MINUTE, UnixNanos};
use crate::pipeline::Health;
use crate::query::{InstanceView, Instances, Liveness, QueryError, QueryService};
use crate::store::influxdb::Influxdb;

/// How long InfluxDB must be unreachable to be an incident: longer than a restart.
const INFLUXDB_AWAY: Duration = MINUTE;

/// Age up to which a transition says something about the current state: longer than its delivery and the
/// difference of clocks.
const NEWS: Duration = MINUTE;

#[derive(Debug, Clone)]
pub(crate) struct Sources {
    pub(crate) query: QueryService,
    pub(crate) health: Health,
    pub(crate) influxdb: Option<Influxdb>,
}

#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) findings: Vec<Finding>,
    /// Every listed circuit and instance, including those of unknown state, but no instance that ended; `None`
    /// if instances were not checked.
    pub(super) listed: Option<BTreeSet<Subject>>,
}

impl Sources {
    /// Checks the collector and InfluxDB; circuits, if they are readable; and, with `instances_too`,
    /// instances.
    pub(super) async fn look(&self, instances_too: bool, now: UnixNanos) -> Look {
        let mut look = Look::default();
        look.findings.push(self.of_collector(now));
        let influxdb = self.influxdb.as_ref();
        let influxdb = influxdb.map(|influxdb| of_influxdb(influxdb, now));
        look.findings.extend(influxdb);
        // The wall reports this error too.
        let _read = self.look_at_services(&mut look, instances_too, now).await;
        look
    }

    async fn look_at_services(
        &self,
        look: &mut Look,
        instances_too: bool,
        now: UnixNanos,
    ) -> Result<(), QueryError> {
        let wall = self.query.circuits().wall(None).await?.value;
        let circuits = wall.circuits.iter().filter_map(of_circuit);
        look.findings.extend(circuits);
        if instances_too {
            let found = self.query.instances().await?;
            look.findings.extend(of_instances(&found, now));
            let circuits = wall
                .circuits
                .into_iter()
                .map(|one| Subject::Circuit(one.key));
            look.listed = Some(circuits.chain(remaining(found.instances)).collect());
        }
        Ok(())
    }

    fn of_collector(&self, now: UnixNanos) -> Finding {
        let problem = self.health.problem().map(|reason| Problem {
            since: now,
            reason,
            opened_by: None,
        });
        Finding {
            subject: Subject::Collector,
            problem,
        }
    }
}

/// Returns the state of a circuit; `None` if it is unknown, or forced by a person.
fn of_circuit(circuit: &CircuitView) -> Option<Finding> {
    let is_heard = circuit.instances.iter().any(|instance| !instance.stale);
    let problem = match circuit.state {
        _ if !is_heard => return None,
        EffectiveState::ForcedOpen => return None,
        EffectiveState::Open | EffectiveState::HalfOpen => Some(outage(circuit)),
        _ => None,
    };
    Some(Finding {
        subject: Subject::Circuit(circuit.key.clone()),
        problem,
    })
}

fn outage(circuit: &CircuitView) -> Problem {
    let outage = circuit.outage.as_ref();
    let opened_by = outage.map_or(circuit.last_opened_by, |outage| outage.opened_by);
    Problem {
        since: outage.map_or(circuit.since, |outage| outage.since),
        reason: outage.map_or_else(|| circuit.reason.clone(), |outage| outage.reason.clone()),
        opened_by: opened_by.map(|trace| trace.to_string()),
    }
}

/// Returns the finding that a circuit opened, if the transition says so: it may be closed again before the
/// next check. A late transition says nothing about now: services keep transitions while they cannot send.
pub(super) fn of_transition(transition: &CircuitTransition, now: UnixNanos) -> Option<Finding> {
    let opens = transition.from == EffectiveState::Closed && transition.to == EffectiveState::Open;
    let is_news = transition.time + NEWS > now;
    (opens && is_news).then(|| Finding {
        subject: Subject::Circuit(transition.key.clone()),
        problem: Some(Problem {
            since: transition.time,
            reason: transition.reason.clone(),
            opened_by: transition.trace_id.map(|trace| trace.to_string()),
        }),
    })
}

/// Returns the state of the instances: individually, or together if many turned silent at once.
fn of_instances(found: &Instances, now: UnixNanos) -> Vec<Finding> {
    let silence = found.silent_at_once.map(|silent| Problem {
        since: now,
        reason: format!("{silent} instances stopped reporting within a minute: look at the network and at this collector first"),
        opened_by: None,
    });
    let is_silent = silence.is_some();
    let each = found.instances.iter().filter_map(of_instance);
    // An instance that is back is reported in any case.
    let mut findings: Vec<_> = each
        .filter(|one| !is_silent || one.problem.is_none())
        .collect();
    findings.push(Finding {
        subject: Subject::Silence,
        problem: silence,
    });
    findings
}

/// Returns the instances that have not ended: the incident of one that was down and then ended is over.
fn remaining(instances: Vec<InstanceView>) -> impl Iterator<Item = Subject> {
    let instances = instances.into_iter();
    let remaining = instances.filter(|one| one.liveness != Liveness::Ended);
    remaining.map(|one| Subject::Instance {
        service: one.service,
        id: one.id,
    })
}

fn of_instance(instance: &InstanceView) -> Option<Finding> {
    let problem = match instance.liveness {
        // Who says that it takes no requests now is not missed.
        Liveness::Live | Liveness::OutOfService | Liveness::Starting => None,
        Liveness::Down => Some(Problem {
            since: instance.since.unwrap_or(instance.last_heard),
            reason: why_down(instance),
            opened_by: None,
        }),
        // One that ended on purpose is not missed.
        Liveness::Late | Liveness::Silent | Liveness::Ended => return None,
    };
    let (service, id) = (instance.service.clone(), instance.id.clone());
    Some(Finding {
        subject: Subject::Instance { service, id },
        problem,
    })
}

fn why_down(instance: &InstanceView) -> String {
    let Some(registration) = &instance.registration else {
        return "it missed three heartbeats".to_owned();
    };
    let health = registration.health.as_ref();
    let checked = health.map_or("", |health| health.reason.as_str());
    match registration.reported {
        InstanceStatus::Down | InstanceStatus::Offline if !checked.is_empty() => checked.to_owned(),
        InstanceStatus::Offline => "its health check cannot be reached".to_owned(),
        InstanceStatus::Down => "it reports that it is down".to_owned(),
        _ => "its lease is over".to_owned(),
    }
}

fn of_influxdb(influxdb: &Influxdb, now: UnixNanos) -> Finding {
    let standing = influxdb.report().standing;
    let is_away = standing.reachable == Some(false) && standing.since + INFLUXDB_AWAY <= now;
    Finding {
        subject: Subject::Influxdb,
        problem: is_away.then(|| Problem {
            since: standing.since,
            reason: standing.last_error.unwrap_or_default(),
            opened_by: None,
        }),
    }
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
