//! The response headers with the trace of the request (`Server-Timing`, `traceresponse`) and the breakers that it
//! called (`Circuit-Breaker`), and which peers receive them.

use std::fmt::Write;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;

use super::problem::whole_seconds;
use crate::circuit_breaker::request_log::Touched;
use crate::propagation::traceparent;

const CIRCUIT_BREAKER: HeaderName = HeaderName::from_static("circuit-breaker");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// Most members of `Circuit-Breaker`: more than a request usually calls, and proxies limit the size of headers.
const MAX_MEMBERS: usize = 8;
/// Most bytes of `Circuit-Breaker`, for the same reason.
const MAX_BYTES: usize = 1024;

/// Which peers receive a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// The peers that the layer trusts.
    #[default]
    Trusted,
    /// Every peer.
    Always,
    /// No peer.
    Never,
}

impl Audience {
    pub(super) fn includes(self, peer_is_trusted: bool) -> bool {
        match self {
            Self::Trusted => peer_is_trusted,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Which response headers are written, and to which peers. Default: all of them, to trusted peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResponseHeaders {
    /// `Server-Timing` and `traceresponse`: the trace of the request.
    pub trace: Audience,
    /// `Circuit-Breaker`: the breakers that the request called.
    pub circuits: Audience,
}

/// The default of [`TraceLayer::with_trusted_peers`](crate::http::server::TraceLayer::with_trusted_peers): trusts
/// loopback and private addresses, but not an unknown address.
pub fn private_peers(peer: Option<IpAddr>) -> bool {
    match peer.map(|peer| peer.to_canonical()) {
        Some(IpAddr::V4(peer)) => peer.is_loopback() || peer.is_private() || peer.is_link_local(),
        Some(IpAddr::V6(peer)) => {
            peer.is_loopback() || peer.is_unique_local() || peer.is_unicast_link_local()
        }
        None => false,
    }
}

/// Appends to the application's `Server-Timing`, and sets `traceresponse`.
///
/// `Server-Timing` has both entries that are in use: `trace` of the W3C draft, and `traceparent`, which Splunk's
/// browser agents read. `traceresponse` is an older header of the draft.
pub(super) fn write_trace(headers: &mut HeaderMap, cx: &Context) {
    let Some(parent) = traceparent(cx) else {
        return;
    };
    let timing = format!("trace;desc={parent}, traceparent;desc=\"{parent}\"");
    let value = |text: String| HeaderValue::try_from(text).expect("hexadecimal digits and ASCII");
    headers.append(SERVER_TIMING, value(timing));
    headers.insert(TRACERESPONSE, value(parent));
}

/// Writes the breakers that the request called as a list (RFC 9651); members beyond the limits are left out completely.
pub(super) fn write_circuits(headers: &mut HeaderMap, touched: &[Touched]) {
    let mut list = String::new();
    for touched in touched.iter().take(MAX_MEMBERS) {
        let before = list.len();
        if before > 0 {
            list.push_str(", ");
        }
        write_member(&mut list, touched);
        if list.len() > MAX_BYTES {
            list.truncate(before); // A shorter member may still fit.
        }
    }
    if !list.is_empty() {
        let value = HeaderValue::try_from(list).expect("only printable ASCII was written");
        headers.insert(CIRCUIT_BREAKER, value);
    }
}

fn write_member(list: &mut String, touched: &Touched) {
    write_name(list, &touched.name);
    let (state, outcome) = (touched.state.as_str(), touched.outcome.as_str());
    let _ = write!(list, ";state={state};outcome={outcome}");
    if let Some(wait) = touched.retry_after {
        // An Integer of RFC 9651 has at most 15 digits.
        let seconds = whole_seconds(wait).min(999_999_999_999_999);
        let _ = write!(list, ";retry-after={seconds}");
    }
}

/// Writes a String, or a Display String if the name is not printable ASCII (RFC 9651, 4.1.6 and 4.1.11).
fn write_name(list: &mut String, name: &str) {
    if name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        list.push('"');
        for character in name.chars() {
            if matches!(character, '"' | '\\') {
                list.push('\\');
            }
            list.push(character);
        }
    } else {
        list.push_str("%\"");
        for byte in name.bytes() {
            match byte {
                b' '..=b'~' if byte != b'%' && byte != b'"' => list.push(char::from(byte)),
                _ => {
                    let _ = write!(list, "%{byte:02x}");
                }
            }
        }
    }
    list.push('"');
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState};

    use super::*;
    use crate::circuit_breaker::{CircuitBreaker, EffectiveState, Outcome, Registry};

    #[test]
    fn only_loopback_and_private_peers_are_trusted() {
        for peer in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(private_peers(Some(peer.parse().unwrap())), "{peer}");
        }
        for peer in ["8.8.8.8", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!private_peers(Some(peer.parse().unwrap())), "{peer}");
        }
        assert!(!private_peers(None));
    }

    fn touched(name: &str, outcome: Outcome, retry_after: Option<Duration>) -> Touched {
        let breaker = CircuitBreaker::builder(name)
            .registry(&Registry::new())
            .build();
        let (name, state) = (breaker.snapshot().name, EffectiveState::Open);
        Touched {
            name,
            state,
            outcome,
            retry_after,
        }
    }

    fn circuits(list: &[Touched]) -> String {
        let mut headers = HeaderMap::new();
        write_circuits(&mut headers, list);
        let value = headers.get(CIRCUIT_BREAKER);
        value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn breakers_are_a_structured_list() {
        let wait = Some(Duration::from_millis(6100));
        let list = [
            touched("inventory", Outcome::Rejected, wait),
            touched("a\"b\\", Outcome::Success, None),
        ];
        assert_eq!(
            circuits(&list),
            "\"inventory\";state=open;outcome=rejected;retry-after=7, \"a\\\"b\\\\\";state=open;outcome=success"
        );
        let display = circuits(&[touched("Lager 50% ü\n", Outcome::Success, None)]);
        assert!(
            display.starts_with("%\"Lager 50%25 %c3%bc%0a\";state="),
            "{display}"
        );
        assert_eq!(circuits(&[]), "");
    }

    #[test]
    fn members_beyond_the_limits_are_dropped_whole() {
        let list: Vec<_> = (0..9)
            .map(|i| touched(&format!("c{i}"), Outcome::Success, None))
            .collect();
        assert_eq!(circuits(&list).matches("state=").count(), 8);
        // A name of 200 bytes takes three times as many in a Display String.
        let long = touched(&"ü".repeat(100), Outcome::Success, None);
        let list = [long.clone(), long, list[0].clone()];
        let header = circuits(&list);
        assert_eq!(header.matches("state=").count(), 2);
        assert!(header.len() <= MAX_BYTES && header.contains("\"c0\""));
    }

    #[test]
    fn the_trace_is_added_to_the_applications_own_timing() {
        let span = SpanContext::new(
            1u128.into(),
            2u64.into(),
            TraceFlags::SAMPLED,
            true,
            TraceState::NONE,
        );
        let cx = Context::new().with_remote_span_context(span);
        let mut headers = HeaderMap::new();
        headers.insert(SERVER_TIMING, HeaderValue::from_static("db;dur=3"));
        write_trace(&mut headers, &cx);
        let parent = "00-00000000000000000000000000000001-0000000000000002-01";
        let timings: Vec<_> = headers.get_all(SERVER_TIMING).iter().collect();
        assert_eq!(timings[0], "db;dur=3");
        assert_eq!(
            *timings[1],
            format!("trace;desc={parent}, traceparent;desc=\"{parent}\"")
        );
        assert_eq!(headers[TRACERESPONSE], parent);
        let mut none = HeaderMap::new();
        write_trace(&mut none, &Context::new());
        assert!(none.is_empty());
    }
}
