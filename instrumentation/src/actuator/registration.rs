//! Registers the service with a Spring Boot Admin server and renews the registration as Spring's client does: the same
//! request every ten seconds as a heartbeat, and a final one that removes the service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::registry::STARTUP;
use crate::telemetry::{Protocol, Transport};
use crate::time::rfc3339;

/// Interval of renewals (Spring Boot Admin, `period`).
const PERIOD: Duration = Duration::from_secs(10);
/// How long the end of a service waits for the answer to a registration in progress, which could otherwise arrive after
/// the removal.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// Timeout of a request (`connect-timeout` and `read-timeout`).
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A Spring Boot Admin server and the data for the registration.
#[derive(Clone)]
pub struct Registration {
    server: String,
    login: Option<HeaderValue>,
    address: Option<String>,
    service_url: Option<String>,
    shows_token: bool,
    metadata: Map<String, Value>,
}

impl Registration {
    /// Registers with the server at this address, for example `http://127.0.0.1:8080`.
    pub fn with_server(url: &str) -> Self {
        Self {
            server: url.trim_end_matches('/').to_owned(),
            login: None,
            address: None,
            service_url: None,
            shows_token: false,
            metadata: Map::new(),
        }
    }

    /// Reads the variables of Spring's client: `SPRING_BOOT_ADMIN_CLIENT_URL`, `_USERNAME` and `_PASSWORD`,
    /// `_INSTANCE_MANAGEMENTBASEURL` and `_INSTANCE_SERVICEURL`. Returns `None` if the first is not set; empty ones count
    /// as not set.
    pub fn from_env() -> Option<Self> {
        let variable = |name: &str| {
            let value = std::env::var(format!("SPRING_BOOT_ADMIN_CLIENT_{name}")).ok();
            value.filter(|value| !value.is_empty())
        };
        let mut registration = Self::with_server(&variable("URL")?);
        if let (Some(user), Some(password)) = (variable("USERNAME"), variable("PASSWORD")) {
            registration = registration.with_login(&user, &password);
        }
        if let Some(url) = variable("INSTANCE_MANAGEMENTBASEURL") {
            registration = registration.with_address(&url);
        }
        registration.service_url = variable("INSTANCE_SERVICEURL");
        Some(registration)
    }

    /// Sets user and password for the server.
    #[must_use]
    pub fn with_login(mut self, user: &str, password: &str) -> Self {
        let login = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let mut login = HeaderValue::try_from(login).expect("base64 is text");
        login.set_sensitive(true);
        self.login = Some(login);
        self
    }

    /// Sets the address at which the server reaches the actuator, for example `http://shop-1:9001`. Default: the
    /// address on which it listens.
    #[must_use]
    pub fn with_address(mut self, url: &str) -> Self {
        self.address = Some(url.trim_end_matches('/').to_owned());
        self
    }

    /// Sets the address of the service itself, for links on the server's pages.
    #[must_use]
    pub fn with_service_url(mut self, url: &str) -> Self {
        self.service_url = Some(url.to_owned());
        self
    }

    /// Sends the actuator's token as the metadata `user.name` and `user.password`, with which the server logs in to
    /// change things. The server's pages do not show them.
    #[must_use]
    pub fn with_token_in_metadata(mut self) -> Self {
        self.shows_token = true;
        self
    }

    /// Adds metadata; the prefix `tags.` makes it a tag.
    #[must_use]
    pub fn with_metadata(mut self, name: &str, value: &str) -> Self {
        self.metadata.insert(name.to_owned(), value.into());
        self
    }

    /// Adds the present as the time at which the process started, unless the metadata has one.
    pub(super) fn with_startup(mut self) -> Self {
        let started = self.metadata.entry(STARTUP);
        started.or_insert_with(|| rfc3339(SystemTime::now()).into());
        self
    }

    /// Adds by which id telemetry names the instance, unless the metadata has one: a server that gets both knows that they are one.
    pub(super) fn with_instance(mut self, id: Option<&str>) -> Self {
        if let Some(id) = id {
            let named = self.metadata.entry("service.instance.id");
            named.or_insert_with(|| id.into());
        }
        self
    }

    fn application(&self, name: &str, address: SocketAddr, token: Option<&str>) -> Value {
        let own = || format!("http://{address}");
        let base = self.address.clone().unwrap_or_else(own);
        let mut metadata = self.metadata.clone();
        if let Some(token) = token.filter(|_| self.shows_token) {
            metadata.insert("user.name".to_owned(), "actuator".into());
            metadata.insert("user.password".to_owned(), token.into());
        }
        let mut application = json!({
            "name": name,
            "managementUrl": format!("{base}/actuator"),
            "healthUrl": format!("{base}/actuator/health"),
            "metadata": metadata,
        });
        if let Some(url) = &self.service_url {
            application["serviceUrl"] = url.as_str().into();
        }
        application
    }

    /// Registers and renews the registration until the result is dropped or leaves.
    pub(super) fn start(
        self,
        transport: Transport,
        name: &str,
        address: SocketAddr,
        token: Option<&str>,
    ) -> Registered {
        if self.address.is_none() && address.ip().is_unspecified() {
            tracing::warn!(target: "fusebox", %address, "Registration::with_address must say how Spring Boot Admin reaches the actuator");
        }
        let application = self.application(name, address, token).to_string();
        let (id, known) = watch::channel(None);
        let client = Client {
            transport,
            url: format!("{}/instances", self.server),
            login: self.login,
        };
        let leaving = Arc::new(Notify::new());
        let renewing = renew(client.clone(), application.into(), id, Arc::clone(&leaving));
        Registered {
            client,
            known,
            leaving,
            renewing: tokio::spawn(renewing),
        }
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let uri = self.server.parse::<Uri>().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        f.debug_struct("Registration")
            .field("host", &host)
            .finish_non_exhaustive()
    }
}

/// A running registration.
#[derive(Debug)]
pub(super) struct Registered {
    client: Client,
    known: watch::Receiver<Option<String>>,
    leaving: Arc<Notify>,
    renewing: JoinHandle<()>,
}

impl Registered {
    /// Removes the service from the server.
    pub(super) async fn leave(mut self) {
        self.leaving.notify_one();
        let _ = timeout(LEAVE_WITHIN, &mut self.renewing).await;
        self.renewing.abort();
        let id = self.known.borrow().clone();
        if let Some(id) = id {
            let url = format!("{}/{id}", self.client.url);
            let _ = self.client.send(Method::DELETE, &url, Bytes::new()).await;
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

#[derive(Debug, Clone)]
struct Client {
    transport: Transport,
    url: String,
    login: Option<HeaderValue>,
}

/// Why the server did not accept the registration.
#[derive(Debug, thiserror::Error)]
enum RegistrationError {
    #[error("no valid address: {0}")]
    Address(#[from] http::Error),
    #[error("{0}")]
    Unreachable(String),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer has no id")]
    Answer,
}

/// Registers repeatedly until the service leaves; logs the first of several failures and the first success after it.
async fn renew(
    client: Client,
    application: Bytes,
    id: watch::Sender<Option<String>>,
    leaving: Arc<Notify>,
) {
    let mut was_failing = false;
    loop {
        match client.register(application.clone()).await {
            Ok(given) => {
                let is_new = id.send_replace(Some(given.clone())).as_ref() != Some(&given);
                if is_new || was_failing {
                    tracing::info!(target: "fusebox", id = given, "registered with Spring Boot Admin");
                }
                was_failing = false;
            }
            Err(error) => {
                if !was_failing {
                    tracing::warn!(target: "fusebox", %error, "could not register with Spring Boot Admin");
                }
                was_failing = true;
            }
        }
        if timeout(PERIOD, leaving.notified()).await.is_ok() {
            return;
        }
    }
}

impl Client {
    async fn register(&self, application: Bytes) -> Result<String, RegistrationError> {
        let response = self.send(Method::POST, &self.url, application).await?;
        if response.0 != StatusCode::CREATED {
            return Err(RegistrationError::Status(response.0));
        }
        let answer: Value = serde_json::from_slice(&response.1).unwrap_or_default();
        let id = answer["id"].as_str().ok_or(RegistrationError::Answer)?;
        // The id becomes a part of a URL.
        let is_plain = id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        match is_plain && !id.is_empty() {
            true => Ok(id.to_owned()),
            false => Err(RegistrationError::Answer),
        }
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), RegistrationError> {
        let json = "application/json";
        let request = Request::builder().method(method).uri(url);
        let request = request.header(CONTENT_TYPE, json).header(ACCEPT, json);
        let request = match &self.login {
            Some(login) => request.header(AUTHORIZATION, login.clone()),
            None => request,
        };
        let sent = self
            .transport
            .send(Protocol::HttpProtobuf, request.body(body)?, ANSWER_WITHIN);
        let response = sent
            .await
            .map_err(|error| RegistrationError::Unreachable(error.to_string()))?;
        Ok((response.status(), response.into_body()))
    }
}
