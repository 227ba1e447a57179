//! The endpoint of a load, with the request line and headers of its requests.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, TE};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Uri, Version};

use super::{LoadError, LoadOptions};

const HTTP_PATH: &str = "/v1/traces";
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// An OTLP endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) grpc: bool,
    authority: String,
}

impl Endpoint {
    /// Reads the endpoint of the options.
    pub(super) fn new(options: &LoadOptions) -> Result<Self, LoadError> {
        let refuse = |reason| LoadError::Endpoint {
            endpoint: options.endpoint.clone(),
            reason,
        };
        let mut parts = options
            .endpoint
            .parse::<Uri>()
            .map_err(|_| refuse("it is no URL"))?
            .into_parts();
        if parts.scheme != Some(Scheme::HTTP) {
            return Err(refuse("only http:// is supported"));
        }
        let Some(authority) = &parts.authority else {
            return Err(refuse("it names no host"));
        };
        let port = authority.port_u16().unwrap_or(80);
        let address = format!("{}:{port}", authority.host());
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| refuse("bad host"))?;
        let given = parts
            .path_and_query
            .as_ref()
            .map_or("/", PathAndQuery::path);
        let path = path(options.grpc, given);
        parts.path_and_query = Some(path.parse().map_err(|_| refuse("bad path"))?);
        Ok(Self {
            uri: Uri::from_parts(parts).map_err(|_| refuse("it is no URL"))?,
            headers: headers(options, host),
            grpc: options.grpc,
            authority: address,
        })
    }

    /// Returns host and port.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn request<B>(&self, body: B) -> http::Request<B> {
        let mut request = http::Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.headers_mut() = self.headers.clone();
        if self.grpc {
            *request.version_mut() = Version::HTTP_2;
            *request.uri_mut() = self.uri.clone();
        } else {
            // HTTP/1.1 has only the path in its request line.
            *request.uri_mut() = Uri::from(
                self.uri
                    .path_and_query()
                    .cloned()
                    .unwrap_or(PathAndQuery::from_static(HTTP_PATH)),
            );
        }
        request
    }
}

fn path(grpc: bool, given: &str) -> String {
    let base = given.trim_end_matches('/');
    if grpc {
        GRPC_PATH.to_owned()
    } else if base.ends_with(HTTP_PATH) {
        base.to_owned()
    } else {
        format!("{base}{HTTP_PATH}")
    }
}

fn headers(options: &LoadOptions, host: HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let gzip = HeaderValue::from_static("gzip");
    if options.grpc {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        if options.gzip {
            headers.insert("grpc-encoding", gzip);
        }
    } else {
        headers.insert(HOST, host);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        if options.gzip {
            headers.insert(CONTENT_ENCODING, gzip);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(endpoint: &str, grpc: bool) -> Result<String, LoadError> {
        let options = LoadOptions {
            endpoint: endpoint.to_owned(),
            grpc,
            ..LoadOptions::default()
        };
        Endpoint::new(&options).map(|endpoint| endpoint.uri.to_string())
    }

    #[test]
    fn an_endpoint_gets_the_path_of_its_protocol() {
        for given in ["http://a:1", "http://a:1/", "http://a:1/v1/traces"] {
            assert_eq!(uri(given, false).unwrap(), "http://a:1/v1/traces");
        }
        assert_eq!(
            uri("http://a:1/otlp", false).unwrap(),
            "http://a:1/otlp/v1/traces"
        );
        assert_eq!(
            uri("http://a:1", true).unwrap(),
            format!("http://a:1{GRPC_PATH}")
        );
    }

    #[test]
    fn other_schemes_than_http_are_refused() {
        for given in ["", "a:1", "https://a:1", "/v1/traces", "http://"] {
            assert!(uri(given, false).is_err(), "{given}");
        }
    }
}
