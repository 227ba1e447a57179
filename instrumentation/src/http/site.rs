//! Checks for listeners without a token: whether a page of another site sent a request, and whether the request names a
//! host that anyone could register and point to this machine.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Uri};

/// Top-level domains reserved for private use (`host.docker.internal`).
const RESERVED: [&str; 2] = [".localhost", ".internal"];

/// Returns whether a request comes from a page of the same origin, or not from a page.
///
/// Browsers report it in `Sec-Fetch-Site`, or else in `Origin`. A request without both does not come from a browser
/// that another site could have misled.
pub fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    match (text(ORIGIN.as_str()), text(HOST.as_str())) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin
            .split_once("://")
            .is_some_and(|(_, rest)| rest == host),
        (Some(_), None) => false,
    }
}

/// Returns whether a request names only private hosts: in `Host`, and in its URI, which HTTP/2 (`:authority`) and
/// HTTP/1.1 (absolute form) use instead. Any other name can be registered by anyone and pointed to this machine (DNS
/// rebinding); browsers then let pages of that name read this machine's answers.
pub fn names_private_host(uri: &Uri, headers: &HeaderMap) -> bool {
    let is_private_header =
        |value| Authority::try_from(value).is_ok_and(|host| is_private_name(&host));
    let mut named = headers.get_all(HOST).iter();
    uri.authority().is_none_or(is_private_name)
        && named.all(|value| is_private_header(value.as_bytes()))
}

/// Returns whether a host is an IP address or a name that cannot be registered: one without a dot, or below a
/// reserved top-level domain.
fn is_private_name(authority: &Authority) -> bool {
    let host = authority.host().to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok()
        || !host.contains('.')
        || RESERVED.iter().any(|suffix| host.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn is_private_host(uri: &str, hosts: &[&'static str]) -> bool {
        let hosts = hosts
            .iter()
            .map(|host| (HOST, HeaderValue::from_static(host)));
        let mut headers = HeaderMap::new();
        for (name, value) in hosts {
            headers.append(name, value);
        }
        names_private_host(&uri.parse().unwrap(), &headers)
    }

    #[test]
    fn names_that_anyone_can_register_are_not_private() {
        for host in [
            "127.0.0.1:9411",
            "[::1]:9411",
            "LOCALHOST",
            "fusebox:9411",
            "a.localhost",
            "host.docker.internal:9411",
        ] {
            assert!(is_private_host("/", &[host]), "{host}");
        }
        for host in [
            "evil.example:9411",
            "127.0.0.1.evil.example",
            "a.",
            "",
            "a b",
        ] {
            assert!(!is_private_host("/", &[host]), "{host}");
        }
    }

    #[test]
    fn every_place_of_the_host_is_looked_at() {
        assert!(is_private_host("/", &[]));
        assert!(is_private_host("https://localhost:9411/", &[]));
        assert!(is_private_host("http://[::1]:9411/", &["127.0.0.1"]));
        assert!(!is_private_host("https://evil.example:9411/", &[]));
        assert!(!is_private_host("http://evil.example/", &["localhost"]));
        assert!(!is_private_host("/", &["localhost", "evil.example"]));
    }

    #[test]
    fn forms_of_other_sites_are_refused() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            };
            pairs.iter().map(pair).collect::<HeaderMap>()
        };
        let site = |site| headers(&[("sec-fetch-site", site), ("host", "a:1")]);
        let origin = |origin| headers(&[("origin", origin), ("host", "a:1")]);
        for ours in [
            site("same-origin"),
            site("none"),
            origin("http://a:1"),
            headers(&[]),
        ] {
            assert!(is_same_origin(&ours), "{ours:?}");
        }
        for other in [
            site("cross-site"),
            site("same-site"),
            origin("null"),
            origin("http://b:1"),
            headers(&[("origin", "http://a:1")]),
        ] {
            assert!(!is_same_origin(&other), "{other:?}");
        }
    }
}
