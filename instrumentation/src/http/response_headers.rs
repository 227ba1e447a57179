//! The headers that tell a caller which trace its request became and which breakers it met:
//! `Server-Timing`, `traceresponse` and `Circuit-Breaker`, to those who may know.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::SpanContext;

use crate::propagation::write_traceparent;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// Who gets a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// Peers that the layer trusts.
    #[default]
    Trusted,
    /// Everybody.
    Always,
    /// Nobody.
    Never,
}

impl Audience {
    /// Whether a peer gets the header.
    pub(super) fn includes(self, peer_is_trusted: bool) -> bool {
        match self {
            Self::Trusted => peer_is_trusted,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Which response headers are written, and to whom. Default: all of them, to trusted peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResponseHeaders {
    /// `Server-Timing` and `traceresponse`: the trace of the request.
    pub trace: Audience,
    /// `Circuit-Breaker`: the breakers that the request met.
    pub circuits: Audience,
}

/// The default for [`super::server::TraceLayer::with_trusted_peers`]: loopback and private addresses; nobody
/// whose address is unknown.
pub fn private_peers(peer: Option<IpAddr>) -> bool {
    match peer.map(|peer| peer.to_canonical()) {
        Some(IpAddr::V4(peer)) => peer.is_loopback() || peer.is_private() || peer.is_link_local(),
        Some(IpAddr::V6(peer)) => is_private(peer),
        None => false,
    }
}

fn is_private(peer: Ipv6Addr) -> bool {
    peer.is_loopback() || peer.is_unique_local() || peer.is_unicast_link_local()
}

/// Writes `Server-Timing` beside what the application wrote there, and `traceresponse`.
///
/// `Server-Timing` has both entries that are in use: `trace` of the W3C draft and `traceparent` of the field
/// (Splunk's browser agents); `traceresponse` is the draft's older header.
pub(super) fn write_trace(headers: &mut HeaderMap, span: &SpanContext) {
    if !span.is_valid() {
        return;
    }
    let mut parent = String::with_capacity(55);
    write_traceparent(&mut parent, span);
    let timing = format!("trace;desc={parent}, traceparent;desc=\"{parent}\"");
    let value = |text: String| HeaderValue::try_from(text).expect("hexadecimal digits and ASCII");
    headers.append(SERVER_TIMING, value(timing));
    headers.insert(TRACERESPONSE, value(parent));
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{TraceFlags, TraceState};

    use super::*;

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

    #[test]
    fn the_trace_stands_in_three_forms_beside_the_applications_own() {
        let span = SpanContext::new(
            1u128.into(),
            2u64.into(),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        let mut headers = HeaderMap::new();
        headers.insert(SERVER_TIMING, HeaderValue::from_static("db;dur=3"));
        write_trace(&mut headers, &span);
        let parent = "00-00000000000000000000000000000001-0000000000000002-01";
        let timings: Vec<_> = headers.get_all(SERVER_TIMING).iter().collect();
        assert_eq!(timings[0], "db;dur=3");
        assert_eq!(
            *timings[1],
            format!("trace;desc={parent}, traceparent;desc=\"{parent}\"")
        );
        assert_eq!(headers[TRACERESPONSE], parent);
        let mut none = HeaderMap::new();
        write_trace(&mut none, &SpanContext::NONE);
        assert!(none.is_empty());
    }
}
