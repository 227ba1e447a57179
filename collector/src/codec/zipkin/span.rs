//! A Zipkin span in terms of model v2, and its conversion to OTLP: names and tags are mapped as in
//! OpenTelemetry's Zipkin receiver, so that spans of Zipkin exporters look like those of OTLP exporters.

use super::super::otlp::write;
use crate::model::DEBUG;

const STATUS_OK: u64 = 1;
const STATUS_ERROR: u64 = 2;

/// OTLP's `SpanKind` for Zipkin's four kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

/// A service and its address; unknown parts are empty or zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) service_name: String,
    pub(super) address: String,
    pub(super) port: u16,
}

/// A span being read; its buffers are reused.
#[derive(Debug, Default)]
pub(super) struct Span {
    pub(super) trace_id: [u8; 16],
    pub(super) id: [u8; 8],
    pub(super) parent_id: [u8; 8],
    pub(super) kind: Option<Kind>,
    /// Microseconds; 0 if absent.
    pub(super) timestamp_us: u64,
    /// Microseconds; 0 if the span has not ended, or its end is in another part.
    pub(super) duration_us: u64,
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
    pub(super) debug: bool,
    /// Name, annotations and tags, encoded as fields of the OTLP `Span` while they are read.
    fields: Vec<u8>,
    first_annotation_us: u64,
    scope: [String; 2],
    status_code: u64,
    status_message: String,
}

impl Span {
    pub(super) fn clear(&mut self) {
        let Self {
            fields,
            scope,
            status_message,
            ..
        } = std::mem::take(self);
        (self.fields, self.scope, self.status_message) = (fields, scope, status_message);
        self.fields.clear();
        self.scope.iter_mut().for_each(String::clear);
        self.status_message.clear();
    }

    pub(super) fn name(&mut self, name: &str) {
        write::text(&mut self.fields, 5, name);
    }

    pub(super) fn annotation(&mut self, at_us: u64, value: &str) {
        if self.first_annotation_us == 0 {
            self.first_annotation_us = at_us;
        }
        write::message(&mut self.fields, 11, |out| {
            if at_us > 0 {
                write::fixed64(out, 1, at_us.saturating_mul(1_000));
            }
            write::text(out, 2, value);
        });
    }

    /// Adds a tag: as an attribute, or as the field from which OpenTelemetry's exporters make it.
    pub(super) fn tag(&mut self, key: &str, value: &str) {
        match (key, value) {
            // Zipkin treats any value as a failure, even `false`.
            ("error", _) => {
                self.status_code = STATUS_ERROR;
                // `true` is no message, but is read back as it was sent.
                match value {
                    "true" => attribute(&mut self.fields, 9, key, value),
                    _ => value.clone_into(&mut self.status_message),
                }
            }
            ("otel.status_code", "ERROR") => self.status_code = STATUS_ERROR,
            ("otel.status_code", "OK") => self.status_code = STATUS_OK,
            ("otel.scope.name" | "otel.library.name", _) => value.clone_into(&mut self.scope[0]),
            ("otel.scope.version" | "otel.library.version", _) => {
                value.clone_into(&mut self.scope[1]);
            }
            ("w3c.tracestate", _) => write::text(&mut self.fields, 3, value),
            _ => attribute(&mut self.fields, 9, key, value),
        }
    }

    pub(super) fn number(&mut self, key: &str, value: i64) {
        key_value(&mut self.fields, 9, key, |out| {
            write::varint(out, 3, value.cast_unsigned());
        });
    }

    pub(super) fn double(&mut self, key: &str, value: f64) {
        key_value(&mut self.fields, 9, key, |out| {
            write::fixed64(out, 4, value.to_bits());
        });
    }

    pub(super) fn bytes(&mut self, key: &str, value: &[u8]) {
        key_value(&mut self.fields, 9, key, |out| write::bytes(out, 7, value));
    }

    /// Writes the span as one `ResourceSpans`.
    ///
    /// Of a span without an id only the ids are passed on: the walk rejects it, and its output stays small.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let is_complete = self.trace_id != [0; 16] && self.id != [0; 8];
        write::message(out, 1, |out| {
            if is_complete && !self.local.service_name.is_empty() {
                write::message(out, 1, |out| {
                    attribute(out, 1, "service.name", &self.local.service_name);
                });
            }
            write::message(out, 2, |out| {
                if is_complete {
                    self.write_scope(out);
                }
                write::message(out, 2, |out| {
                    self.write_ids(out);
                    if is_complete {
                        self.write_fields(out);
                    }
                });
            });
        });
    }

    fn write_scope(&self, out: &mut Vec<u8>) {
        let [name, version] = &self.scope;
        if !name.is_empty() || !version.is_empty() {
            write::message(out, 1, |out| {
                write::text(out, 1, name);
                write::text(out, 2, version);
            });
        }
    }

    fn write_ids(&self, out: &mut Vec<u8>) {
        if self.trace_id != [0; 16] {
            write::bytes(out, 1, &self.trace_id);
        }
        if self.id != [0; 8] {
            write::bytes(out, 2, &self.id);
        }
    }

    fn write_fields(&self, out: &mut Vec<u8>) {
        // Zipkin's server drops a parent that is the span itself.
        if self.parent_id != [0; 8] && self.parent_id != self.id {
            write::bytes(out, 4, &self.parent_id);
        }
        if let Some(kind) = self.kind {
            write::varint(out, 6, kind as u64);
        }
        self.write_times(out);
        let (local, remote) = (&self.local, &self.remote);
        address(out, local, "network.local.address", "network.local.port");
        address(out, remote, "network.peer.address", "network.peer.port");
        if !remote.service_name.is_empty() {
            attribute(out, 9, "peer.service", &remote.service_name);
        }
        out.extend_from_slice(&self.fields);
        if self.debug {
            key_value(out, 9, DEBUG, |out| write::varint(out, 2, 1));
        }
        if self.status_code > 0 {
            write::message(out, 15, |out| {
                write::text(out, 2, &self.status_message);
                write::varint(out, 3, self.status_code);
            });
        }
    }

    /// Writes start and end. Without a timestamp, a span starts with its first annotation; without any start,
    /// the end field is its duration, as `walk_timeless` expects.
    fn write_times(&self, out: &mut Vec<u8>) {
        let start_us = match self.timestamp_us {
            0 => self.first_annotation_us,
            timestamp => timestamp,
        };
        let start = start_us.saturating_mul(1_000);
        if start > 0 {
            write::fixed64(out, 7, start);
        }
        if self.duration_us > 0 {
            let duration = self.duration_us.saturating_mul(1_000);
            write::fixed64(out, 8, start.saturating_add(duration));
        }
    }
}

fn address(out: &mut Vec<u8>, endpoint: &Endpoint, address_key: &str, port_key: &str) {
    if !endpoint.address.is_empty() {
        attribute(out, 9, address_key, &endpoint.address);
    }
    if endpoint.port > 0 {
        key_value(out, 9, port_key, |out| {
            write::varint(out, 3, endpoint.port.into());
        });
    }
}

fn attribute(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    key_value(out, field, key, |out| {
        write::bytes(out, 1, value.as_bytes());
    });
}

fn key_value(out: &mut Vec<u8>, field: u32, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    write::message(out, field, |out| {
        write::text(out, 1, key);
        write::message(out, 2, value);
    });
}
