//! `reqwest` with a span around each request: what `client::TraceLayer` does, with reqwest's ergonomics.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Uri};
use serde::Serialize;
use tower_service::Service;
use tracing::Instrument;

use super::client_call::{ClientCall, Options, Target};
use crate::circuit_breaker::Outcome;
use crate::circuit_breaker::layer::HttpStatus;
use crate::propagation::Propagator;

/// A `reqwest::Client` whose requests are traced; cheap to clone.
///
/// It is also a tower service of `http::Request`s, so that layers (the breaker's, for example) stack on it.
///
/// ```no_run
/// # async fn example() -> Result<(), reqwest::Error> {
/// use fusebox::http::client::TracedClient;
///
/// let client = TracedClient::new();
/// let response = client.get("http://127.0.0.1:8081/stock/7").send().await?;
/// println!("{}", response.error_for_status()?.text().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct TracedClient {
    client: reqwest::Client,
    options: Options,
}

impl From<reqwest::Client> for TracedClient {
    fn from(client: reqwest::Client) -> Self {
        Self {
            client,
            options: Options::default(),
        }
    }
}

impl TracedClient {
    /// Creates a client with reqwest's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses `propagator` instead of the one configured with `fusebox::init`.
    #[must_use]
    pub fn with_propagator(mut self, propagator: Propagator) -> Self {
        self.options.propagator = Some(propagator);
        self
    }

    /// Sets whom spans name as the other side: its `service.name` as `peer.service`, for example.
    #[must_use]
    pub fn with_target(mut self, target: Target) -> Self {
        self.options.target = target;
        self
    }

    /// Starts a GET.
    pub fn get(&self, url: impl reqwest::IntoUrl) -> TracedRequest {
        self.request(Method::GET, url)
    }

    /// Starts a POST.
    pub fn post(&self, url: impl reqwest::IntoUrl) -> TracedRequest {
        self.request(Method::POST, url)
    }

    /// Starts a PUT.
    pub fn put(&self, url: impl reqwest::IntoUrl) -> TracedRequest {
        self.request(Method::PUT, url)
    }

    /// Starts a DELETE.
    pub fn delete(&self, url: impl reqwest::IntoUrl) -> TracedRequest {
        self.request(Method::DELETE, url)
    }

    /// Starts a request of any method.
    pub fn request(&self, method: Method, url: impl reqwest::IntoUrl) -> TracedRequest {
        TracedRequest {
            client: self.clone(),
            builder: self.client.request(method, url),
        }
    }

    /// Sends a request in a span of its own; the span ends when the response's headers have arrived.
    ///
    /// # Errors
    /// Those of `reqwest`.
    pub async fn execute(
        &self,
        mut request: reqwest::Request,
    ) -> Result<reqwest::Response, reqwest::Error> {
        // A URL that is not a valid `http::Uri` (reqwest rejects it too) only loses its attributes.
        let uri: Uri = request.url().as_str().parse().unwrap_or_default();
        let method = request.method().clone();
        let mut call = ClientCall::start_parts(&method, &uri, request.headers_mut(), &self.options);
        let sent = self.client.execute(request);
        let result = sent.instrument(call.span().clone()).await;
        match &result {
            Ok(response) => call.answered(response.status()),
            // The URL is an attribute, redacted; reqwest's message would repeat it unredacted.
            Err(error) => call.failed(error_type(error), &describe(error)),
        }
        result
    }
}

/// Returns the outcome of a failed `reqwest` call: that of its status, as [`HttpStatus`] classifies it, if
/// `error_for_status` made the error. A 404 therefore does not open a breaker.
pub fn outcome(error: &reqwest::Error) -> Outcome {
    match error.status() {
        Some(status) => HttpStatus::outcome(status),
        None if error.is_timeout() => Outcome::Timeout,
        None => Outcome::Failure,
    }
}

/// The `error.type`, of low cardinality.
fn error_type(error: &reqwest::Error) -> &'static str {
    match error {
        error if error.is_timeout() => crate::semconv::ERROR_TYPE_TIMEOUT,
        error if error.is_connect() => "connect",
        error if error.is_redirect() => "redirect",
        error if error.is_builder() => "invalid_request",
        _ => "request",
    }
}

/// The message of the innermost cause, which contains no URL.
fn describe(error: &reqwest::Error) -> String {
    let mut cause = std::error::Error::source(error);
    let mut text = error_type(error).to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

/// A request being built; the methods are those of `reqwest::RequestBuilder`.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct TracedRequest {
    client: TracedClient,
    builder: reqwest::RequestBuilder,
}

impl TracedRequest {
    /// Adds a header.
    pub fn header<K, V>(self, name: K, value: V) -> Self
    where
        HeaderName: TryFrom<K>,
        <HeaderName as TryFrom<K>>::Error: Into<http::Error>,
        HeaderValue: TryFrom<V>,
        <HeaderValue as TryFrom<V>>::Error: Into<http::Error>,
    {
        self.with(|builder| builder.header(name, value))
    }

    /// Adds query parameters.
    pub fn query<T: Serialize + ?Sized>(self, query: &T) -> Self {
        self.with(|builder| builder.query(query))
    }

    /// Sets a JSON body.
    pub fn json<T: Serialize + ?Sized>(self, json: &T) -> Self {
        self.with(|builder| builder.json(json))
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<reqwest::Body>) -> Self {
        self.with(|builder| builder.body(body))
    }

    /// Sets the timeout for the whole request, body included.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|builder| builder.timeout(timeout))
    }

    /// Applies any other method of `reqwest::RequestBuilder`.
    pub fn with(
        mut self,
        change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Self {
        self.builder = change(self.builder);
        self
    }

    /// Sends the request in a span of its own.
    ///
    /// # Errors
    /// Those of `reqwest`.
    pub async fn send(self) -> Result<reqwest::Response, reqwest::Error> {
        self.client.execute(self.builder.build()?).await
    }
}

impl<B: Into<reqwest::Body>> Service<http::Request<B>> for TracedClient {
    type Response = http::Response<reqwest::Body>;
    type Error = reqwest::Error;
    // reqwest's own future cannot be named.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), reqwest::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let client = self.clone();
        let request = reqwest::Request::try_from(request);
        Box::pin(async move { client.execute(request?).await.map(Into::into) })
    }
}
