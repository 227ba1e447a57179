//! The instances of all services, combined from their spans, breakers, control channels and registrations. Liveness is
//! judged by heartbeats, without doubling the interval: one missed heartbeat is late, three are down; a registration
//! brings its own lease, and any sign of life counts until the longest of them. An instance that announced its end is neither.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fusebox::circuit_breaker::EffectiveState;
use fusebox::control::WAIT_MAX;
use serde::Serialize;

use super::{QueryError, QueryService};
use crate::actuator::Checked;
use crate::codec::circuits::InstanceId;
use crate::codec::redact;
use crate::live::circuits::{ChannelSeen, UNDER_WAY, Way};
use crate::live::registry::{Gone, Listed, TelemetryNames, are_too_many, most_at_once};
use crate::model::{
    CircuitView, ForcedStatus, HOUR, InstanceSeen, InstanceStatus, MINUTE, Registered,
    RegistrySource, Source, UnixNanos,
};
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
    /// When it started, by its own clock, if its registration says so.
    #[serde(rename = "started_unix_nanos", skip_serializing_if = "Option::is_none")]
    pub started: Option<UnixNanos>,
    /// Its last sign of life, by the collector's clock.
    #[serde(rename = "last_heard_unix_nanos")]
    pub last_heard: UnixNanos,
    /// Whether it gets operators' changes.
    pub has_channel: bool,
    /// How it gets them, or did; `None` if it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<Way>,
    /// Service and instance by which it gets them: those of its telemetry, or by which changes are passed on to its actuator.
    #[serde(skip)]
    pub channel: (String, String),
    /// Number of its breakers.
    pub breakers: usize,
    /// Number of breakers that are not closed.
    pub not_closed: usize,
    /// Calls per second through its breakers.
    pub calls_per_second: f64,
    /// Their error rate, percent; `None` without judged calls.
    pub error_percent: Option<f64>,
    /// Its registration, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration: Option<RegistrationView>,
}

/// The registration of an instance, without its metadata, which may contain passwords.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RegistrationView {
    /// The service as it registered; that of its telemetry may differ in case.
    pub service: String,
    /// The id under which it registered; its telemetry may have another one.
    pub id: String,
    /// The protocol by which it registered.
    pub source: RegistrySource,
    /// The address at which it is called; empty if it has none.
    pub address: String,
    /// The version of its program; empty if unknown.
    pub version: String,
    /// The status that it reported.
    pub reported: InstanceStatus,
    /// The status set from outside, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forced: Option<ForcedStatus>,
    /// The last check of its health, if its actuator may be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Checked>,
}

/// The liveness of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// Three heartbeats missed, its lease over, or it reports that it is down.
    Down,
    /// One heartbeat missed.
    Late,
    /// It must not get requests: it was taken out of service, or says so.
    OutOfService,
    /// It registered, and is not ready yet.
    Starting,
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
    /// How many instances stay in the registry although their leases are over, because too many are silent at once.
    pub preserved: usize,
}

#[derive(Debug, Default)]
struct Known {
    first_seen: Option<UnixNanos>,
    last_heard: UnixNanos,
    /// When it announced its end.
    ended: Option<UnixNanos>,
    heartbeat: Option<Duration>,
    /// How it gets changes, and whether it does now.
    way: Option<(Way, bool)>,
    /// The names by which changes are passed on.
    passed_on_as: Option<Key>,
    breakers: usize,
    not_closed: usize,
    calls_per_second: f64,
    errors: f64,
    judged: f64,
    /// Silence after which it is late, and down, by its lease.
    lease: Option<(Duration, Duration)>,
    registered: Option<Arc<Registered>>,
}

type ById = BTreeMap<Key, Known>;

/// Service and id.
type Key = (String, String);

impl QueryService {
    /// Returns the instances of all services with a sign of life within the last hour.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn instances(&self) -> Result<Instances, QueryError> {
        let wall = self.circuits().wall(None).await?.value;
        let now = UnixNanos::now();
        let spans = self.live().instances_within(LISTED_FOR, now);
        let channels = self.circuits().control().channels();
        let ended = self.circuits().control().ended(UnixNanos::now());
        let registry = self.circuits().registry();
        let (registered, gone) = (registry.all(), registry.gone());
        let preserved = registry.preserved();
        let actuators = self.actuators().clone();
        let joined = off_worker(Path::new("instances"), move || {
            let mut known = ById::new();
            for (service, seen) in &spans {
                add_spans(&mut known, service, seen);
            }
            wall.circuits
                .iter()
                .for_each(|c| add_breaker(&mut known, c, now));
            let (own, passed_on): (Vec<_>, Vec<_>) = channels
                .into_iter()
                .partition(|channel| channel.way == Way::Channel);
            own.iter().for_each(|c| add_channel(&mut known, c));
            ended
                .iter()
                .for_each(|(id, at)| add_end(&mut known, id, *at));
            let names = names(&known, &registered);
            gone.iter()
                .for_each(|one| add_gone(&mut known, &names, one));
            registered
                .iter()
                .for_each(|one| add_registered(&mut known, &names, one));
            add_passed_on(&mut known, &passed_on);
            let mut listed = list(known, now);
            listed.preserved = preserved;
            for one in &mut listed.instances {
                if let Some(registration) = &mut one.registration {
                    registration.health = actuators.checked(&one.service, &registration.id);
                }
            }
            Ok(listed)
        });
        Ok(joined.await?)
    }
}

fn add_spans(known: &mut ById, service: &str, seen: &InstanceSeen) {
    let one = entry(known, service, &seen.id);
    one.hear(seen.last_seen);
    one.know_since(seen.first_seen);
}

fn add_breaker(known: &mut ById, circuit: &CircuitView, now: UnixNanos) {
    for instance in &circuit.instances {
        let one = entry(known, &circuit.key.service, &instance.id);
        // As long ago as the monotonic clock says: the wall clock may have been set since.
        let heard = instance.heard.map(|heard| now - heard.elapsed());
        one.hear(heard.unwrap_or(instance.last_seen));
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
    one.way = Some((channel.way, channel.is_open));
}

/// Adds which registered instances are changed through their actuators: that is the collector's doing, and no sign of life.
fn add_passed_on(known: &mut ById, channels: &[ChannelSeen]) {
    let ids = channels.iter();
    let ids: BTreeMap<_, _> = ids
        .map(|it| ((it.service.to_lowercase(), it.instance.as_str()), it))
        .collect();
    for one in known.values_mut().filter(|one| one.way.is_none()) {
        let registration = one.registered.as_ref().map(|it| &it.registration);
        let channel = registration.and_then(|it| {
            let id = (it.service.to_lowercase(), it.instance.as_str());
            ids.get(&id)
        });
        one.way = channel.map(|channel| (channel.way, channel.is_open));
        let names = channel.map(|it| (it.service.clone(), it.instance.clone()));
        one.passed_on_as = names;
    }
}

fn add_end(known: &mut ById, id: &InstanceId, at: UnixNanos) {
    let one = entry(known, &id.service, &id.instance);
    // A later report means that it has started again.
    one.ended = Some(at).filter(|at| one.last_heard <= *at + UNDER_WAY);
    one.hear(at);
}

fn add_registered(known: &mut ById, names: &TelemetryNames, listed: &Listed) {
    let one = add_lease(known, names, listed);
    one.registered = Some(Arc::clone(&listed.registered));
    one.ended = one
        .ended
        .filter(|at| listed.last_renewed <= *at + UNDER_WAY);
}

fn add_gone(known: &mut ById, names: &TelemetryNames, gone: &Gone) {
    let one = add_lease(known, names, &gone.last);
    if gone.has_left && one.last_heard <= gone.at + UNDER_WAY {
        one.ended = Some(gone.at);
    }
}

fn add_lease<'a>(known: &'a mut ById, names: &TelemetryNames, listed: &Listed) -> &'a mut Known {
    let Registered {
        registration,
        since,
        ..
    } = &*listed.registered;
    let own = (
        registration.service.as_str(),
        registration.instance.as_str(),
    );
    let (service, id) = names.of(registration).unwrap_or(own);
    let one = entry(known, service, id);
    one.hear(listed.last_renewed);
    one.know_since(*since);
    let lease = registration.lease;
    one.lease = Some((lease.late_after(), lease.expires_after()));
    one
}

fn entry<'a>(known: &'a mut ById, service: &str, id: &str) -> &'a mut Known {
    let id = (service.to_owned(), id.to_owned());
    known.entry(id).or_default()
}

fn names(known: &ById, registered: &[Listed]) -> TelemetryNames {
    let ids = known.keys();
    let ids = ids.map(|(service, id)| (service.as_str(), id.as_str()));
    TelemetryNames::new(ids, registered)
}

fn list(known: ById, now: UnixNanos) -> Instances {
    let is_listed = |one: &Known| one.last_heard + LISTED_FOR > now;
    let listed = known.into_iter().filter(|(_, one)| is_listed(one));
    let mut instances: Vec<_> = listed.map(|(id, one)| one.view(id, now)).collect();
    let silent_at_once = silent_at_once(&instances, now);
    // Stable: instances with equal liveness stay sorted by service and id.
    instances.sort_by_key(|instance| instance.liveness);
    instances.truncate(INSTANCES_MAX);
    Instances {
        instances,
        silent_at_once,
        preserved: 0,
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
        let by_heartbeat = self.heartbeat.map(|beat| (beat, beat * MISSED_UNTIL_DOWN));
        // It may renew its lease where its heartbeats do not arrive, and the other way round.
        let expected = [by_heartbeat, self.lease].into_iter().flatten();
        let expected = expected.reduce(|one, other| (one.0.max(other.0), one.1.max(other.1)));
        let (liveness, since) = match expected {
            _ if self.ended.is_some() => (Liveness::Ended, self.ended),
            Some((_, down)) if silent > down => (Liveness::Down, after(down)),
            Some((late, _)) if silent > late => (Liveness::Late, after(late)),
            None if silent > METRIC_INTERVAL => (Liveness::Silent, after(METRIC_INTERVAL)),
            _ => (Liveness::Live, self.first_seen),
        };
        // What it says about itself counts while it is heard.
        let (liveness, since) = match (liveness, self.by_registration()) {
            (Liveness::Live | Liveness::Silent, Some(registered)) => registered,
            _ => (liveness, since),
        };
        let own = (service.clone(), id.clone());
        InstanceView {
            service,
            id,
            channel: self.passed_on_as.unwrap_or(own),
            liveness,
            since,
            started: self
                .registered
                .as_ref()
                .and_then(|it| it.registration.started()),
            last_heard: self.last_heard,
            has_channel: self.way.is_some_and(|(_, is_open)| is_open),
            way: self.way.map(|(way, _)| way),
            breakers: self.breakers,
            not_closed: self.not_closed,
            calls_per_second: self.calls_per_second,
            error_percent: (self.judged > 0.0).then(|| self.errors * 100.0 / self.judged),
            registration: self.registered.as_deref().map(RegistrationView::of),
        }
    }

    /// Returns what its registration says, if that is not that it is up.
    fn by_registration(&self) -> Option<(Liveness, Option<UnixNanos>)> {
        let registered = self.registered.as_ref()?;
        let liveness = match registered.status() {
            InstanceStatus::Down | InstanceStatus::Offline => Liveness::Down,
            InstanceStatus::Starting => Liveness::Starting,
            InstanceStatus::OutOfService => Liveness::OutOfService,
            InstanceStatus::Up | InstanceStatus::Unknown => return None,
        };
        Some((liveness, Some(registered.status_since())))
    }
}

impl InstanceView {
    /// Returns whether it has these names, in its telemetry or its registration.
    pub fn is(&self, service: &str, id: &str) -> bool {
        let registered = self.registration.as_ref();
        let is_registered = |it: &RegistrationView| {
            it.id == id && it.service.to_lowercase() == service.to_lowercase()
        };
        (self.service == service && self.id == id) || registered.is_some_and(is_registered)
    }
}

impl RegistrationView {
    fn of(registered: &Registered) -> Self {
        let registration = &registered.registration;
        Self {
            service: registration.service.clone(),
            id: registration.instance.clone(),
            source: registration.source,
            address: redact::text(&registration.address()).into_owned(),
            version: registration.version().to_owned(),
            reported: registration.status,
            forced: registered.forced.clone(),
            health: None,
        }
    }

    /// Returns whether the instance itself says that it is down.
    pub fn is_down(&self) -> bool {
        self.reported == InstanceStatus::Down
    }
}

/// Returns how many instances turned silent within a minute, if these are too many to be their own fault.
fn silent_at_once(instances: &[InstanceView], now: UnixNanos) -> Option<usize> {
    let has_heartbeat =
        |one: &&InstanceView| !matches!(one.liveness, Liveness::Silent | Liveness::Ended);
    let all = instances.iter().filter(has_heartbeat).count();
    // One that reports that it is down is heard.
    let is_down = |one: &InstanceView| one.registration.as_ref().is_some_and(|it| it.is_down());
    let lost = |one: &&InstanceView| {
        matches!(one.liveness, Liveness::Late | Liveness::Down) && !is_down(one)
    };
    let silent = instances.iter().filter(lost);
    let most = most_at_once(silent.map(|one| now - one.last_heard).collect());
    are_too_many(most, all).then_some(most)
}

#[cfg(test)]
#[path = "instances_tests.rs"]
mod tests;
