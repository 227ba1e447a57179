//! Servers with InfluxDB's API, distinguished by the headers of `/ping`.

use http::HeaderMap;

/// A generation of InfluxDB, or a compatible server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// InfluxDB 1.x.
    V1,
    /// InfluxDB 2.x.
    V2,
    /// InfluxDB 3.
    V3,
    /// openGemini, which implements the API of 1.x.
    OpenGemini,
}

/// A server that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its generation.
    pub generation: Generation,
    /// Its version, as it reports it.
    pub version: String,
}

impl Server {
    /// A server that answers pings without identifying itself: most imitations of InfluxDB implement the 1.x
    /// API.
    pub(super) fn unnamed() -> Self {
        Self {
            generation: Generation::V1,
            version: String::new(),
        }
    }

    /// Identifies the server by the headers of `/ping`; `None` if they do not name one.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        // openGemini has headers of its own, in some builds beside those of InfluxDB.
        if let Some(version) = text("x-geminidb-version") {
            return Some(Self {
                generation: Generation::OpenGemini,
                version: version.to_owned(),
            });
        }
        let build = text("x-influxdb-build").unwrap_or_default();
        let version = text("x-influxdb-version")?;
        let generation = match version.trim_start_matches('v') {
            _ if build.contains("Gemini") => Generation::OpenGemini,
            digits if digits.starts_with("2.") => Generation::V2,
            digits if digits.starts_with("3.") || build == "Core" => Generation::V3,
            _ => Generation::V1,
        };
        Some(Self {
            generation,
            version: version.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The headers are those of real answers; InfluxDB 3's are from its source.
    #[test]
    fn a_server_is_known_by_the_headers_of_its_ping() {
        let table = [
            ("x-influxdb-version", "1.6.7~rc0", "OSS", Generation::V1),
            ("x-influxdb-version", "1.8.10", "OSS", Generation::V1),
            ("x-influxdb-version", "v2.9.1", "OSS", Generation::V2),
            ("x-influxdb-version", "3.10.1", "Core", Generation::V3),
            ("x-influxdb-version", "3.10.1", "Enterprise", Generation::V3),
            (
                "x-geminidb-version",
                "v1.5.2",
                "OSS",
                Generation::OpenGemini,
            ),
        ];
        for (header, version, build, generation) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header, HeaderValue::from_static(version));
            headers.insert("x-influxdb-build", HeaderValue::from_static(build));
            let version = version.to_owned();
            let wanted = Server {
                generation,
                version,
            };
            assert_eq!(Server::of(&headers), Some(wanted));
        }
        assert_eq!(Server::of(&HeaderMap::new()), None);
    }
}
