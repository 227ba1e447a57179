//! The host names that are answered without a token: those that cannot be registered. Every place of a
//! request that names the host is checked.

use std::net::IpAddr;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

/// Top-level domains reserved for private use (`host.docker.internal`).
const RESERVED: [&str; 2] = [".localhost", ".internal"];

/// Returns whether a request names private hosts only: in `Host`, and in its URI, which HTTP/2 (`:authority`)
/// and HTTP/1.1 (absolute form) use instead.
pub(super) fn is_private(uri: &Uri, headers: &HeaderMap) -> bool {
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
    use http::HeaderValue;

    use super::*;

    fn is_private_host(uri: &str, hosts: &[&'static str]) -> bool {
        let hosts = hosts
            .iter()
            .map(|host| (HOST, HeaderValue::from_static(host)));
        let mut headers = HeaderMap::new();
        for (name, value) in hosts {
            headers.append(name, value);
        }
        is_private(&uri.parse().unwrap(), &headers)
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
}
