//! `reqwest` behind a breaker, which judges each response by its status and by how its body ends.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use http::Method;
use tower_service::Service;

use super::client_request::TracedRequest;
use super::traced_client::{TracedClient, from_reqwest, to_reqwest};
use crate::circuit_breaker::layer::{CircuitBreakerService, HttpStatus};
use crate::circuit_breaker::{CallError, CircuitBreaker};

/// A [`TracedClient`] behind a breaker; cheap to clone.
///
/// Responses are classified by [`HttpStatus`]: 5xx, 408 and 429 are failures although they are responses, as are a
/// failed connection, a body that breaks off, and a timeout (30 s without data, see [`TracedClient::new`]); 404 and
/// similar statuses say nothing about the target. The call ends with the body, so read or drop it.
///
/// ```no_run
/// use fusebox::circuit_breaker::{CallError, CircuitBreaker};
/// use fusebox::http::client::TracedClient;
///
/// # async fn example() -> Result<(), CallError<reqwest::Error>> {
/// let stock = TracedClient::new().with_breaker(CircuitBreaker::new("stock"));
/// let response = stock.get("http://127.0.0.1:8081/stock/7").send().await?;
/// println!("{}: {}", response.status(), response.text().await.map_err(CallError::Failed)?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ProtectedClient {
    client: TracedClient,
    breaker: CircuitBreaker,
    classifier: HttpStatus,
}

impl TracedClient {
    /// Puts `breaker` around this client.
    pub fn with_breaker(self, breaker: CircuitBreaker) -> ProtectedClient {
        ProtectedClient {
            client: self,
            breaker,
            classifier: HttpStatus::new(),
        }
    }
}

impl ProtectedClient {
    /// Sets the classifier of responses.
    #[must_use]
    pub fn classify(mut self, classifier: HttpStatus) -> Self {
        self.classifier = classifier;
        self
    }

    /// Returns the breaker.
    pub fn breaker(&self) -> &CircuitBreaker {
        &self.breaker
    }

    /// Starts a GET.
    pub fn get(&self, url: impl reqwest::IntoUrl) -> TracedRequest<Self> {
        self.request(Method::GET, url)
    }

    /// Starts a POST.
    pub fn post(&self, url: impl reqwest::IntoUrl) -> TracedRequest<Self> {
        self.request(Method::POST, url)
    }

    /// Starts a PUT.
    pub fn put(&self, url: impl reqwest::IntoUrl) -> TracedRequest<Self> {
        self.request(Method::PUT, url)
    }

    /// Starts a DELETE.
    pub fn delete(&self, url: impl reqwest::IntoUrl) -> TracedRequest<Self> {
        self.request(Method::DELETE, url)
    }

    /// Starts a request of any method.
    pub fn request(&self, method: Method, url: impl reqwest::IntoUrl) -> TracedRequest<Self> {
        TracedRequest {
            client: self.clone(),
            builder: self.client.request(method, url).builder,
        }
    }

    /// Sends a request in its own span, unless the breaker refuses.
    ///
    /// # Errors
    /// Returns the refusal, or an error of `reqwest`. A response with an error status is not an error: see
    /// `reqwest::Response::error_for_status`.
    pub async fn execute(
        &self,
        request: reqwest::Request,
    ) -> Result<reqwest::Response, CallError<reqwest::Error>> {
        let sender = Sender(self.client.clone());
        let breaker = self.breaker.clone();
        let mut service: CircuitBreakerService<Sender, HttpStatus> =
            CircuitBreakerService::new(sender, breaker, self.classifier);
        service.call(request).await.map(to_reqwest)
    }
}

impl TracedRequest<ProtectedClient> {
    /// Sends the request in its own span, unless the breaker refuses.
    ///
    /// # Errors
    /// Returns the refusal, or an error of `reqwest`. A request that cannot be built does not count as a call.
    pub async fn send(self) -> Result<reqwest::Response, CallError<reqwest::Error>> {
        let request = self.builder.build().map_err(CallError::Failed)?;
        self.client.execute(request).await
    }
}

/// The traced client as a tower service inside the breaker's service.
struct Sender(TracedClient);

impl Service<reqwest::Request> for Sender {
    type Response = http::Response<reqwest::Body>;
    type Error = reqwest::Error;
    // The type of reqwest's own future cannot be named.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), reqwest::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: reqwest::Request) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move { client.execute(request).await.map(from_reqwest) })
    }
}
