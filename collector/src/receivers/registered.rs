//! Renewals of registrations by our library, and the live instances that it asks for.

use std::collections::BTreeSet;

use fusebox::registry::{Details, Listing, RENEWAL_S, Renewal, WATCHED_MAX};
use tokio::time::Instant;
use url::Url;

use crate::live::registry::{Registry, RegistryError, Sender};
use crate::model::{InstanceStatus, Lease, Links, Port, Registration, RegistrySource, UnixNanos};

/// Longest name of a watched service, as in their telemetry.
const NAME_BYTES_MAX: usize = 255;

/// Registers, renews or ends what a renewal is about, then waits until the instances of the watched services are others
/// than it knows.
pub(super) async fn renew(
    registry: &Registry,
    renewal: Renewal,
    sender: Sender,
    until: Instant,
) -> Result<Listing, RegistryError> {
    let (watched, after) = (watched(&renewal)?, renewal.after);
    let waiter = registry.wait_for(&watched);
    write(registry, renewal, sender).await?;
    loop {
        let is_closed = waiter.is_closed();
        let found = registry.watched(&watched);
        let is_same = Some(found.version()) == after && !is_closed;
        if !is_same || !waiter.is_woken(until).await {
            return Ok(found.listing());
        }
    }
}

/// Returns the names of the watched services, each once.
fn watched(renewal: &Renewal) -> Result<BTreeSet<String>, RegistryError> {
    let names: BTreeSet<_> = renewal
        .watched
        .iter()
        .map(|name| name.to_lowercase())
        .collect();
    let is_valid = |name: &String| (1..=NAME_BYTES_MAX).contains(&name.len());
    match names.len() <= WATCHED_MAX && names.iter().all(is_valid) {
        true => Ok(names),
        false => Err(RegistryError::Invalid {
            parameter: "watched",
            problem: format!("at most {WATCHED_MAX} names of 1 to {NAME_BYTES_MAX} bytes"),
        }),
    }
}

async fn write(registry: &Registry, renewal: Renewal, sender: Sender) -> Result<(), RegistryError> {
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
            registry.register_from(sender, registration, now).await
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
    let url = url.filter(is_address);
    let host = url.as_ref().and_then(|url| Some((url, url.host_str()?)));
    let (url, host) = host.ok_or_else(|| RegistryError::Invalid {
        parameter: "address",
        problem: "must be scheme, host and port, such as http://10.0.0.7:8080".to_owned(),
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

/// Whether a URL is scheme, host and port alone; a password in it would be shown to every reader of the registry.
fn is_address(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.port() != Some(0)
}
