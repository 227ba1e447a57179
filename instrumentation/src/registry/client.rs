//! Registers the process with its collector, renews the registration, and keeps the lists of the watched services, on a
//! thread of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::{
    Details, GRPC_PATH, Instance, Instances, Listing, PATH, RENEWAL_S, Renewal, STARTUP,
    WATCHED_MAX,
};
use crate::control::WAIT_MAX;
use crate::sync::Mutex;
use crate::telemetry::{Link, LinkError, Telemetry, pause, unless};
use crate::time::rfc3339;

/// How long the end of the process waits until the collector knows of it.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// The interval of renewals if nothing is watched.
const RENEWAL: Duration = Duration::from_secs(RENEWAL_S as u64);
/// The shortest interval of requests, whatever the collector does.
const ROUND_MIN: Duration = Duration::from_millis(200);

/// What this process registers.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    details: Option<Details>,
}

impl Registration {
    /// Registers the process under its service's name, with the URL at which other services call it: scheme, host and
    /// port, for example `http://10.0.0.7:8080`.
    pub fn at(url: &str) -> Self {
        let details = Details {
            address: url.trim_end_matches('/').to_owned(),
            ..Details::default()
        };
        Self {
            details: Some(details),
        }
    }

    /// Registers nothing, for a process that only calls others.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a value that other services and the collector's pages see, such as `version` or `zone`.
    #[must_use]
    pub fn with_metadata(mut self, name: &str, value: &str) -> Self {
        if let Some(details) = &mut self.details {
            details.metadata.insert(name.to_owned(), value.to_owned());
        }
        self
    }

    /// Registers over the connection of this telemetry, and renews the registration until the result is dropped. An
    /// unreachable collector is not an error: it is asked again. The metadata get the present time as `startup`, unless they
    /// have one: the collector's pages show how long the process has been running.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(mut self, telemetry: &Telemetry) -> std::io::Result<Registered> {
        if let Some(details) = &mut self.details {
            let started = details.metadata.entry(STARTUP.to_owned());
            started.or_insert_with(|| rfc3339(SystemTime::now()));
        }
        let shared = Arc::new(Shared::default());
        let (leaving, left) = oneshot::channel();
        let (ending, ended) = mpsc::channel();
        if let Some(link) = telemetry.link(PATH, GRPC_PATH) {
            let worker = Worker {
                link,
                details: self.details,
                shared: Arc::clone(&shared),
                after: None,
            };
            spawn(worker, left, ending)?;
        }
        Ok(Registered {
            shared,
            leaving: Some(leaving),
            ended: Mutex::new(ended),
        })
    }
}

/// A registered process. Dropping it ends the registration, for at most two seconds.
#[derive(Debug)]
#[must_use = "the registration ends when this is dropped: keep it until the end of main"]
pub struct Registered {
    shared: Arc<Shared>,
    leaving: Option<oneshot::Sender<()>>,
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Registered {
    /// Returns the live instances of a service. The list is empty until the collector has answered, and for services
    /// beyond the first 64.
    pub fn instances(&self, service: &str) -> Instances {
        let mut lists = self.shared.lists.lock();
        let is_full = lists.len() >= WATCHED_MAX && !lists.contains_key(service);
        if is_full {
            tracing::warn!(target: "fusebox", service, "its instances are not watched: there are too many services");
            return Instances::new(watch::channel(Arc::from([])).1);
        }
        let list = lists.entry(service.to_owned());
        let list = list.or_insert_with(|| watch::channel(Arc::from([])).0);
        let instances = Instances::new(list.subscribe());
        drop(lists);
        self.shared.watched.notify_one();
        instances
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        drop(self.leaving.take());
        // Nothing is sent: the channel closes when the thread ends.
        let _ = self.ended.lock().recv_timeout(LEAVE_WITHIN);
        self.shared.lists.lock().clear();
    }
}

#[derive(Debug, Default)]
struct Shared {
    /// By service.
    lists: Mutex<BTreeMap<String, watch::Sender<Arc<[Instance]>>>>,
    /// Tells the worker that another service is watched.
    watched: Notify,
}

fn spawn(
    worker: Worker,
    left: oneshot::Receiver<()>,
    ending: mpsc::Sender<()>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let run = move || {
        let leave = worker.renewal(true, Vec::new());
        let link = worker.link.clone();
        let is_registered = worker.details.is_some();
        let renewing = runtime.spawn(worker.run());
        let _ = runtime.block_on(left);
        renewing.abort();
        if is_registered {
            let _: Result<Listing, _> = runtime.block_on(link.post(&leave, Duration::ZERO));
        }
        drop(ending);
    };
    let thread = std::thread::Builder::new().name("fusebox-registry".into());
    thread.spawn(run).map(drop)
}

struct Worker {
    link: Link,
    details: Option<Details>,
    shared: Arc<Shared>,
    after: Option<u64>,
}

impl Worker {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let watched: Vec<_> = self.shared.lists.lock().keys().cloned().collect();
            let has_watched = !watched.is_empty();
            let renewal = self.renewal(false, watched);
            match self.answer(&renewal).await {
                Some(Ok(listing)) => {
                    if failures > 0 {
                        let back =
                            || tracing::info!(target: "fusebox", "the registry is reachable again");
                        self.link.log(back);
                    }
                    failures = 0;
                    self.after = Some(listing.version);
                    if listing.is_cut {
                        self.link.log(|| {
                            tracing::warn!(target: "fusebox", "the registry lists more instances than fit: some are left out");
                        });
                    }
                    self.publish(listing);
                    let rest = if has_watched { ROUND_MIN } else { RENEWAL };
                    let _ = timeout(rest, self.shared.watched.notified()).await;
                }
                // Another service is watched.
                None => self.after = None,
                Some(Err(error)) => {
                    if failures == 0 {
                        self.link.log(|| {
                            tracing::warn!(target: "fusebox", %error, "could not register with the collector");
                        });
                    }
                    sleep(pause(failures, &error)).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    fn renewal(&self, leaves: bool, watched: Vec<String>) -> Renewal {
        let waits = !leaves && !watched.is_empty();
        let wait = if waits { WAIT_MAX } else { Duration::ZERO };
        Renewal {
            service: self.link.service.clone(),
            instance: self.link.instance.clone(),
            registration: self.details.clone().filter(|_| !leaves),
            leaves,
            watched,
            after: self.after,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Waits for the answer; returns `None` if another service is to be watched meanwhile.
    async fn answer(&self, renewal: &Renewal) -> Option<Result<Listing, LinkError>> {
        let within = Duration::from_millis(renewal.wait_ms);
        unless(
            self.link.post(renewal, within),
            self.shared.watched.notified(),
        )
        .await
    }

    fn publish(&self, listing: Listing) {
        for (service, list) in self.shared.lists.lock().iter() {
            let of = listing.instances.iter();
            let of =
                of.filter(|instance| instance.service.to_lowercase() == service.to_lowercase());
            let instances: Arc<[Instance]> = of.cloned().collect();
            list.send_if_modified(|known| {
                let is_new = **known != *instances;
                if is_new {
                    *known = Arc::clone(&instances);
                }
                is_new
            });
        }
    }
}
