//! The actuator of one instance: its address by the registration, and the requests to its endpoints.

use http::StatusCode;
use serde_json::Value;
use url::Url;

use super::ActuatorError;
use super::fetch::{Answer, Fetcher};
use super::read::{self, Health};
use crate::model::{Credentials, Links, Registration};

/// The endpoint at which the address of a health check ends; all others are beside it.
const HEALTH: &str = "/health";

/// An actuator.
#[derive(Debug, Clone)]
pub(super) struct Target {
    base: Url,
    user: Option<Credentials>,
    fetcher: Fetcher,
}

impl Target {
    /// Returns the actuator of an instance; `None` if it registered none.
    pub(super) fn of(registration: &Registration, fetcher: &Fetcher) -> Option<Self> {
        Some(Self {
            base: base(&registration.links)?,
            user: user(registration),
            fetcher: fetcher.clone(),
        })
    }

    pub(super) fn path(&self) -> &str {
        self.base.path()
    }

    /// Returns the health; an answer without one has one as well, by its status.
    pub(super) async fn health(&self) -> Result<Health, ActuatorError> {
        let answer = self.send(&["health"], None).await?;
        Ok(read::health(answer.status, &answer.body))
    }

    /// Returns the JSON of an endpoint.
    pub(super) async fn get(&self, path: &[&str]) -> Result<Value, ActuatorError> {
        let answer = self.send(path, None).await?;
        let path = path.join("/");
        match answer.status {
            StatusCode::OK => {
                serde_json::from_slice(&answer.body).map_err(|_| ActuatorError::Json { path })
            }
            status => Err(ActuatorError::Status { status, path }),
        }
    }

    /// Posts JSON to an endpoint; only an answer that accepts it is one.
    pub(super) async fn post(&self, path: &[&str], json: &Value) -> Result<(), ActuatorError> {
        let answer = self.send(path, Some(json.to_string())).await?;
        let (status, path) = (answer.status, path.join("/"));
        match status.is_success() {
            true => Ok(()),
            false => Err(ActuatorError::Status { status, path }),
        }
    }

    async fn send(&self, path: &[&str], json: Option<String>) -> Result<Answer, ActuatorError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let sent = self.fetcher.send(&url, self.user.as_ref(), json);
        Ok(sent.await?)
    }
}

/// Returns the address of the actuator: the registered one, or that of the health check without its last part.
fn base(links: &Links) -> Option<Url> {
    let health = match links.health.as_str() {
        "" => &links.secure_health,
        health => health,
    };
    let text = match links.management.as_str() {
        "" => health.strip_suffix(HEALTH)?,
        management => management,
    };
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
    fn an_actuator_is_where_its_health_check_is() {
        let base = |management: &str, health: &str| {
            let links = Links {
                management: management.to_owned(),
                health: health.to_owned(),
                ..Links::default()
            };
            super::base(&links).map(|url| url.to_string())
        };
        let expected = Some("http://shop:8080/actuator".to_owned());
        assert_eq!(base("http://shop:8080/actuator", ""), expected);
        assert_eq!(base("", "http://shop:8080/actuator/health"), expected);
        for (management, health) in [
            ("", ""),
            ("", "http://shop:8080/healthz"),
            ("ftp://shop/actuator", ""),
            ("http://ada:pw@shop/actuator", ""),
            ("", "http://shop/a?b=/health"),
        ] {
            assert_eq!(base(management, health), None, "{management} {health}");
        }
    }
}
