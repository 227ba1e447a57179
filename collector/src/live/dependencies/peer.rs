//! The peer of a span according to its own attributes: used only if the peer sent no span.

use std::fmt::Write;

use crate::codec::otlp::{AttributeView, ValueView};
use crate::model::{Span, SpanKind, Value};

/// Returns the peer's name on the dependency map if the callee sent no span; empty if the span names no peer.
pub(crate) fn peer_name(span: &Span) -> String {
    let mut peer = PeerAttributes::default();
    for (key, value) in &span.attributes {
        let value = match value {
            Value::String(text) => ValueView::String(text),
            Value::Int(number) => ValueView::Int(*number),
            _ => continue,
        };
        peer.note_of(span.kind, &AttributeView { key, value });
    }
    let mut name = String::new();
    peer.write(&mut name);
    name
}

/// A span's attributes about its peer.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::live) struct PeerAttributes<'a> {
    service: &'a str,
    db_system: &'a str,
    db_name: &'a str,
    messaging: &'a str,
    address: &'a str,
    port: Option<i64>,
    url: &'a str,
}

impl<'a> PeerAttributes<'a> {
    pub(in crate::live) fn note_of(&mut self, kind: SpanKind, attribute: &AttributeView<'a>) {
        match kind {
            SpanKind::Internal => {}
            SpanKind::Client | SpanKind::Producer => self.note(attribute),
            // A server's address attributes describe itself; only an explicit name of the caller counts.
            _ => self.note_service(attribute),
        }
    }

    /// Reads an attribute; both the stable names and the earlier experimental ones count.
    fn note(&mut self, attribute: &AttributeView<'a>) {
        let text = match attribute.value {
            ValueView::String(text) => text,
            ValueView::Int(port) if matches!(attribute.key, "server.port" | "net.peer.port") => {
                self.port = Some(port);
                return;
            }
            _ => return,
        };
        match attribute.key {
            "peer.service" => self.service = text,
            "db.system" | "db.system.name" => self.db_system = text,
            "db.name" | "db.namespace" => self.db_name = text,
            "messaging.system" => self.messaging = text,
            "server.address" | "net.peer.name" => self.address = text,
            "server.port" | "net.peer.port" => self.port = text.parse().ok(),
            "url.full" => self.url = text,
            // Micrometer and old Python write the whole URL here; on server spans it is only a path.
            "http.url" if self.url.is_empty() => self.url = text,
            _ => {}
        }
    }

    /// Reads an attribute that names the peer as a service.
    fn note_service(&mut self, attribute: &AttributeView<'a>) {
        if let ("peer.service", ValueView::String(name)) = (attribute.key, attribute.value) {
            self.service = name;
        }
    }

    /// Returns whether the peer is a database or broker, which never sends spans.
    pub(in crate::live) fn is_store(&self) -> bool {
        !self.db_system.is_empty() || !self.messaging.is_empty()
    }

    pub(in crate::live) fn has_service(&self) -> bool {
        !self.service.is_empty()
    }

    /// Returns whether the peer is named only by its address.
    pub(in crate::live) fn is_address(&self) -> bool {
        let has_name = self.has_service() || self.is_store() || !self.db_name.is_empty();
        let has_address = !self.address.is_empty() || !host_of(self.url).is_empty();
        has_address && !has_name
    }

    /// Writes the peer's name into the buffer: service, database, broker, address or host of the URL.
    pub(in crate::live) fn write(&self, name: &mut String) {
        name.clear();
        if !self.service.is_empty() {
            name.push_str(self.service);
        } else if !self.db_system.is_empty() || !self.db_name.is_empty() {
            join(name, self.db_system, self.db_name);
        } else if !self.messaging.is_empty() {
            name.push_str(self.messaging);
        } else if !self.address.is_empty() {
            name.push_str(self.address);
            if let Some(port) = self.port.filter(|_| !has_port(self.address)) {
                // Writing to a string cannot fail.
                let _ = write!(name, ":{port}");
            }
        } else {
            name.push_str(host_of(self.url));
        }
    }
}

/// Writes `system/name`, or whichever of them is present.
fn join(name: &mut String, system: &str, database: &str) {
    name.push_str(system);
    if !system.is_empty() && !database.is_empty() {
        name.push('/');
    }
    name.push_str(database);
}

/// Returns whether an address includes its port, as Python's does.
fn has_port(address: &str) -> bool {
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':'));
    port.is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns the host and port of a complete URL, without user and password; empty for anything else.
fn host_of(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://") else {
        return "";
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(attributes: &[(&'static str, &'static str)]) -> String {
        let mut peer = PeerAttributes::default();
        for (key, value) in attributes {
            peer.note(&AttributeView {
                key,
                value: ValueView::String(value),
            });
        }
        let mut name = "old".to_owned();
        peer.write(&mut name);
        name
    }

    #[test]
    fn the_best_name_of_a_peer_wins() {
        for (attributes, expected) in [
            (
                &[("http.url", "http://127.0.0.1:18082/stock/pear")][..],
                "127.0.0.1:18082",
            ),
            (
                &[("url.full", "https://u:secret@pay.example/x@y")],
                "pay.example",
            ),
            (&[("http.url", "/stock/pear")], ""),
            (
                &[
                    ("server.address", "127.0.0.1:18182"),
                    ("server.port", "18182"),
                ],
                "127.0.0.1:18182",
            ),
            (
                &[("net.peer.name", "cache"), ("net.peer.port", "6379")],
                "cache:6379",
            ),
            (
                &[("server.address", "db1"), ("db.system", "postgresql")],
                "postgresql",
            ),
            (
                &[("db.system.name", "mysql"), ("db.namespace", "orders")],
                "mysql/orders",
            ),
            (
                &[("server.address", "b1"), ("messaging.system", "kafka")],
                "kafka",
            ),
            (
                &[("server.address", "x"), ("peer.service", "pricing")],
                "pricing",
            ),
            (&[], ""),
        ] {
            assert_eq!(name(attributes), expected, "{attributes:?}");
        }
    }
}
