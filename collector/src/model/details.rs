//! What the actuator of an instance says about its program, for readers of Spring Boot Admin's API. Stored with the
//! registration; everything is from the instance and bounded here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Largest `info` or health, bytes of JSON; those of a build with its repository and JVM, and of a few parts, have 1 KiB.
const OBJECT_BYTES_MAX: usize = 8 << 10;
/// Endpoints; Spring Boot has 25.
const ENDPOINTS_MAX: usize = 64;
/// Longest id or address of an endpoint, bytes.
const TEXT_BYTES_MAX: usize = 300;

/// `info` and the endpoints of an actuator; empty until they are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// What the actuator answers to `info`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub info: Map<String, Value>,
    /// The addresses of its endpoints, by id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, String>,
    /// The parts of its health when its status changed last.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub health: Map<String, Value>,
}

impl Details {
    /// Returns an object within the limits; one that is too large is empty.
    pub(crate) fn read_object(json: &Value) -> Map<String, Value> {
        let object = json.as_object().cloned().unwrap_or_default();
        match bytes(&object) <= OBJECT_BYTES_MAX {
            true => object,
            false => Map::new(),
        }
    }

    /// Reads the links of an actuator. Those to itself and those with parts to fill in are no endpoints.
    pub(crate) fn read_endpoints(index: &Value) -> BTreeMap<String, String> {
        let links = index["_links"].as_object().into_iter().flatten();
        let endpoints = links.filter_map(|(id, link)| {
            let href = link["href"].as_str()?;
            let is_endpoint = id != "self" && link["templated"] != true;
            let is_short = [id.as_str(), href]
                .iter()
                .all(|it| it.len() <= TEXT_BYTES_MAX);
            (is_endpoint && is_short).then(|| (id.clone(), href.to_owned()))
        });
        endpoints.take(ENDPOINTS_MAX).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the length of all its texts, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self
            .endpoints
            .iter()
            .map(|(id, href)| id.len() + href.len());
        texts.sum::<usize>() + bytes(&self.info) + bytes(&self.health)
    }
}

fn bytes(info: &Map<String, Value>) -> usize {
    match info.is_empty() {
        true => 0,
        false => serde_json::to_string(info).map_or(0, |json| json.len()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_to_fill_in_are_no_endpoints() {
        let link = |href: &str, templated: bool| json!({"href": href, "templated": templated});
        let index = json!({"_links": {
            "self": link("http://shop/actuator", false),
            "health": link("http://shop/actuator/health", false),
            "health-path": link("http://shop/actuator/health/{*path}", true),
            "long": link(&"x".repeat(301), false),
            "odd": 7,
        }});
        let endpoints = Details::read_endpoints(&index);
        let expected = [(
            "health".to_owned(),
            "http://shop/actuator/health".to_owned(),
        )];
        assert_eq!(endpoints, BTreeMap::from(expected));
        assert_eq!(Details::read_endpoints(&json!([])), BTreeMap::new());
    }

    #[test]
    fn a_large_info_is_left_out() {
        let info = json!({"build": {"version": "1.4.2"}});
        assert_eq!(Value::Object(Details::read_object(&info)), info);
        let large = json!({"notes": "x".repeat(OBJECT_BYTES_MAX)});
        for unusable in [large, json!("text"), json!(null)] {
            assert!(Details::read_object(&unusable).is_empty());
        }
    }
}
