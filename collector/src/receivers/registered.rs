//! Renewals of registrations by our library, and the live instances that it asks for.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use fusebox::registry::{Details, Instance, LISTED_MAX, Listing, RENEWAL_S, Renewal, WATCHED_MAX};
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::live::registry::{Registry, RegistryError};
use crate::model::{InstanceStatus, Lease, Links, Port, Registration, RegistrySource, UnixNanos};

/// Registers, renews or ends what a renewal is about, then waits until the instances of the watched services are others
/// than it knows.
pub(super) async fn renew(
    registry: &Registry,
    renewal: Renewal,
    until: Instant,
) -> Result<Listing, RegistryError> {
    let (mut watched, after) = (renewal.watched.clone(), renewal.after);
    watched.sort();
    watched.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
    watched.truncate(WATCHED_MAX);
    let mut news = registry.news();
    write(registry, renewal).await?;
    loop {
        let is_closed = news.borrow_and_update().is_closed;
        let listing = listing(registry, &watched);
        if Some(listing.version) != after || is_closed {
            return Ok(listing);
        }
        if timeout_at(until, news.changed()).await.is_err() {
            return Ok(listing);
        }
    }
}

async fn write(registry: &Registry, renewal: Renewal) -> Result<(), RegistryError> {
    let now = UnixNanos::now();
    let Renewal {
        service, instance, ..
    } = renewal;
    match (renewal.leaves, renewal.registration) {
        (true, _) => match registry.leave(&service, &instance, now).await {
            // The answer to the first end may have been lost.
            Err(RegistryError::Unknown) => Ok(()),
            left => left,
        },
        (false, Some(details)) => {
            let registration = registration(service, instance, details)?;
            registry.register(registration, now).await
        }
        (false, None) => Ok(()),
    }
}

fn registration(
    service: String,
    instance: String,
    details: Details,
) -> Result<Registration, RegistryError> {
    let url = Url::parse(&details.address).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    let host = url.as_ref().and_then(|url| Some((url, url.host_str()?)));
    let (url, host) = host.ok_or_else(|| RegistryError::Invalid {
        parameter: "address",
        problem: "must be a URL such as http://10.0.0.7:8080".to_owned(),
    })?;
    let is_secure = url.scheme() == "https";
    let port = |is_enabled| Port {
        number: if is_enabled {
            url.port_or_known_default().unwrap_or(0)
        } else {
            0
        },
        is_enabled,
    };
    Ok(Registration {
        // Clients of Eureka look it up by its name.
        vip: service.clone(),
        secure_vip: service.clone(),
        service,
        instance,
        source: RegistrySource::Fusebox,
        status: match details.is_starting {
            true => InstanceStatus::Starting,
            false => InstanceStatus::Up,
        },
        host: host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned(),
        ip: host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned(),
        port: port(!is_secure),
        secure_port: port(is_secure),
        links: Links {
            home: url.to_string(),
            ..Links::default()
        },
        metadata: details.metadata,
        lease: Lease {
            renewal_s: RENEWAL_S,
            duration_s: 3 * RENEWAL_S,
        },
        ..Registration::default()
    })
}

/// Returns the instances of these services that take requests.
fn listing(registry: &Registry, watched: &[String]) -> Listing {
    let found = watched.iter().flat_map(|name| registry.of_service(name));
    let found = found.map(|listed| listed.registered);
    let live = found.filter(|one| one.status() == InstanceStatus::Up);
    let instances = live.take(LISTED_MAX).map(|one| Instance {
        service: one.registration.service.clone(),
        id: one.registration.instance.clone(),
        address: one.registration.address(),
        metadata: one.registration.metadata.clone(),
    });
    let instances: Vec<_> = instances.collect();
    let mut hasher = DefaultHasher::new();
    instances.hash(&mut hasher);
    Listing {
        version: hasher.finish(),
        instances,
    }
}
