//! Reads a registration, in the fields of Eureka's `InstanceInfo`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::xml::XmlError;
use super::{EurekaFormat, read_xml};
use crate::model::{InstanceStatus, Lease, Links, Port, Registration, RegistrySource};

/// The data centers that Java clients know; they could not read a list with another one.
const DATA_CENTERS: [&str; 3] = ["MyOwn", "Netflix", "Amazon"];

/// Why a registration was refused; the texts of missing fields are those of Eureka's server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EurekaError {
    #[error("the JSON could not be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the XML could not be read: {0}")]
    Xml(#[from] XmlError),
    #[error("the body is not UTF-8")]
    Utf8(#[from] std::str::Utf8Error),
    #[error("Missing {0}")]
    Missing(&'static str),
    #[error("Mismatched appName, expecting {expected} but was {actual}")]
    Mismatch { expected: String, actual: String },
    #[error("{0}: not a value that Eureka's clients can read")]
    Invalid(&'static str),
}

/// Reads the registration of an instance of `app`, the name in the path.
pub(crate) fn read_registration(
    body: &[u8],
    format: EurekaFormat,
    app: &str,
) -> Result<Registration, EurekaError> {
    let document: Value = match format {
        EurekaFormat::Json => serde_json::from_slice(body)?,
        EurekaFormat::Xml => read_xml(std::str::from_utf8(body)?)?,
    };
    let info = Info(document.get("instance").unwrap_or(&Value::Null));
    let named = Named::read(info)?;
    if !named.app.eq_ignore_ascii_case(app) {
        return Err(EurekaError::Mismatch {
            expected: app.chars().take(100).collect(),
            actual: named.app.chars().take(100).collect(),
        });
    }
    let vip = info.text("vipAddress");
    // Java clients send the application in capitals, and its name as it is configured as the address.
    let service = match vip.eq_ignore_ascii_case(&named.app) {
        true => vip.clone(),
        false => named.app,
    };
    let lease = info.child("leaseInfo");
    let seconds = |name, default| lease.number(name).unwrap_or(default);
    Ok(Registration {
        service,
        instance: named.id,
        source: RegistrySource::Eureka,
        status: InstanceStatus::parse(&info.text("status")).unwrap_or_default(),
        host: named.host,
        ip: named.ip,
        port: info.port("port")?,
        secure_port: info.port("securePort")?,
        vip,
        secure_vip: info.text("secureVipAddress"),
        group: info.text("appGroupName"),
        data_center: named.data_center,
        links: links(info),
        metadata: info.metadata(),
        credentials: None,
        lease: Lease {
            renewal_s: seconds("renewalIntervalInSecs", Lease::default().renewal_s),
            duration_s: seconds("durationInSecs", Lease::default().duration_s),
        },
        // A long in Java.
        revised_ms: info
            .number::<i64>("lastDirtyTimestamp")
            .and_then(|millis| u64::try_from(millis).ok())
            .unwrap_or(0),
    })
}

/// The fields without which Eureka's server refuses a registration, checked in its order.
struct Named {
    id: String,
    host: String,
    ip: String,
    app: String,
    data_center: String,
}

impl Named {
    fn read(info: Info<'_>) -> Result<Self, EurekaError> {
        let host = info.text("hostName");
        let id = match info.text("instanceId") {
            id if id.is_empty() => host.clone(),
            id => id,
        };
        let ip = info.text("ipAddr");
        let app = info.text("app");
        let data_center = info.child("dataCenterInfo").text("name");
        for (value, name) in [
            (&id, "instanceId"),
            (&host, "hostname"),
            (&ip, "ip address"),
            (&app, "appName"),
            (&data_center, "dataCenterInfo Name"),
        ] {
            if value.is_empty() {
                let has_center = !info.child("dataCenterInfo").0.is_null();
                return Err(EurekaError::Missing(match name {
                    "dataCenterInfo Name" if !has_center => "dataCenterInfo",
                    name => name,
                }));
            }
        }
        if !DATA_CENTERS.contains(&data_center.as_str()) {
            return Err(EurekaError::Invalid("dataCenterInfo name"));
        }
        Ok(Self {
            id,
            host,
            ip,
            app,
            data_center,
        })
    }
}

fn links(info: Info<'_>) -> Links {
    Links {
        home: info.text("homePageUrl"),
        status_page: info.text("statusPageUrl"),
        health: info.text("healthCheckUrl"),
        secure_health: info.text("secureHealthCheckUrl"),
        management: String::new(),
    }
}

/// A part of a registration.
#[derive(Clone, Copy)]
struct Info<'a>(&'a Value);

impl<'a> Info<'a> {
    fn child(self, name: &str) -> Self {
        Self(self.0.get(name).unwrap_or(&Value::Null))
    }

    fn text(self, name: &str) -> String {
        text(self.child(name).0)
    }

    fn number<T: std::str::FromStr>(self, name: &str) -> Option<T> {
        self.text(name).parse().ok()
    }

    fn port(self, name: &'static str) -> Result<Port, EurekaError> {
        let port = self.child(name);
        let number = text(port.0);
        if number.is_empty() {
            return Ok(Port::default());
        }
        let number = number.parse().map_err(|_| EurekaError::Invalid(name))?;
        let enabled = port.text("@enabled");
        let is_enabled = match enabled.as_str() {
            // Only the port for `http` is enabled by default.
            "" => name == "port",
            word => word == "true",
        };
        Ok(Port { number, is_enabled })
    }

    fn metadata(self) -> BTreeMap<String, String> {
        let fields = self.child("metadata").0.as_object().into_iter().flatten();
        // Java writes the class of an empty map as one of its values.
        let own = fields.filter(|(name, _)| !name.starts_with('@') && *name != "$");
        own.map(|(name, value)| (name.clone(), text(value)))
            .collect()
    }
}

/// Returns the text of a value: itself, or the one beside its attributes.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Object(fields) => fields.get("$").map(text).unwrap_or_default(),
        Value::Null | Value::Array(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spring() -> Value {
        json!({"instance": {
            "instanceId": "pod-1:review:8080", "hostName": "pod-1", "app": "REVIEW", "ipAddr": "10.0.0.7",
            "status": "UP", "overriddenStatus": "UNKNOWN",
            "port": {"$": 8080, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
            "countryId": 1,
            "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
            "leaseInfo": {"renewalIntervalInSecs": 5, "durationInSecs": 15},
            "metadata": {"@class": "java.util.Collections$EmptyMap"},
            "homePageUrl": "http://pod-1:8080/", "vipAddress": "review", "secureVipAddress": "review",
            "lastDirtyTimestamp": "1795397400123",
        }})
    }

    fn read(value: &Value) -> Result<Registration, EurekaError> {
        read_registration(value.to_string().as_bytes(), EurekaFormat::Json, "REVIEW")
    }

    #[test]
    fn what_spring_sends_is_read() {
        let read = read(&spring()).unwrap();
        assert_eq!(
            (&*read.service, &*read.instance),
            ("review", "pod-1:review:8080")
        );
        assert_eq!(read.status, InstanceStatus::Up);
        assert_eq!(read.address(), "http://pod-1:8080");
        assert_eq!((read.lease.renewal_s, read.lease.duration_s), (5, 15));
        assert!(read.metadata.is_empty());
        assert_eq!(read.revised_ms, 1_795_397_400_123);
    }

    #[test]
    fn xml_is_read_as_json_is() {
        let mut text = String::new();
        super::super::put_xml(&mut text, "instance", &spring()["instance"]);
        let by_xml = read_registration(text.as_bytes(), EurekaFormat::Xml, "review");
        assert_eq!(by_xml.unwrap(), read(&spring()).unwrap());
    }

    #[test]
    fn the_missing_field_is_named() {
        for (field, problem) in [
            ("hostName", "Missing hostname"),
            ("ipAddr", "Missing ip address"),
            ("app", "Missing appName"),
            ("dataCenterInfo", "Missing dataCenterInfo"),
        ] {
            let mut without = spring();
            without["instance"].as_object_mut().unwrap().remove(field);
            assert_eq!(read(&without).unwrap_err().to_string(), problem);
        }
        let empty = json!({"instance": {}});
        assert_eq!(read(&empty).unwrap_err().to_string(), "Missing instanceId");
        let mut other = spring();
        other["instance"]["app"] = json!("ORDER");
        let problem = "Mismatched appName, expecting REVIEW but was ORDER";
        assert_eq!(read(&other).unwrap_err().to_string(), problem);
        for (field, value) in [
            ("port", json!({"$": 70_000})),
            ("dataCenterInfo", json!({"name": "Mars"})),
        ] {
            let mut wrong = spring();
            wrong["instance"][field] = value;
            assert!(
                matches!(read(&wrong), Err(EurekaError::Invalid(_))),
                "{field}"
            );
        }
    }
}
