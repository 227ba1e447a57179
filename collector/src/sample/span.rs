//! Encodes the spans of a tree like an SDK.

use std::io::Write;

use fastrand::Rng;
use fusebox::circuit_breaker::{EffectiveState, FallbackOutcome, Outcome};
use fusebox::semconv;

use super::catalogue::{EXCEPTIONS, SERVICES, STACK, USER_AGENTS, Work};
use super::tree::{Guard, Node, Role};
use crate::codec::otlp::write;
use crate::model::{SpanKind, StatusCode};

/// Sampled, and it is known whether the parent is remote.
const FLAGS: u32 = 0x101;

#[derive(Debug)]
pub(super) struct TraceHead {
    pub(super) trace_id: [u8; 16],
    pub(super) start: u64,
    pub(super) user: u32,
    /// The requested article.
    pub(super) sku: u32,
}

/// Writes one span as a field of `ScopeSpans`.
pub(super) fn write_span(
    out: &mut Vec<u8>,
    head: &TraceHead,
    node: &Node,
    id: [u8; 8],
    parent: Option<[u8; 8]>,
    rng: &mut Rng,
) {
    let start = head.start + node.start;
    write::message(out, 2, |out| {
        write::bytes(out, 1, &head.trace_id);
        write::bytes(out, 2, &id);
        if let Some(parent) = parent {
            write::bytes(out, 4, &parent);
        }
        write_name_and_kind(out, node);
        write::fixed64(out, 7, start);
        write::fixed64(out, 8, start + node.duration);
        write_attributes(out, head, node, rng);
        if node.throws {
            write_exception(out, start + node.duration, rng);
        }
        write::message(out, 15, |out| {
            if node.failed {
                write::varint(out, 3, u64::from(StatusCode::Error.as_otlp()));
            }
        });
        write::fixed32(out, 16, FLAGS);
    });
}

fn write_name_and_kind(out: &mut Vec<u8>, node: &Node) {
    let service = &SERVICES[node.service];
    let kind = match node.role {
        Role::Server(operation) => {
            let (method, route) = service.operations[operation];
            text2(out, 5, method, route);
            SpanKind::Server
        }
        Role::Client { callee, operation } => {
            write::text(out, 5, SERVICES[callee].operations[operation].0);
            SpanKind::Client
        }
        Role::Work(work) => match &service.work[work] {
            Work::Query(_, table, operation, _) => {
                text2(out, 5, operation, table);
                SpanKind::Client
            }
            Work::Step(name, _) => {
                write::text(out, 5, name);
                SpanKind::Internal
            }
        },
    };
    write::varint(out, 6, u64::from(kind.as_otlp()));
}

/// Writes two words separated by a space.
fn text2(out: &mut Vec<u8>, field: u32, first: &str, second: &str) {
    write::message(out, field, |out| {
        out.extend_from_slice(first.as_bytes());
        out.push(b' ');
        out.extend_from_slice(second.as_bytes());
    });
}

fn write_attributes(out: &mut Vec<u8>, head: &TraceHead, node: &Node, rng: &mut Rng) {
    match node.role {
        Role::Server(operation) => write_server(out, head, node, operation, rng),
        Role::Client { callee, operation } => {
            write_client(out, head, node, callee, operation, rng);
        }
        Role::Work(work) => match &SERVICES[node.service].work[work] {
            Work::Query(system, table, operation, statement) => {
                write_query(out, [system, table, operation, statement], node, rng);
            }
            Work::Step(name, file) => write_step(out, head, name, file, rng),
        },
    }
    number(out, "thread.id", rng.u64(1..64));
    formatted(
        out,
        "thread.name",
        format_args!("http-nio-8080-exec-{}", rng.u8(1..33)),
    );
}

fn write_server(out: &mut Vec<u8>, head: &TraceHead, node: &Node, operation: usize, rng: &mut Rng) {
    let service = &SERVICES[node.service];
    let (method, route) = service.operations[operation];
    text(out, "http.request.method", method);
    text(out, "http.route", route);
    text(out, "url.scheme", "http");
    formatted(
        out,
        "url.path",
        format_args!("{}/{}", resource_of(route), head.sku),
    );
    number(out, "http.response.status_code", status_code(node));
    formatted(
        out,
        "server.address",
        format_args!("{}.shop.svc.cluster.local", service.name),
    );
    number(out, "server.port", 8080);
    text(out, "network.protocol.version", "1.1");
    formatted(
        out,
        "network.peer.address",
        format_args!("10.1.{}.{}", rng.u8(..8), rng.u8(..)),
    );
    number(out, "network.peer.port", rng.u64(32_768..61_000));
    text(
        out,
        "user_agent.original",
        USER_AGENTS[head.user as usize % USER_AGENTS.len()],
    );
    formatted(out, "enduser.id", format_args!("u{:06}", head.user));
    formatted(
        out,
        "http.request.header.x-request-id",
        format_args!("{:032x}", rng.u128(..)),
    );
    if node.failed {
        text(out, semconv::ERROR_TYPE, "500");
    }
}

fn write_client(
    out: &mut Vec<u8>,
    head: &TraceHead,
    node: &Node,
    callee: usize,
    operation: usize,
    rng: &mut Rng,
) {
    let callee = &SERVICES[callee];
    let (method, route) = callee.operations[operation];
    text(out, "http.request.method", method);
    formatted(
        out,
        "url.full",
        format_args!(
            "http://{}.shop.svc.cluster.local:8080{}/{}",
            callee.name,
            resource_of(route),
            head.sku
        ),
    );
    formatted(
        out,
        "server.address",
        format_args!("{}.shop.svc.cluster.local", callee.name),
    );
    number(out, "server.port", 8080);
    text(out, "peer.service", callee.name);
    text(out, "url.template", route);
    if node.guard != Guard::Refused {
        number(out, "http.response.status_code", status_code(node));
        text(out, "network.protocol.version", "1.1");
        text(out, "network.transport", "tcp");
        formatted(
            out,
            "http.response.header.etag",
            format_args!("\"{:016x}\"", rng.u64(..)),
        );
        formatted(
            out,
            "network.peer.address",
            format_args!("10.1.{}.{}", rng.u8(..8), rng.u8(..)),
        );
        number(out, "network.peer.port", 8080);
        number(out, "http.response.body.size", rng.u64(60..20_000));
    }
    text(
        out,
        "http.request.header.accept",
        "application/json, application/problem+json",
    );
    write_guard(out, node, callee.name);
}

/// Writes the attributes of the breaker, if the call passes one.
fn write_guard(out: &mut Vec<u8>, node: &Node, callee: &str) {
    let (state, outcome) = match node.guard {
        Guard::None => {
            if node.failed {
                text(out, semconv::ERROR_TYPE, "500");
            }
            return;
        }
        Guard::Closed if node.failed => (EffectiveState::Closed, Outcome::Failure),
        Guard::Closed => (EffectiveState::Closed, Outcome::Success),
        Guard::Refused => (EffectiveState::Open, Outcome::Rejected),
    };
    text(out, semconv::BREAKER_NAME, callee);
    text(out, semconv::BREAKER_STATE, state.as_str());
    text(out, semconv::BREAKER_OUTCOME, outcome.as_str());
    if node.guard == Guard::Refused {
        text(out, semconv::ERROR_TYPE, semconv::ERROR_TYPE_CIRCUIT_OPEN);
        text(
            out,
            semconv::FALLBACK_OUTCOME,
            FallbackOutcome::Success.as_str(),
        );
    } else if node.failed {
        text(out, semconv::ERROR_TYPE, "500");
    }
}

fn write_query(out: &mut Vec<u8>, query: [&str; 4], node: &Node, rng: &mut Rng) {
    let [system, table, operation, statement] = query;
    let service = SERVICES[node.service].name;
    text(out, "db.system.name", system);
    formatted(out, "db.namespace", format_args!("{service}_production"));
    text(out, "db.collection.name", table);
    text(out, "db.operation.name", operation);
    formatted(out, "db.query.summary", format_args!("{operation} {table}"));
    text(out, "db.query.text", statement);
    number(out, "db.response.returned_rows", rng.u64(..40));
    formatted(
        out,
        "server.address",
        format_args!("{system}-primary.{service}.svc.cluster.local"),
    );
    number(out, "server.port", 5432);
    formatted(
        out,
        "network.peer.address",
        format_args!("10.2.0.{}", rng.u8(..12)),
    );
    number(out, "network.peer.port", 5432);
    text(out, "db.client.connection.pool.name", "primary");
    if node.failed {
        text(out, semconv::ERROR_TYPE, "timeout");
    }
}

fn write_step(out: &mut Vec<u8>, head: &TraceHead, name: &str, file: &str, rng: &mut Rng) {
    text(out, "code.function.name", name);
    formatted(
        out,
        "code.file.path",
        format_args!("/srv/shop/app/src/main/components/{file}"),
    );
    number(out, "code.line.number", rng.u64(10..400));
    formatted(out, "enduser.id", format_args!("u{:06}", head.user));
    formatted(out, "shop.sku", format_args!("{}", head.sku));
    text(
        out,
        "shop.region",
        ["eu-central", "eu-west", "us-east"][head.user as usize % 3],
    );
    text(out, "shop.channel", ["web", "app"][head.user as usize % 2]);
    flag(out, "shop.returning_customer", head.user.is_multiple_of(3));
    double(out, "shop.cart.value", f64::from(head.sku % 40_000) / 100.0);
    number(out, "shop.cart.items", u64::from(head.user % 9));
    formatted(
        out,
        "feature_flag.variant",
        format_args!("checkout-{}", head.user % 4),
    );
    text(out, "deployment.ring", "stable");
    number(out, "busy_ns", rng.u64(10_000..3_000_000));
    number(out, "idle_ns", rng.u64(1_000..900_000));
}

fn write_exception(out: &mut Vec<u8>, time: u64, rng: &mut Rng) {
    let (kind, message, first) = EXCEPTIONS[rng.usize(..EXCEPTIONS.len())];
    write::message(out, 11, |out| {
        write::fixed64(out, 1, time);
        write::text(out, 2, "exception");
        for (key, value) in [("exception.type", kind), ("exception.message", message)] {
            attribute(out, 3, key, |out| write::text(out, 1, value));
        }
        attribute(out, 3, "exception.stacktrace", |out| {
            write::message(out, 1, |out| {
                // Writing to a vector cannot fail.
                let _ = write!(out, "{kind}: {message}\n\tat {first}{STACK}");
            });
        });
    });
}

/// Returns the first part of a route: `/stock` of `/stock/{sku}`.
fn resource_of(route: &str) -> &str {
    route.split("/{").next().unwrap_or(route)
}

fn status_code(node: &Node) -> u64 {
    if node.failed { 500 } else { 200 }
}

fn text(out: &mut Vec<u8>, key: &str, value: &str) {
    attribute(out, 9, key, |out| write::bytes(out, 1, value.as_bytes()));
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    attribute(out, 9, key, |out| write::varint(out, 3, value));
}

fn flag(out: &mut Vec<u8>, key: &str, value: bool) {
    attribute(out, 9, key, |out| write::varint(out, 2, u64::from(value)));
}

fn double(out: &mut Vec<u8>, key: &str, value: f64) {
    attribute(out, 9, key, |out| write::fixed64(out, 4, value.to_bits()));
}

fn formatted(out: &mut Vec<u8>, key: &str, value: std::fmt::Arguments<'_>) {
    attribute(out, 9, key, |out| {
        write::message(out, 1, |out| {
            // Writing to a vector cannot fail.
            let _ = out.write_fmt(value);
        });
    });
}

pub(super) fn attribute(
    out: &mut Vec<u8>,
    field: u32,
    key: &str,
    value: impl FnOnce(&mut Vec<u8>),
) {
    write::message(out, field, |out| {
        write::bytes(out, 1, key.as_bytes());
        write::message(out, 2, value);
    });
}
