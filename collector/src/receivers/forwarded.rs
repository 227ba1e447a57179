//! The client behind a reverse proxy, from `X-Forwarded-For` or `Forwarded` if the proxy is trusted.
//!
//! Each proxy appends the address that called it. Going backwards from the last one, the first address that
//! is not a trusted proxy is the client; earlier ones may be forged.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::model::Network;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// RFC 7239.
const FORWARDED: &str = "forwarded";
/// Proxies in a row that are followed.
const HOPS_MAX: usize = 16;

/// Returns the client of a request sent by one of these proxies; `None` if its headers do not show it.
///
/// A proxy passes on the header that it does not write, as sent by its client. So if both are present, they
/// are only trusted where they agree.
pub(super) fn client(headers: &HeaderMap, proxies: &[Network]) -> Option<IpAddr> {
    let hops = texts(headers, X_FORWARDED_FOR).flat_map(|text| text.split(','));
    let listed = last_untrusted(hops.map(address).collect(), proxies);
    let elements = texts(headers, FORWARDED).flat_map(|text| unquoted(text, ','));
    let forwarded = last_untrusted(elements.map(of_element).collect(), proxies);
    let has = |name| headers.contains_key(name);
    match (has(X_FORWARDED_FOR), has(FORWARDED)) {
        (true, true) => listed.filter(|_| listed == forwarded),
        (true, false) => listed,
        (false, _) => forwarded,
    }
}

fn texts<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    // Invalid text counts as an unknown address.
    values.map(|value| value.to_str().unwrap_or_default())
}

/// Returns the last address that is not a trusted proxy's, or the first if all are; `None` if an address is
/// unknown.
fn last_untrusted(hops: Vec<Option<IpAddr>>, proxies: &[Network]) -> Option<IpAddr> {
    let mut client = None;
    for hop in hops.into_iter().rev().take(HOPS_MAX) {
        let hop = hop?;
        client = Some(hop);
        if !proxies.iter().any(|proxy| proxy.has(hop)) {
            break;
        }
    }
    client
}

/// Returns the address in an element of `Forwarded`, such as `for="[2001:db8::7]:4711";proto=https`.
fn of_element(element: &str) -> Option<IpAddr> {
    let is_for = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("for")
    };
    let pair = unquoted(element, ';').find(is_for)?;
    let (_, node) = pair.split_once('=')?;
    address(node.trim().trim_matches('"'))
}

/// Parses an address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let addr = bare.parse::<IpAddr>().ok();
    addr.or_else(|| text.parse::<SocketAddr>().ok().map(|addr| addr.ip()))
}

/// Splits a text at a character, except within quotes.
fn unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn proxies(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn seen(pairs: &[(&'static str, &'static str)]) -> Option<String> {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let trusted = proxies(&["10.0.0.0/8", "2001:db8:1::1"]);
        client(&pairs.collect(), &trusted).map(|addr| addr.to_string())
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let client = |value| seen(&[("x-forwarded-for", value)]);
        let shown = |addr: &str| Some(addr.to_owned());
        assert_eq!(client("192.0.2.7"), shown("192.0.2.7"));
        assert_eq!(
            client("203.0.113.9, 192.0.2.7, 10.1.1.1"),
            shown("192.0.2.7")
        );
        assert_eq!(client("10.2.2.2,10.1.1.1"), shown("10.2.2.2"));
        assert_eq!(client("192.0.2.7:4711"), shown("192.0.2.7"));
        assert_eq!(client("192.0.2.7, unknown"), None);
        assert_eq!(client(""), None);
        let lines = [
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-for", "10.1.1.1"),
        ];
        assert_eq!(seen(&lines), shown("192.0.2.7"));
        let client = |value| seen(&[("forwarded", value)]);
        assert_eq!(client("for=192.0.2.7;proto=https"), shown("192.0.2.7"));
        let value =
            "for=203.0.113.9, proto=http;For=\"[2001:db8::7]:4711\", for=\"[2001:db8:1::1]\"";
        assert_eq!(client(value), shown("2001:db8::7"));
        assert_eq!(client("for=192.0.2.7, for=_hidden"), None);
        assert_eq!(
            client("for=192.0.2.7;host=\"a,for=203.0.113.9\""),
            shown("192.0.2.7")
        );
        assert_eq!(client("by=10.1.1.1"), None);
    }

    /// *Scenario*: a proxy writes one header and passes on the other one from its client.
    #[test]
    fn headers_that_disagree_are_not_believed() {
        let both = |value| seen(&[("x-forwarded-for", "192.0.2.7"), ("forwarded", value)]);
        assert_eq!(both("for=203.0.113.9"), None);
        assert_eq!(both("for=192.0.2.7"), Some("192.0.2.7".to_owned()));
        assert_eq!(seen(&[]), None);
    }
}
