//! `reqwest` with a span around each request: `client::TraceLayer` with the API of reqwest.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use http::{Method, Uri};
use reqwest::ResponseBuilderExt;
use tower_service::Service;

use super::client_call::{self, Options, Target};
use super::client_request::TracedRequest;
use super::redirect::{self, Hop};
use crate::body::ResponseBody;
use crate::circuit_breaker::Outcome;
use crate::circuit_breaker::layer::HttpStatus;
use crate::error_type::Seen;
use crate::propagation::Propagator;

/// Limit of redirects per request, the same as reqwest's.
const MAX_REDIRECTS: usize = 10;

/// How long a client without settings waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client without settings waits for the head of a response, and then for each part of its body. As long as a
/// probe keeps its slot by default.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A `reqwest::Client` whose requests are traced; cheap to clone.
///
/// It is also a tower service for `http::Request`s, so that layers, for example a breaker's, can wrap it.
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
#[derive(Debug, Clone)]
pub struct TracedClient {
    client: reqwest::Client,
    options: Options,
    /// Limit of redirects per request that this client follows itself.
    redirects: usize,
}

impl Default for TracedClient {
    fn default() -> Self {
        Self::new()
    }
}

impl From<reqwest::Client> for TracedClient {
    /// Traces the requests of a client. If the client follows redirects itself, as it does unless its policy is `none`,
    /// they are part of one span, and context and baggage are sent to every host; see
    /// [`with_redirects`](TracedClient::with_redirects).
    ///
    /// Set a timeout, because reqwest has none: a call to a target that never answers would not end, so that no breaker
    /// could count it.
    fn from(client: reqwest::Client) -> Self {
        Self {
            client,
            options: Options::default(),
            redirects: 0,
        }
    }
}

impl TracedClient {
    /// Creates a client. At most 10 redirects are followed, each in its own span. A target that accepts no connection
    /// within 10 s, or sends nothing for 30 s, has timed out; a response may take any time in all. Everything else is as
    /// in reqwest. For other timeouts pass a client of your own to [`from`](Self::from), and see
    /// [`TracedRequest::timeout`].
    ///
    /// # Panics
    /// As `reqwest::Client::new`: if no TLS backend can be initialised.
    pub fn new() -> Self {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT);
        let client = builder.build().expect("a client without settings is built");
        Self::from(client).with_redirects(MAX_REDIRECTS)
    }

    /// Follows at most `limit` redirects of a request; after that the redirect response is returned unchanged. The
    /// client must have the policy `none`. Each redirect has its own span. Another origin (scheme, host or port)
    /// receives neither context, baggage nor credentials that were meant for the first.
    #[must_use]
    pub fn with_redirects(mut self, limit: usize) -> Self {
        self.redirects = limit;
        self
    }

    /// Sends context and baggage only to hosts for which `is_allowed` returns true, also after a redirect. Default: to
    /// every host that a request names, but not to hosts reached only by a redirect.
    #[must_use]
    pub fn with_propagation_to(mut self, is_allowed: fn(&str) -> bool) -> Self {
        self.options.hosts = Some(is_allowed);
        self
    }

    /// Uses `propagator` instead of the one configured with `fusebox::init`.
    #[must_use]
    pub fn with_propagator(mut self, propagator: Propagator) -> Self {
        self.options.propagator = Some(propagator);
        self
    }

    /// Sets the target that spans name, for example its `service.name` as `peer.service`.
    #[must_use]
    pub fn with_target(mut self, target: Target) -> Self {
        self.options.target = target;
        self
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
            builder: self.client.request(method, url),
        }
    }

    /// Sends a request in its own span, which ends with the body of the response; each redirect has its own span too.
    ///
    /// # Errors
    /// Returns the errors of `reqwest`.
    pub async fn execute(
        &self,
        request: reqwest::Request,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let first = request.url().clone();
        let mut options = self.options.clone();
        let mut next = request;
        for _ in 0..self.redirects {
            let hop = Hop::of(&next);
            let response = self.send(next, &options).await?;
            next = match hop.follow(&response) {
                Some(request) => request,
                None => return Ok(response),
            };
            if next.url().origin() != first.origin() {
                redirect::remove_credentials(next.headers_mut());
                // A host reached by a redirect needs an explicit list of allowed hosts.
                options.hosts = Some(self.options.hosts.unwrap_or(|_| false));
            } else {
                options.hosts = self.options.hosts;
            }
        }
        self.send(next, &options).await
    }

    /// Sends a request without following a redirect.
    async fn send(
        &self,
        mut request: reqwest::Request,
        options: &Options,
    ) -> Result<reqwest::Response, reqwest::Error> {
        // A URL that is not a valid `http::Uri` (reqwest rejects it too) only lacks attributes.
        let uri: Uri = request.url().as_str().parse().unwrap_or_default();
        let method = request.method().clone();
        let mut call = client_call::start(&method, &uri, request.headers_mut(), options);
        let mut sent = pin!(self.client.execute(request));
        let result = poll_fn(|cx| call.guard(|| sent.as_mut().poll(cx))).await;
        match result {
            Ok(response) => Ok(to_reqwest(call.answered(from_reqwest(response)))),
            // The URL is a redacted attribute; reqwest's message would repeat it unredacted.
            Err(error) => {
                let seen = Seen::of(&error);
                call.fail(seen.error_type(), &seen.description(&error));
                Err(error)
            }
        }
    }
}

impl TracedRequest<TracedClient> {
    /// Sends the request in its own span.
    ///
    /// # Errors
    /// Returns the errors of `reqwest`.
    pub async fn send(self) -> Result<reqwest::Response, reqwest::Error> {
        self.client.execute(self.builder.build()?).await
    }
}

/// Converts a response of `reqwest` and keeps its URL.
pub(super) fn from_reqwest(response: reqwest::Response) -> http::Response<reqwest::Body> {
    let url = http::Response::builder().url(response.url().clone());
    let mut response = http::Response::from(response);
    if let Ok(url) = url.body(()) {
        response
            .extensions_mut()
            .extend(url.into_parts().0.extensions);
    }
    response
}

/// Converts a response with a watched body back to one of `reqwest`.
pub(super) fn to_reqwest(
    response: http::Response<ResponseBody<reqwest::Body>>,
) -> reqwest::Response {
    response.map(reqwest::Body::wrap).into()
}

/// Returns the outcome of a failed `reqwest` call. An error from `error_for_status` is classified by its status, as
/// [`HttpStatus`] does, so a 404 does not open a breaker.
pub fn outcome(error: &reqwest::Error) -> Outcome {
    HttpStatus::new().outcome_of_error(error)
}

impl<B: Into<reqwest::Body>> Service<http::Request<B>> for TracedClient {
    type Response = http::Response<reqwest::Body>;
    type Error = reqwest::Error;
    // The type of reqwest's own future cannot be named.
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
