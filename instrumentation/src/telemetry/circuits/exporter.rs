//! The thread that exports the counts and events of breakers.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use opentelemetry::Context;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use tokio::time::Instant;

use super::inbox::Inbox;
use super::{events, metrics, policies, pools, shared};
use crate::circuit_breaker::{CircuitBreaker, CircuitSnapshot, Listener, Transition};
use crate::telemetry::otlp_client::OtlpClient;
use crate::telemetry::{InitError, TelemetryConfig};

/// How often settings are sent again, for collectors that were started meanwhile.
const SETTINGS_INTERVAL: Duration = Duration::from_secs(60);
/// Timeout of one request; the next second has its own data.
const SEND_LIMIT: Duration = Duration::from_secs(2);
/// Most records, breakers and policies per request: a few hundred kilobytes, below the limits of receivers.
const RECORDS_PER_REQUEST: usize = 256;
const BREAKERS_PER_REQUEST: usize = 256;
const POLICIES_PER_REQUEST: usize = 256;
/// Most pools per request; each may list a thousand breakers.
const POOLS_PER_REQUEST: usize = 16;
/// Timeout of each of the last requests; three together are shorter than the limit of the whole flush.
const LAST_SEND_LIMIT: Duration = Duration::from_millis(600);

/// Exports the breakers of a registry until it is stopped.
#[derive(Debug)]
pub(in crate::telemetry) struct CircuitExporter {
    inbox: Arc<Inbox>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl CircuitExporter {
    /// Starts the thread.
    pub(in crate::telemetry) fn start(
        config: &TelemetryConfig,
        client: &OtlpClient,
        resource: &opentelemetry_sdk::Resource,
    ) -> Result<Self, InitError> {
        let inbox = Arc::<Inbox>::default();
        let (running, ended) = channel();
        let attributes = ResourceAttributesWithSchema::from(resource).attributes.0;
        let worker = Worker {
            inbox: Arc::clone(&inbox),
            config: config.clone(),
            client: client.clone(),
            resource: Resource {
                attributes,
                ..Resource::default()
            },
            limit: SEND_LIMIT,
            started: SystemTime::now(),
            _running: running,
        };
        let listener = EventListener(Arc::downgrade(&inbox));
        config.registry.subscribe(Arc::new(listener));
        let thread = std::thread::Builder::new().name("fusebox-circuits".into());
        thread
            .spawn(move || worker.run())
            .map_err(InitError::Thread)?;
        Ok(Self { inbox, ended })
    }

    /// Makes the thread send the queue and end.
    pub(in crate::telemetry) fn stop(&self) {
        self.inbox.stop();
    }

    /// Waits for the end of the thread for at most `limit`.
    pub(in crate::telemetry) fn wait(&self, limit: Duration) {
        let _ = self.ended.recv_timeout(limit); // Nothing is ever sent.
    }
}

/// Queues events of breakers as long as the exporter exists.
struct EventListener(Weak<Inbox>);

impl Listener for EventListener {
    fn transition(&self, transition: &Transition) {
        if let Some(inbox) = self.0.upgrade() {
            inbox.transition(events::transition(transition));
            // The override is part of the settings event; its start, change and end are transitions.
            if transition.from.is_forced() || transition.to.is_forced() {
                inbox.settings(&transition.breaker);
            }
        }
    }

    fn registered(&self, breaker: &CircuitBreaker) {
        if let Some(inbox) = self.0.upgrade() {
            inbox.settings(breaker.name());
        }
    }

    fn settings_changed(&self, breaker: &CircuitBreaker) {
        self.registered(breaker);
    }

    fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

struct Worker {
    inbox: Arc<Inbox>,
    config: TelemetryConfig,
    client: OtlpClient,
    resource: Resource,
    limit: Duration,
    started: SystemTime,
    _running: Sender<()>,
}

impl Worker {
    fn run(mut self) {
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        let mut metrics_at = Instant::now() + self.config.circuit_interval;
        let mut settings_at = Instant::now();
        loop {
            let now = Instant::now();
            if now >= settings_at {
                for breaker in self.config.registry.all() {
                    self.inbox.settings(breaker.name());
                }
                settings_at = now + SETTINGS_INTERVAL;
            }
            let due = metrics_at.min(settings_at).saturating_duration_since(now);
            let is_end = self.inbox.sleep(due);
            if is_end {
                self.limit = self.limit.min(LAST_SEND_LIMIT);
            }
            let is_due = is_end || Instant::now() >= metrics_at;
            // Before the events, because a snapshot ends an expired override, which is an event.
            let snapshots = is_due.then(|| self.snapshots());
            // Events that the collector did not accept are sent again after a second, or with the next event.
            self.send_events();
            if let Some(snapshots) = snapshots {
                self.send_metrics(&snapshots);
                // From one due time to the next; counted from the end of a request, reports would drift.
                metrics_at = (metrics_at + self.config.circuit_interval).max(Instant::now());
            }
            if is_end {
                return self.say_ended();
            }
        }
    }

    fn snapshots(&self) -> Vec<CircuitSnapshot> {
        let breakers = self.config.registry.all();
        breakers.iter().map(CircuitBreaker::snapshot).collect()
    }

    fn send_events(&self) {
        let mut pending = self.inbox.take();
        while self.config.logs.is_exported && !pending.is_empty() {
            let batch = pending.split(RECORDS_PER_REQUEST);
            let breakers = batch
                .settings
                .iter()
                .filter_map(|name| self.config.registry.get(name));
            let settings = breakers.map(|breaker| events::settings(&breaker));
            let records = settings.chain(batch.transitions.iter().cloned()).collect();
            let request = events::request(&self.resource, records);
            match self.client.send(&self.config.logs, &request, self.limit) {
                Ok(()) => self.report_dropped(),
                Err(error) if error.is_retryable() => {
                    pending.put_back(batch);
                    return self.inbox.put_back(pending);
                }
                Err(_) => {} // They would be rejected again; the client has logged it.
            }
        }
    }

    /// Announces the regular end of the process, so that the collector does not report it as missing.
    fn say_ended(&self) {
        if self.config.logs.is_exported {
            let request = events::request(&self.resource, vec![events::ended()]);
            // It may be too late for an answer; without it the collector waits for another message of this instance.
            let _ = self.client.send(&self.config.logs, &request, self.limit);
        }
    }

    fn report_dropped(&self) {
        let dropped = self.inbox.take_dropped();
        if dropped > 0 {
            self.client.log(|| {
                tracing::warn!(target: "fusebox", dropped, "dropped circuit events while the collector was unreachable");
            });
        }
    }

    fn send_metrics(&self, snapshots: &[CircuitSnapshot]) {
        if !self.config.metrics.is_exported {
            return;
        }
        let (resource, start, now) = (&self.resource, self.started, SystemTime::now());
        let (breakers, policies) = (self.config.registry.all(), &self.config.policies);
        let (pools, policies) = (self.config.registry.pools(), policies.snapshots());
        let of_breakers = snapshots
            .chunks(BREAKERS_PER_REQUEST)
            .map(|part| metrics::request(resource, part, start, now));
        let of_shared = breakers
            .chunks(BREAKERS_PER_REQUEST)
            .filter_map(|part| shared::request(resource, part, start, now));
        let of_pools = pools
            .chunks(POOLS_PER_REQUEST)
            .map(|part| pools::request(resource, part, start, now));
        let of_policies = policies
            .chunks(POLICIES_PER_REQUEST)
            .map(|part| policies::request(resource, part, start, now));
        let requests = of_breakers
            .chain(of_pools)
            .chain(of_shared)
            .chain(of_policies);
        for request in requests {
            let signal = &self.config.metrics;
            if self.client.send(signal, &request, self.limit).is_err() {
                return; // Counts are cumulative: the next request makes up for it.
            }
        }
    }
}
