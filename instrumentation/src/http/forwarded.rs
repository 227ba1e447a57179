//! The addresses for which proxies forwarded a request. Clients can write these headers themselves, but every proxy
//! appends the address that it saw. So if one address is not trusted or cannot be parsed, the request came from
//! outside.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;

/// Returns every address in `X-Forwarded-For`, in `X-Real-IP` (the only header of some proxy configurations) and in
/// `for` of `Forwarded` (RFC 7239); `None` for one that is hidden or cannot be parsed.
pub(super) fn addresses(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let values = |name| {
        headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap_or("?"))
    };
    let listed = values("x-forwarded-for")
        .flat_map(|value| value.split(','))
        .chain(values("x-real-ip"))
        .map(address);
    let pairs = values("forwarded").flat_map(|value| value.split([',', ';']));
    let named = pairs.filter_map(|pair| match pair.split_once('=') {
        Some((name, node)) => name
            .trim()
            .eq_ignore_ascii_case("for")
            .then(|| address(node)),
        None => Some(None), // Not a pair.
    });
    listed.chain(named)
}

/// Parses an address with or without port, brackets and quotes.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let plain = || text.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let in_brackets = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(IpAddr::from)
    };
    plain().or_else(with_port).or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn read(lines: &[(&'static str, &'static str)]) -> Vec<Option<String>> {
        let lines = lines.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let headers = lines.collect();
        let found = addresses(&headers).map(|address| address.map(|address| address.to_string()));
        found.collect()
    }

    #[test]
    fn every_forwarded_address_is_found() {
        let list = read(&[
            ("x-forwarded-for", "10.0.0.1, 8.8.8.8:99"),
            ("x-forwarded-for", "unknown"),
        ]);
        assert_eq!(
            list,
            [Some("10.0.0.1".into()), Some("8.8.8.8".into()), None]
        );
        assert_eq!(read(&[("x-real-ip", "8.8.8.8")]), [Some("8.8.8.8".into())]);
        let value =
            "For=\"[2001:db8::1]:80\";proto=http, for=\"[::1]\";by=10.0.0.9, for=_hidden, x";
        let list = read(&[("forwarded", value)]);
        assert_eq!(
            list,
            [Some("2001:db8::1".into()), Some("::1".into()), None, None]
        );
        assert!(read(&[]).is_empty());
    }
}
