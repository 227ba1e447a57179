//! The two sides of a call, by OpenTelemetry's rules for Zipkin exporters.

use std::net::IpAddr;

use serde::Serialize;

use crate::model::{Span, SpanKind, Value};

/// Names the other side as a service.
const PEER_SERVICE: &str = "peer.service";
/// What else names the other side, best first, with the port that belongs to an address.
const PEER_NAMES: [(&str, Option<&str>); 10] = [
    ("server.address", None),
    ("net.peer.name", None),
    ("network.peer.address", Some("network.peer.port")),
    ("server.socket.domain", None),
    ("server.socket.address", Some("server.socket.port")),
    ("net.sock.peer.name", None),
    ("net.sock.peer.addr", Some("net.sock.peer.port")),
    ("peer.hostname", None),
    ("peer.address", None),
    ("db.name", None),
];
const ADDRESSES: [&str; 4] = [
    "network.peer.address",
    "server.socket.address",
    "net.sock.peer.addr",
    "net.peer.ip",
];
const PORTS: [&str; 5] = [
    "network.peer.port",
    "server.socket.port",
    "net.sock.peer.port",
    "server.port",
    "net.peer.port",
];

/// A service and, where it is known, its address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoint {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

impl Endpoint {
    /// Returns the side that sent the span.
    pub(super) fn local(span: &Span) -> Self {
        Self {
            service_name: Some(span.service().to_lowercase()),
            ..Self::default()
        }
    }

    /// Returns the other side; `None` where the span does not say.
    ///
    /// What a server says of addresses is its own, so only spans that call are asked for more than `peer.service`.
    pub(super) fn remote(span: &Span) -> Option<Self> {
        let calls = matches!(span.kind, SpanKind::Client | SpanKind::Producer);
        let named = text(span, PEER_SERVICE);
        let remote = if calls {
            let address = ADDRESSES
                .iter()
                .find_map(|key| text(span, key)?.parse().ok());
            let (ipv4, ipv6) = (
                address.filter(IpAddr::is_ipv4),
                address.filter(IpAddr::is_ipv6),
            );
            Self {
                service_name: named.or_else(|| ranked(span)),
                ipv4,
                ipv6,
                port: PORTS.iter().find_map(|key| port(span, key)),
            }
        } else {
            Self {
                service_name: named,
                ..Self::default()
            }
        };
        let service_name = remote.service_name.map(|name| name.to_lowercase());
        service_name.map(|name| Self {
            service_name: Some(name),
            ..remote
        })
    }
}

/// Returns the best name that addresses give.
fn ranked(span: &Span) -> Option<String> {
    let named = |(name, with_port): &(&str, Option<&str>)| {
        let name = text(span, name)?;
        let port = with_port.and_then(|key| port(span, key));
        Some(port.map_or_else(|| name.clone(), |port| format!("{name}:{port}")))
    };
    PEER_NAMES.iter().find_map(named)
}

fn text(span: &Span, key: &str) -> Option<String> {
    match span.attribute(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

fn port(span: &Span, key: &str) -> Option<u16> {
    let port = match span.attribute(key)? {
        Value::Int(port) => u16::try_from(*port).ok(),
        Value::String(port) => port.parse().ok(),
        _ => None,
    };
    port.filter(|port| *port > 0)
}
