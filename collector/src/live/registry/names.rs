//! Finds the telemetry of registered instances, which may have other names there: Eureka's clients send applications in
//! capitals, and Spring's ids consist of host, application and port. Pure.

use std::collections::HashMap;

use super::Listed;
use crate::model::Registration;

/// Service and id.
type Key = (String, String);

/// The metadata in which a registration may have the id of its telemetry.
pub(crate) const TELEMETRY_ID: &str = "service.instance.id";

/// The names that instances have in their telemetry, and what tells which of them a registered one is.
#[derive(Debug, Default)]
pub(crate) struct TelemetryNames {
    /// The names in the telemetry, by themselves in lower case.
    telemetry: HashMap<Key, Key>,
    /// Number of registered instances of a service on a host.
    on_host: HashMap<Key, usize>,
}

impl TelemetryNames {
    /// Takes service and id of each instance in telemetry, and every registered instance.
    pub(crate) fn new<'a>(
        telemetry: impl IntoIterator<Item = (&'a str, &'a str)>,
        registered: &[Listed],
    ) -> Self {
        let mut names = Self::default();
        for (service, id) in telemetry {
            let key = (service.to_owned(), id.to_owned());
            names.telemetry.entry(lower(service, id)).or_insert(key);
        }
        for listed in registered {
            let registration = &listed.registered.registration;
            let host = lower(&registration.service, &registration.host);
            *names.on_host.entry(host).or_default() += 1;
        }
        names
    }

    /// Returns the names that the telemetry of a registered instance has, if there is any.
    pub(crate) fn of(&self, registration: &Registration) -> Option<(&str, &str)> {
        let Registration {
            service,
            instance,
            host,
            ip,
            metadata,
            ..
        } = registration;
        let port = match registration.secure_port.is_enabled {
            true => registration.secure_port.number,
            false => registration.port.number,
        };
        // The telemetry of a host is that of its only instance.
        let is_alone = self.on_host.get(&lower(service, host)) == Some(&1);
        let of_host = [host.clone(), ip.clone()].into_iter();
        let ids = [instance.clone()].into_iter();
        let ids = ids
            .chain(metadata.get(TELEMETRY_ID).cloned())
            .chain([format!("{host}:{port}"), format!("{ip}:{port}")])
            .chain(of_host.filter(|_| is_alone));
        let mut found = ids.filter_map(|id| {
            self.telemetry
                .get(&lower(service, &id))
                .filter(|_| !id.is_empty())
        });
        let (service, id) = found.next()?;
        Some((service, id))
    }
}

fn lower(service: &str, id: &str) -> Key {
    (service.to_lowercase(), id.to_lowercase())
}
