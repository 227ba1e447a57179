//! One request of a client: its span, the attributes of its target, and the context in the request's headers.

use std::sync::Arc;

use http::uri::Authority;
use http::{HeaderMap, Method, Uri, header};
use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_http::HeaderInjector;
use tracing::Span;

use super::durations::Measured;
use super::request_span::{RequestSpan, Side};
use super::semantics;
use crate::propagation::Propagator;
use crate::resilience::attempt;

/// The target of a client's requests, for the attributes of its spans.
///
/// A request usually names its host in its URI or in its `Host` header. In a gRPC call, or with a client that adds the
/// host below the layer, neither is present when the layer sees the request; then this address is used.
#[derive(Debug, Clone, Default)]
pub struct Target {
    address: Uri,
    service: Option<Arc<str>>,
}

impl Target {
    /// Creates a target from a URL; its path is ignored. A URL that cannot be parsed gives no address.
    pub fn new(url: &str) -> Self {
        Self {
            address: url.parse().unwrap_or_default(),
            service: None,
        }
    }

    /// Sets the `service.name` of the target, which spans send as `peer.service`.
    #[must_use]
    pub fn named(mut self, service: &str) -> Self {
        self.service = Some(service.into());
        self
    }

    /// Returns `server.address` and `server.port` of a request.
    fn of(&self, uri: &Uri, headers: &HeaderMap) -> (Option<String>, Option<i64>) {
        let host = || headers.get(header::HOST)?.to_str().ok()?.parse().ok();
        let host: Option<Authority> = uri.authority().cloned().or_else(host);
        let (authority, scheme) = match host {
            Some(host) => (Some(host), uri.scheme_str()),
            None => (self.address.authority().cloned(), self.address.scheme_str()),
        };
        let scheme = scheme.unwrap_or("http");
        let address = authority.map(|host| semantics::address(&host, scheme));
        let (address, port) = address.unzip();
        (address, port.flatten())
    }
}

/// The options that all calls of a client share.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) propagator: Option<Propagator>,
    pub(super) target: Target,
    /// The hosts that receive context and baggage; `None` for all.
    pub(super) hosts: Option<fn(&str) -> bool>,
}

impl Options {
    pub(super) fn propagates_to(&self, host: &str) -> bool {
        self.hosts.is_none_or(|is_allowed| is_allowed(host))
    }
}

/// Opens the span of a request as a child of the current one, and writes its context into the headers.
pub(super) fn start(
    method: &Method,
    uri: &Uri,
    headers: &mut HeaderMap,
    options: &Options,
) -> RequestSpan {
    let (address, port) = options.target.of(uri, headers);
    let measured = Measured::client(measured_attributes(method, address.as_deref(), port));
    let span = client_span(method, uri, (address, port), &options.target);
    let propagator = options.propagator.unwrap_or_else(Propagator::configured);
    propagator.clear(headers);
    if options.propagates_to(uri.host().unwrap_or_default()) {
        // The span's context, or the current one if spans are not recorded.
        span.in_scope(|| propagator.inject(&mut HeaderInjector(headers)));
    }
    RequestSpan::new(span, Side::Client, measured)
}

/// Returns the attributes of the duration metric that are known at the start.
fn measured_attributes(method: &Method, address: Option<&str>, port: Option<i64>) -> Vec<KeyValue> {
    let method = semantics::method(method).to_owned();
    let address = address.map(|address| KeyValue::new("server.address", address.to_owned()));
    let port = port.map(|port| KeyValue::new("server.port", port));
    let known = [KeyValue::new("http.request.method", method)];
    known.into_iter().chain(address).chain(port).collect()
}

fn client_span(
    method: &Method,
    uri: &Uri,
    (address, port): (Option<String>, Option<i64>),
    target: &Target,
) -> Span {
    let repeats = i64::from(attempt::repeats());
    tracing::info_span!(
        target: "fusebox",
        "http client",
        otel.name = semantics::method_in_name(method),
        otel.kind = "client",
        http.request.method = semantics::method(method),
        http.request.method_original = semantics::original_method(method),
        http.request.resend_count = (repeats > 0).then_some(repeats),
        url.full = semantics::full_url(uri),
        server.address = address,
        server.port = port,
        peer.service = target.service.as_deref(),
        http.response.status_code = tracing::field::Empty,
        rpc.response.status_code = tracing::field::Empty,
        error.type = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
        otel.status_description = tracing::field::Empty,
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_request_names_its_host_before_the_target_does() {
        let target = Target::new("https://[::1]:50051/any").named("stock");
        let of = |uri: &'static str, host: Option<&'static str>| {
            let host = host.map(|host| (header::HOST, HeaderValue::from_static(host)));
            target.of(&Uri::from_static(uri), &host.into_iter().collect())
        };
        let found = |address: &str, port| (Some(address.to_owned()), Some(port));
        assert_eq!(of("http://shop/a", Some("other:1")), found("shop", 80));
        assert_eq!(of("/a", Some("other:81")), found("other", 81));
        assert_eq!(of("/stock.Stock/Get", None), found("::1", 50051));
        let unknown = Target::default().of(&Uri::from_static("/a"), &HeaderMap::new());
        assert_eq!(unknown, (None, None));
    }
}
