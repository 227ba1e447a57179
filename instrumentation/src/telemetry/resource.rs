//! The resource of all spans, metrics and events, which identifies service and process.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;

use super::TelemetryConfig;

/// Builds the resource; attributes of the configuration win over detected ones.
pub(super) fn build(config: &TelemetryConfig) -> Resource {
    let pid = i64::from(std::process::id());
    let detected = [
        KeyValue::new("service.instance.id", random_uuid()),
        KeyValue::new("host.name", host_name()),
        KeyValue::new("process.pid", pid),
    ];
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(detected)
        .with_attributes(config.attributes.iter().cloned())
        .with_service_name(config.service_name.clone())
        .build()
}

/// Returns a version 4 UUID, as the conventions recommend for `service.instance.id`.
fn random_uuid() -> String {
    let id = fastrand::u128(..);
    let id = id & !(0xf << 76) | 4 << 76; // version
    let id = id & !(0b11 << 62) | 0b10 << 62; // variant
    let hex = format!("{id:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]);
    parts.join("-")
}

fn host_name() -> String {
    let file = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = file.or_else(|| std::env::var("HOSTNAME").ok());
    let name = name.or_else(|| std::env::var("COMPUTERNAME").ok());
    name.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use opentelemetry::Key;

    use super::*;

    #[test]
    fn every_start_is_a_new_instance_unless_configured() {
        let config = TelemetryConfig::from_env("shop").with_service_name("shop");
        let get = |resource: &Resource, key: &'static str| {
            resource
                .get(&Key::from_static_str(key))
                .map(|value| value.to_string())
        };
        let (first, second) = (build(&config), build(&config));
        let id = get(&first, "service.instance.id").unwrap();
        assert_ne!(Some(&id), get(&second, "service.instance.id").as_ref());
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
        assert_eq!(get(&first, "service.name").unwrap(), "shop");
        for key in ["host.name", "process.pid", "telemetry.sdk.language"] {
            assert!(get(&first, key).is_some(), "{key}");
        }
        let named = config.with_attribute(KeyValue::new("service.instance.id", "shop-1"));
        assert_eq!(
            get(&build(&named), "service.instance.id").unwrap(),
            "shop-1"
        );
    }
}
