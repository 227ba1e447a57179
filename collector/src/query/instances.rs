//! The instances of all services, combined from their spans, breakers and control channels. Liveness is
//! judged by heartbeats, without doubling the interval: one missed heartbeat is late, three are down. An
//! instance that announced its end is neither.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fusebox::circuit_breaker::EffectiveState;
use fusebox::control::WAIT_MAX;
use serde::Serialize;

use super::{QueryError, QueryService};
use crate::codec::circuits::InstanceId;
use crate::live::circuits::{ChannelSeen, UNDER_WAY};
use crate::model::{CircuitView, HOUR, InstanceSeen, MINUTE, Source, UnixNanos};
use crate::store::cancel::off_worker;

/// Longest interval between signs of life of our library's instances: a poll, and a slow network.
const HEARTBEAT: Duration = WAIT_MAX.saturating_add(Duration::from_secs(5));
/// Longest interval between signs of life of an instance with another SDK's metrics (OpenTelemetry's
/// default).
const METRIC_INTERVAL: Duration = MINUTE;
/// Missed heartbeats before an instance is down.
const MISSED_UNTIL_DOWN: u32 = 3;
/// How long an instance is listed after its last sign of life.
const LISTED_FOR: Duration = HOUR;
const INSTANCES_MAX: usize = 10_000;
/// Instances that turn silent within this time count as simultaneous.
const AT_ONCE: Duration = MINUTE;
/// Share of instances, percent, that may turn silent at once before the collector itself is suspected; as in
/// Eureka's renewal threshold (85 %).
const SILENT_PERCENT_MAX: usize = 15;
/// With fewer instances the share is not meaningful.
const SILENT_MIN: usize = 3;

/// One instance of a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InstanceView {
    /// The service.
    pub service: String,
    /// `service.instance.id`, else `host.name`, else empty.
    pub id: String,
    /// Its liveness.
    pub liveness: Liveness,
    /// Since when it has this liveness, by the collector's clock; for a live one, since when it is known.
    /// `None` if only metrics are known, which do not show it.
    #[serde(rename = "since_unix_nanos")]
    pub since: Option<UnixNanos>,
    /// Its last sign of life, by the collector's clock.
    #[serde(rename = "last_heard_unix_nanos")]
    pub last_heard: UnixNanos,
    /// Whether it polls for changes of its breakers.
    pub has_channel: bool,
    /// Number of its breakers.
    pub breakers: usize,
    /// Number of breakers that are not closed.
    pub not_closed: usize,
    /// Calls per second through its breakers.
    pub calls_per_second: f64,
    /// Their error rate, percent; `None` without judged calls.
    pub error_percent: Option<f64>,
}

/// The liveness of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// Three heartbeats missed.
    Down,
    /// One heartbeat missed.
    Late,
    /// It sends only spans, and none for a minute: it may be idle.
    Silent,
    /// No heartbeat missed.
    Live,
    /// It announced its end, and has not reported since.
    Ended,
}

/// The instances of all services.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Instances {
    /// Sorted by liveness, worst first, then by service and id.
    pub instances: Vec<InstanceView>,
    /// How many turned silent within a minute, if these are too many to be their own fault.
    pub silent_at_once: Option<usize>,
}

#[derive(Debug, Default)]
struct Known {
    first_seen: Option<UnixNanos>,
    last_heard: UnixNanos,
    /// When it announced its end.
    ended: Option<UnixNanos>,
    heartbeat: Option<Duration>,
    has_channel: bool,
    breakers: usize,
    not_closed: usize,
    calls_per_second: f64,
    errors: f64,
    judged: f64,
}

type ById = BTreeMap<(String, String), Known>;

impl QueryService {
    /// Returns the instances of all services with a sign of life within the last hour.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn instances(&self) -> Result<Instances, QueryError> {
        let wall = self.circuits().wall(None).await?.value;
        let spans = self.live().instances_since(UnixNanos::now() - LISTED_FOR);
        let channels = self.circuits().control().channels();
        let ended = self.circuits().control().ended(UnixNanos::now());
        let joined = off_worker(Path::new("instances"), move || {
            let mut known = ById::new();
            for (service, seen) in &spans {
                add_spans(&mut known, service, seen);
            }
            wall.circuits
                .iter()
                .for_each(|c| add_breaker(&mut known, c));
            channels.iter().for_each(|c| add_channel(&mut known, c));
            ended
                .iter()
                .for_each(|(id, at)| add_end(&mut known, id, *at));
            Ok(list(known, UnixNanos::now()))
        });
        Ok(joined.await?)
    }
}

fn add_spans(known: &mut ById, service: &str, seen: &InstanceSeen) {
    let one = entry(known, service, &seen.id);
    one.hear(seen.last_seen);
    one.know_since(seen.first_seen);
}

fn add_breaker(known: &mut ById, circuit: &CircuitView) {
    for instance in &circuit.instances {
        let one = entry(known, &circuit.key.service, &instance.id);
        one.hear(instance.last_seen);
        let heartbeat = match circuit.source {
            Source::Fusebox => HEARTBEAT,
            _ => METRIC_INTERVAL,
        };
        one.heartbeat = Some(
            one.heartbeat
                .map_or(heartbeat, |known| known.min(heartbeat)),
        );
        one.breakers += 1;
        one.not_closed += usize::from(instance.state != EffectiveState::Closed);
        if !instance.stale {
            one.calls_per_second += instance.calls_per_second;
            let judged = instance.calls.judged(&circuit.settings) as f64;
            one.judged += judged;
            one.errors += instance.calls.errors(&circuit.settings) as f64;
        }
    }
}

fn add_channel(known: &mut ById, channel: &ChannelSeen) {
    let one = entry(known, &channel.service, &channel.instance);
    one.hear(channel.last_seen);
    one.know_since(channel.first_seen);
    one.heartbeat = Some(HEARTBEAT);
    one.has_channel = channel.is_open;
}

fn add_end(known: &mut ById, id: &InstanceId, at: UnixNanos) {
    let one = entry(known, &id.service, &id.instance);
    // A later report means that it has started again.
    one.ended = Some(at).filter(|at| one.last_heard <= *at + UNDER_WAY);
    one.hear(at);
}

fn entry<'a>(known: &'a mut ById, service: &str, id: &str) -> &'a mut Known {
    let id = (service.to_owned(), id.to_owned());
    known.entry(id).or_default()
}

fn list(known: ById, now: UnixNanos) -> Instances {
    let is_listed = |one: &Known| one.last_heard + LISTED_FOR > now;
    let listed = known.into_iter().filter(|(_, one)| is_listed(one));
    let mut instances: Vec<_> = listed.map(|(id, one)| one.view(id, now)).collect();
    let silent_at_once = silent_at_once(&instances);
    // Stable: instances with equal liveness stay sorted by service and id.
    instances.sort_by_key(|instance| instance.liveness);
    instances.truncate(INSTANCES_MAX);
    Instances {
        instances,
        silent_at_once,
    }
}

impl Known {
    fn hear(&mut self, at: UnixNanos) {
        self.last_heard = self.last_heard.max(at);
    }

    fn know_since(&mut self, at: UnixNanos) {
        self.first_seen = Some(self.first_seen.map_or(at, |first| first.min(at)));
    }

    fn view(self, (service, id): (String, String), now: UnixNanos) -> InstanceView {
        let silent = now - self.last_heard;
        let after = |time: Duration| Some(self.last_heard + time);
        let (liveness, since) = match self.heartbeat {
            _ if self.ended.is_some() => (Liveness::Ended, self.ended),
            Some(beat) if silent > beat * MISSED_UNTIL_DOWN => {
                (Liveness::Down, after(beat * MISSED_UNTIL_DOWN))
            }
            Some(beat) if silent > beat => (Liveness::Late, after(beat)),
            None if silent > METRIC_INTERVAL => (Liveness::Silent, after(METRIC_INTERVAL)),
            _ => (Liveness::Live, self.first_seen),
        };
        InstanceView {
            service,
            id,
            liveness,
            since,
            last_heard: self.last_heard,
            has_channel: self.has_channel,
            breakers: self.breakers,
            not_closed: self.not_closed,
            calls_per_second: self.calls_per_second,
            error_percent: (self.judged > 0.0).then(|| self.errors * 100.0 / self.judged),
        }
    }
}

/// Returns how many instances turned silent within a minute, if these are too many to be their own fault.
fn silent_at_once(instances: &[InstanceView]) -> Option<usize> {
    let has_heartbeat =
        |one: &&InstanceView| !matches!(one.liveness, Liveness::Silent | Liveness::Ended);
    let all = instances.iter().filter(has_heartbeat).count();
    let lost = |one: &&InstanceView| matches!(one.liveness, Liveness::Late | Liveness::Down);
    let silent = instances.iter().filter(lost);
    let mut last: Vec<UnixNanos> = silent.map(|one| one.last_heard).collect();
    last.sort_unstable();
    let within = |(at, from): (usize, &UnixNanos)| {
        last[at..].partition_point(|heard| *heard <= *from + AT_ONCE)
    };
    let most = last.iter().enumerate().map(within).max()?;
    (most >= SILENT_MIN && most * 100 > all * SILENT_PERCENT_MAX).then_some(most)
}

#[cfg(test)]
#[path = "instances_tests.rs"]
mod tests;
