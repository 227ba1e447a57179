//! Instances in the fields of Eureka's `InstanceInfo`, which Java clients read by name: some numbers are texts, and
//! attributes of the XML are fields that start with `@`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::EurekaFormat;
use crate::codec::redact;
use crate::model::{InstanceStatus, Port, Registered, Registration, UnixNanos};

const DATA_CENTER_CLASS: &str = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo";
const EMPTY_MAP_CLASS: &str = "java.util.Collections$EmptyMap";

/// Returns an instance; `action` is `ADDED`, `MODIFIED` or `DELETED`.
pub(crate) fn instance(
    registered: &Registered,
    last_renewed: UnixNanos,
    action: &str,
    format: EurekaFormat,
) -> Value {
    let registration = &registered.registration;
    let forced = registered.forced.as_ref().map(|forced| forced.status);
    let forced = forced.unwrap_or(InstanceStatus::Unknown).as_str();
    // The one field whose name differs between the formats.
    let forced_name = match format {
        EurekaFormat::Json => "overriddenStatus",
        EurekaFormat::Xml => "overriddenstatus",
    };
    let mut fields = json!({
        "instanceId": registration.instance,
        "hostName": registration.host,
        "app": written_app(&registration.service),
        "ipAddr": registration.ip,
        "status": written_status(registered.status()),
        (forced_name): forced,
        "port": port(registration.port, 7001),
        "securePort": port(registration.secure_port, 7002),
        "countryId": 1,
        "dataCenterInfo": {"@class": DATA_CENTER_CLASS, "name": data_center(registration)},
        "leaseInfo": lease(registered, last_renewed),
        "metadata": metadata(registration),
        "isCoordinatingDiscoveryServer": "false",
        "lastUpdatedTimestamp": registered.changed.millis().to_string(),
        "lastDirtyTimestamp": registration.revised_ms.to_string(),
        "actionType": action,
    });
    let links = &registration.links;
    for (name, value) in [
        ("appGroupName", &registration.group),
        ("homePageUrl", &links.home),
        ("statusPageUrl", &links.status_page),
        ("healthCheckUrl", &links.health),
        ("secureHealthCheckUrl", &links.secure_health),
        ("vipAddress", &registration.vip),
        ("secureVipAddress", &registration.secure_vip),
    ] {
        if !value.is_empty() {
            fields[name] = Value::from(value.as_str());
        }
    }
    fields
}

/// Returns the name of an application as Eureka's server writes it.
pub(crate) fn written_app(service: &str) -> String {
    service.to_uppercase()
}

/// Returns the code by which a client checks that it knows all instances: their number by status, such as `UP_2_`.
pub(crate) fn hash_code(statuses: impl Iterator<Item = InstanceStatus>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    statuses.for_each(|status| *counts.entry(written_status(status)).or_default() += 1);
    let parts = counts
        .iter()
        .map(|(status, count)| format!("{status}_{count}_"));
    parts.collect()
}

/// Returns a status that clients know.
fn written_status(status: InstanceStatus) -> &'static str {
    match status {
        InstanceStatus::Offline => InstanceStatus::Down,
        status => status,
    }
    .as_str()
}

/// Returns a port; unknown ones have Eureka's default number.
fn port(port: Port, default: u16) -> Value {
    let number = match port.number {
        0 => default,
        number => number,
    };
    json!({"$": number, "@enabled": port.is_enabled.to_string()})
}

fn data_center(registration: &Registration) -> &str {
    match registration.data_center.as_str() {
        "" => "MyOwn",
        name => name,
    }
}

fn lease(registered: &Registered, last_renewed: UnixNanos) -> Value {
    let lease = registered.registration.lease;
    json!({
        "renewalIntervalInSecs": lease.renewal_s,
        "durationInSecs": lease.duration_s,
        "registrationTimestamp": registered.since.millis(),
        "lastRenewalTimestamp": last_renewed.millis(),
        "evictionTimestamp": 0,
        "serviceUpTimestamp": registered.since.millis(),
    })
}

fn metadata(registration: &Registration) -> Value {
    let values = registration.metadata.iter();
    let values: Map<_, _> = values
        .map(|(name, value)| (name.clone(), Value::from(redact::shown(name, value))))
        .collect();
    match values.is_empty() {
        true => json!({"@class": EMPTY_MAP_CLASS}),
        false => Value::Object(values),
    }
}
