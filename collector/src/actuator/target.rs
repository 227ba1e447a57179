//! The actuator of one instance: its addresses by the registration, and the requests to its endpoints.

use http::StatusCode;
use serde_json::Value;
use url::Url;

use super::ActuatorError;
use super::fetch::{Answer, Fetcher, Kind};
use super::read::{self, Health};
use crate::model::{Credentials, Links, Registration};

/// The endpoint at which the address of a health check ends; all others are beside it.
const HEALTH: &str = "/health";

/// An actuator, or a health check alone.
#[derive(Debug, Clone)]
pub(super) struct Target {
    health: Url,
    /// The address below which the other endpoints are.
    base: Option<Url>,
    user: Option<Credentials>,
    fetcher: Fetcher,
}

impl Target {
    /// Returns the actuator of an instance; `None` if it registered none, and no health check.
    pub(super) fn of(registration: &Registration, fetcher: &Fetcher) -> Option<Self> {
        let (health, base) = addresses(&registration.links)?;
        Some(Self {
            health,
            base,
            user: user(registration),
            fetcher: fetcher.clone(),
        })
    }

    /// Whether there is more than a health check.
    pub(super) fn has_endpoints(&self) -> bool {
        self.base.is_some()
    }

    /// Whether the instance named a user.
    pub(super) fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// Returns the path below which the endpoints are.
    pub(super) fn path(&self) -> &str {
        self.base.as_ref().map_or("", Url::path)
    }

    /// Returns the health; an answer without one has one as well, by its status.
    pub(super) async fn health(&self) -> Result<Health, ActuatorError> {
        let answer = self.send(Kind::Health, &self.health, None).await?;
        Ok(read::health(answer.status, &answer.body))
    }

    /// Returns what `extract` reads from the JSON of an endpoint. The JSON is gone by then: it takes up to 16 times the memory of
    /// its text, so there are only as many as threads.
    pub(super) async fn get<T>(
        &self,
        path: &[&str],
        extract: impl FnOnce(&Value) -> T,
    ) -> Result<T, ActuatorError> {
        let answer = self
            .send(Kind::Endpoint, &self.endpoint(path)?, None)
            .await?;
        let path = path.join("/");
        match answer.status {
            StatusCode::OK => serde_json::from_slice(&answer.body)
                .map(|json| extract(&json))
                .map_err(|_| ActuatorError::Json { path }),
            status => Err(ActuatorError::Status { status, path }),
        }
    }

    /// Posts JSON to an endpoint; only an answer that accepts it is one.
    pub(super) async fn post(&self, path: &[&str], json: &Value) -> Result<(), ActuatorError> {
        let url = self.endpoint(path)?;
        let answer = self
            .send(Kind::Endpoint, &url, Some(json.to_string()))
            .await?;
        let (status, path) = (answer.status, path.join("/"));
        match status.is_success() {
            true => Ok(()),
            false => Err(ActuatorError::Status { status, path }),
        }
    }

    fn endpoint(&self, path: &[&str]) -> Result<Url, ActuatorError> {
        let mut url = self.base.clone().ok_or(ActuatorError::HealthOnly)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        Ok(url)
    }

    async fn send(
        &self,
        kind: Kind,
        url: &Url,
        json: Option<String>,
    ) -> Result<Answer, ActuatorError> {
        let sent = self.fetcher.send(kind, url, self.user.as_ref(), json);
        Ok(sent.await?)
    }
}

/// Returns the address of the health check and that of the actuator. Each is the registered one; where one is not registered, it
/// follows from the other.
fn addresses(links: &Links) -> Option<(Url, Option<Url>)> {
    let health = match links.health.as_str() {
        "" => &links.secure_health,
        health => health,
    };
    let base = match links.management.as_str() {
        "" => health.strip_suffix(HEALTH),
        management => Some(management),
    };
    let base = base.and_then(plain);
    let health = plain(health).or_else(|| {
        let mut beside = base.clone()?;
        beside
            .path_segments_mut()
            .ok()?
            .pop_if_empty()
            .push("health");
        Some(beside)
    });
    Some((health?, base))
}

fn plain(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    is_plain.then_some(url)
}

/// Returns the user that the instance named: as a client of Spring Boot Admin, or in its metadata in Eureka.
fn user(registration: &Registration) -> Option<Credentials> {
    let of_metadata = || {
        let value = |name| registration.metadata.get(name).cloned();
        Some(Credentials {
            name: value("user.name")?,
            password: value("user.password")?.into(),
        })
    };
    registration.credentials.clone().or_else(of_metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_check_is_where_it_was_registered() {
        let found = |management: &str, health: &str| {
            let links = Links {
                management: management.to_owned(),
                health: health.to_owned(),
                ..Links::default()
            };
            let (health, base) = addresses(&links)?;
            Some((health.to_string(), base.map(|base| base.to_string())))
        };
        let (base, health) = (
            "http://shop:8080/actuator",
            "http://shop:8080/actuator/health",
        );
        let pair =
            |health: &str, base: Option<&str>| Some((health.to_owned(), base.map(str::to_owned)));
        assert_eq!(found(base, ""), pair(health, Some(base)));
        assert_eq!(found("", health), pair(health, Some(base)));
        let own = "http://shop:9000/live";
        assert_eq!(found(base, own), pair(own, Some(base)));
        assert_eq!(found("", own), pair(own, None));
        for (management, health) in [
            ("", ""),
            ("ftp://shop/actuator", ""),
            ("http://ada:pw@shop/actuator", ""),
            ("", "http://shop/a?b=/health"),
        ] {
            assert_eq!(found(management, health), None, "{management} {health}");
        }
    }
}
