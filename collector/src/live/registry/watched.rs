//! What services that watch others are given: the instances that take requests, as many as fit one answer.
//!
//! The instances of a service are written once after each change, however many watch it. Each watched service has its share
//! of an answer, so that neither a large instance nor a service with many leaves another one out.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use fusebox::registry::{Instance, LISTED_BYTES_MAX, Listing};

use crate::codec::redact;
use crate::model::{InstanceStatus, Registered};

/// Most bytes of the JSON of one instance; a larger one is listed without its metadata.
const INSTANCE_BYTES_MAX: usize = 4 << 10;

/// The instances of a service that take requests, as many as could be listed.
#[derive(Debug, Default)]
pub(super) struct Live {
    instances: Vec<Written>,
    version: u64,
    is_cut: bool,
}

#[derive(Debug)]
struct Written {
    instance: Instance,
    bytes: usize,
    bytes_without_metadata: usize,
}

/// The instances of watched services at a time.
#[derive(Debug)]
pub(crate) struct Watched {
    services: Vec<Arc<Live>>,
}

impl Live {
    pub(super) fn of<'a>(registered: impl Iterator<Item = &'a Registered>) -> Self {
        let (mut live, mut bytes, mut hasher) = (Self::default(), 0, DefaultHasher::new());
        for one in registered.filter(|one| one.status() == InstanceStatus::Up) {
            let written = Written::of(one);
            bytes += written.bytes_without_metadata;
            if bytes > LISTED_BYTES_MAX {
                live.is_cut = true;
                break;
            }
            written.instance.hash(&mut hasher);
            live.instances.push(written);
        }
        live.is_cut.hash(&mut hasher);
        live.version = hasher.finish();
        live
    }
}

impl Written {
    fn of(registered: &Registered) -> Self {
        let registration = &registered.registration;
        let mut instance = Instance {
            service: registration.service.clone(),
            id: registration.instance.clone(),
            address: redact::text(&registration.address()).into_owned(),
            metadata: BTreeMap::new(),
        };
        let bytes_without_metadata = json_bytes(&instance);
        let metadata = registration.metadata.iter();
        let metadata = metadata.map(|(name, value)| {
            let shown = redact::shown(name, value).into_owned();
            (name.clone(), shown)
        });
        instance.metadata = metadata.collect();
        Self {
            bytes: json_bytes(&instance),
            bytes_without_metadata,
            instance,
        }
    }

    /// Returns its bytes; those without its metadata if they are too many otherwise.
    fn bytes_within(&self, bytes_max: usize) -> usize {
        match self.bytes <= bytes_max {
            true => self.bytes,
            false => self.bytes_without_metadata,
        }
    }

    /// Returns the instance as it is within that many bytes.
    fn instance_of(&self, bytes: usize) -> Instance {
        let mut instance = self.instance.clone();
        if bytes < self.bytes {
            instance.metadata.clear();
        }
        instance
    }
}

impl Watched {
    pub(super) fn new(services: Vec<Arc<Live>>) -> Self {
        Self { services }
    }

    /// Returns a number that differs once the instances do.
    pub(crate) fn version(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let versions = self.services.iter().map(|live| live.version);
        versions.for_each(|version| version.hash(&mut hasher));
        hasher.finish()
    }

    /// Returns the instances: one of each service in turn, as many as fit.
    pub(crate) fn listing(&self) -> Listing {
        let live = self.services.iter();
        let named = live.clone().filter(|live| !live.instances.is_empty());
        let share = (LISTED_BYTES_MAX / named.count().max(1)).min(INSTANCE_BYTES_MAX);
        let (mut instances, mut room) = (Vec::new(), LISTED_BYTES_MAX);
        let mut is_cut = live.clone().any(|live| live.is_cut);
        let mut turns: Vec<_> = live.map(|live| live.instances.iter()).collect();
        while !turns.is_empty() {
            turns.retain_mut(|turn| {
                let Some(written) = turn.next() else {
                    return false;
                };
                let bytes = written.bytes_within(share);
                let fits = bytes <= room.min(share);
                is_cut |= !fits || bytes < written.bytes;
                if fits {
                    room -= bytes;
                    instances.push(written.instance_of(bytes));
                }
                true
            });
        }
        instances.sort_by(|a, b| (&a.service, &a.id).cmp(&(&b.service, &b.id)));
        Listing {
            version: self.version(),
            instances,
            is_cut,
        }
    }
}

/// Returns the length of an instance in a list.
fn json_bytes(instance: &Instance) -> usize {
    serde_json::to_string(instance).map_or(0, |json| json.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Details, Registration, UnixNanos};

    fn live(service: &str, count: usize, metadata: &str) -> Arc<Live> {
        let registered = (0..count).map(|n| Registered {
            registration: Registration {
                service: service.to_owned(),
                instance: format!("pod-{n:04}"),
                status: InstanceStatus::Up,
                metadata: [("x".to_owned(), metadata.to_owned())].into(),
                ..Registration::default()
            },
            details: Details::default(),
            forced: None,
            since: UnixNanos::default(),
            changed: UnixNanos::default(),
            status_changed: UnixNanos::default(),
        });
        let registered: Vec<_> = registered.collect();
        Arc::new(Live::of(registered.iter()))
    }

    fn listed(listing: &Listing, service: &str) -> usize {
        let of_service = listing.instances.iter();
        of_service.filter(|one| one.service == service).count()
    }

    /// Scenario: an instance has metadata whose JSON is larger than an answer; a service has more instances than fit; 64
    /// services are watched.
    /// Guarantees: every service with live instances has some in the list, which fits, and says what is left out.
    #[test]
    fn no_service_leaves_another_out() {
        let hostile = live("accounts", 1, &"\u{1}".repeat(8_200));
        let many = live("orders", 700, "");
        let small = live("payments", 1, "zone-b");
        let watched = Watched::new(vec![hostile, many, small]);
        let listing = watched.listing();
        assert!(listing.is_cut);
        assert_eq!(listed(&listing, "accounts"), 1);
        assert!(listed(&listing, "orders") > 300);
        assert_eq!(listed(&listing, "payments"), 1);
        assert_eq!(listing.instances.last().unwrap().metadata["x"], "zone-b");
        let names = (0..64).map(|n| format!("service-{n}-{}", "n".repeat(200)));
        let all = names.map(|name| live(&name, 20, &"m".repeat(3_000)));
        let listing = Watched::new(all.collect()).listing();
        let services: std::collections::BTreeSet<_> =
            listing.instances.iter().map(|one| &one.service).collect();
        assert_eq!(services.len(), 64);
        let json = serde_json::to_string(&listing.instances).unwrap();
        assert!(json.len() <= LISTED_BYTES_MAX + 2, "{}", json.len());
        let whole = Watched::new(vec![live("stock", 2, "a")]);
        assert!(!whole.listing().is_cut);
        assert_ne!(
            whole.version(),
            Watched::new(vec![live("stock", 2, "b")]).version()
        );
    }
}
