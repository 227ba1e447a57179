//! A generated shop for tests and for viewing the pages: circuits in every state, a week of transitions, traces of
//! every shape. Deterministic. `serve_fixtures` (ignored) serves them to a browser.

use std::sync::Arc;
use std::time::Duration;

use fusebox::circuit_breaker::{EffectiveState as State, OverrideKind};
use fusebox_collector::model::*;
use opentelemetry::{SpanId, TraceId};

use crate::pages::hash::fnv1a;
use crate::pages::view::text::{DAY, HOUR, MINUTE, SECOND};

/// The retention of the shop.
pub(crate) const WEEK: u64 = 7 * DAY;
use crate::pages::wall::Teach;

/// Mon 2026-11-23 10:04:11.302 UTC.
pub(crate) const NOW: u64 = 1_795_428_251_302_000_000;

/// Text that tries to break out of its context.
pub(crate) const HOSTILE: &str = "<script>alert(1)</script>\"'`&<img src=x onerror=alert(1)> javascript:alert(1) \u{202e}txt.exe";

pub(crate) fn key(service: &str, name: &str) -> CircuitKey {
    CircuitKey {
        service: service.to_owned(),
        name: name.to_owned(),
    }
}

fn wave(seed: u64, index: u64) -> u64 {
    let mut x = seed
        .wrapping_mul(0x9e37_79b9)
        .wrapping_add(index.wrapping_mul(0x85eb_ca6b));
    x ^= x >> 13;
    x = x.wrapping_mul(0xc2b2_ae35);
    (x >> 7) % 100
}

/// Returns two minutes that lead to this state.
fn story(seed: u64, state: State) -> Vec<SparkBucket> {
    let volume = 20 + seed % 80;
    (0..60)
        .map(|i| {
            let calls = volume * (70 + wave(seed, i) / 3) / 100;
            let bad = matches!(state, State::Open | State::HalfOpen) && i > 15;
            let opened = matches!(state, State::Open | State::HalfOpen) && i > 36;
            let now = if opened {
                if i % 12 == 6 {
                    State::HalfOpen
                } else {
                    State::Open
                }
            } else {
                State::Closed
            };
            let now = if matches!(state, State::ForcedOpen) && i > 8 {
                State::ForcedOpen
            } else {
                now
            };
            let calls = match (opened, bad) {
                (true, _) => CircuitCalls {
                    rejected: calls,
                    ..CircuitCalls::default()
                },
                (_, true) => CircuitCalls {
                    success: calls * (40 - i) / 30,
                    failure: calls * (i - 12) / 40,
                    timeout: calls * (i - 14) / 60,
                    ..CircuitCalls::default()
                },
                _ => CircuitCalls {
                    success: calls,
                    failure: u64::from(wave(seed, i) > 96),
                    ignored: u64::from(wave(seed, i) > 90),
                    ..CircuitCalls::default()
                },
            };
            let calls = if state == State::ForcedOpen {
                CircuitCalls::default()
            } else {
                calls
            };
            SparkBucket {
                calls,
                state: Some(if i == 59 { state } else { now }),
            }
        })
        .collect()
}

fn latency(seed: u64, executed: u64) -> LatencyView {
    LatencyView {
        p50_nanos: (executed > 0).then_some((9 + seed % 50) * 1_000_000),
        p90_nanos: (executed > 0).then_some((25 + seed % 90) * 1_000_000),
        p99_nanos: (executed > 0).then_some((120 + seed) * 1_000_000),
        p995_nanos: (executed > 0).then_some((300 + seed * 2) * 1_000_000),
    }
}

fn settings() -> CircuitSettings {
    CircuitSettings {
        group: "shop".to_owned(),
        window_ms: Some(10_000),
        minimum_calls: Some(20),
        failure_rate_percent: Some(50.0),
        open_duration_ms: Some(5_000),
        half_open_probes: Some(1),
        timeout_ms: Some(1_000),
        max_concurrent: Some(10),
        ..CircuitSettings::default()
    }
}

/// Returns a circuit in this state with two minutes that led to it.
pub(crate) fn circuit(service: &str, name: &str, state: State) -> CircuitView {
    let seed = fnv1a(format!("{service}{name}").as_bytes()) % 1_000;
    let spark = story(seed, state);
    let mut calls = CircuitCalls::default();
    spark[55..].iter().for_each(|b| calls.add(&b.calls));
    calls.fallback_success = calls.rejected * 9 / 10;
    let executed = calls.success + calls.failure + calls.timeout;
    let latency = latency(seed, executed);
    let since = match state {
        State::Closed => NOW - (seed % 6) * DAY - 3 * HOUR,
        State::ForcedOpen => NOW - 47 * MINUTE,
        _ => NOW - 12 * SECOND,
    };
    let instance = |n: u64| CircuitInstanceView {
        id: format!("{service}-7d9f-{}", ["x2k", "p8c", "q4z"][n as usize % 3]),
        state: if n == 2 { State::Closed } else { state },
        since: UnixNanos::new(since),
        heard: None,
        last_seen: UnixNanos::new(NOW - SECOND),
        stale: false,
        error_percent: (calls.judged(&settings()) > 0)
            .then(|| calls.errors(&settings()) as f64 * 100.0 / calls.judged(&settings()) as f64),
        calls,
        calls_per_second: calls.total() as f64 / 20.0,
        latency,
        in_flight: 1,
    };
    CircuitView {
        key: key(service, name),
        target: name.to_owned(),
        source: Source::Fusebox,
        state,
        since: UnixNanos::new(since),
        retry_at: (state == State::Open).then_some(UnixNanos::new(NOW + 3 * SECOND)),
        forced: (state == State::ForcedOpen).then(|| OverrideView {
            kind: OverrideKind::ForcedOpen,
            reason: "kim: PG outage, see incident 4711".to_owned(),
            expires: Some(UnixNanos::new(NOW + 40 * MINUTE)),
        }),
        error_percent: (calls.judged(&settings()) > 0)
            .then(|| calls.errors(&settings()) as f64 * 100.0 / calls.judged(&settings()) as f64),
        window_ms: 10_000,
        calls,
        calls_per_second: calls.total() as f64 / 10.0,
        rejected_per_second: calls.rejected as f64 / 10.0,
        latency,
        in_flight: u64::from(state == State::HalfOpen),
        spark,
        reason: if state == State::Closed {
            String::new()
        } else {
            "52 % of 118 calls failed in 10 s (limit 50 %)".to_owned()
        },
        last_opened_by: (state == State::Open).then(|| TraceId::from(0x7c1f_a90e_u128 << 96 | 7)),
        outage: (state == State::Open).then(|| Outage {
            since: UnixNanos::new(NOW - 3 * MINUTE),
            reason: "52 % of 118 calls failed in 10 s (limit 50 %)".to_owned(),
            opened_by: Some(TraceId::from(0x11ce_5eed_u128 << 96 | 3)),
            failed_probes: 12,
        }),
        own_window: None,
        settings: settings(),
        instances: (0..2 + seed % 2).map(instance).collect(),
    }
}

/// Returns the wall of the shop.
pub(crate) fn wall() -> CircuitWall {
    let closed = [
        ("product-page", "price"),
        ("product-page", "recommendation"),
        ("product-page", "legacy"),
        ("gateway", "product-page"),
        ("gateway", "checkout"),
        ("checkout", "inventory"),
        ("checkout", "mail"),
        ("checkout", "fraud"),
        ("recommendation", "redis"),
    ];
    let mut circuits = vec![
        circuit("product-page", "inventory", State::Open),
        circuit("gateway", "review", State::HalfOpen),
        circuit("checkout", "payment", State::ForcedOpen),
        circuit("recommendation", "embedding", State::MetricsOnly),
    ];
    circuits.extend(closed.map(|(service, name)| circuit(service, name, State::Closed)));
    CircuitWall {
        at: UnixNanos::new(NOW),
        live: true,
        circuits,
    }
}

/// Returns a wall of this many circuits in services of ten.
pub(crate) fn big_wall(count: usize) -> CircuitWall {
    let state = |n: usize| {
        if n.is_multiple_of(97) {
            State::Open
        } else {
            State::Closed
        }
    };
    let circuits = (0..count).map(|n| {
        circuit(
            &format!("service-{:03}", n / 10),
            &format!("dependency-{n}"),
            state(n),
        )
    });
    CircuitWall {
        at: UnixNanos::new(NOW),
        live: true,
        circuits: circuits.collect(),
    }
}

/// Returns a week of transitions, newest first.
pub(crate) fn transitions() -> Vec<CircuitTransition> {
    let story = [
        (WEEK - 8 * HOUR, 0),
        (WEEK - 30 * HOUR, 1),
        (4 * DAY, 0),
        (3 * DAY, 2),
        (26 * HOUR, 0),
        (6 * HOUR, 1),
        (30 * SECOND, 0),
    ];
    let mut all: Vec<CircuitTransition> = story
        .iter()
        .flat_map(|(ago, which)| {
            let trip = |after: u64, from, to, reason: &str| CircuitTransition {
                key: [
                    key("product-page", "inventory"),
                    key("gateway", "review"),
                    key("checkout", "payment"),
                ][*which]
                    .clone(),
                instance: "product-page-7d9f-x2k".to_owned(),
                time: UnixNanos::new(NOW - ago + after),
                from,
                to,
                reason: reason.to_owned(),
                provenance: Provenance::Reported,
                open_until: None,
                trace_id: Some(TraceId::from(u128::from(*ago) << 64 | 0xa90e)),
                span_id: Some(SpanId::from(9)),
            };
            [
                trip(
                    0,
                    State::Closed,
                    State::Open,
                    "52 % of 118 calls failed in 10 s (limit 50 %)",
                ),
                trip(
                    5 * SECOND,
                    State::Open,
                    State::HalfOpen,
                    "open time of 5 s has passed",
                ),
                trip(
                    6 * SECOND,
                    State::HalfOpen,
                    State::Open,
                    "probe timed out after 1.00 s",
                ),
            ]
        })
        .collect();
    all.sort_by_key(|t| std::cmp::Reverse(t.time));
    all
}

/// Returns a week of one circuit by the hour.
pub(crate) fn history() -> CircuitHistory {
    let start = NOW - WEEK;
    let buckets = (0..168_u64)
        .map(|h| {
            let hour = (h + 10) % 24;
            let calls = 20 + 90 * hour.min(24 - hour) / 12 + wave(3, h) / 9;
            let bad = h == 38 || h > 165;
            let calls = if bad {
                CircuitCalls {
                    success: calls * 600,
                    failure: calls * 90,
                    rejected: calls * 200,
                    ..CircuitCalls::default()
                }
            } else {
                CircuitCalls {
                    success: calls * 1_000,
                    failure: calls,
                    ..CircuitCalls::default()
                }
            };
            SparkBucket {
                calls,
                state: Some(if bad { State::Open } else { State::Closed }),
            }
        })
        .collect();
    let span = |state, from: u64, to: u64| StateSpan {
        state,
        start: UnixNanos::new(start + from * HOUR),
        end: UnixNanos::new(start + to * HOUR),
    };
    CircuitHistory {
        buckets,
        states: vec![
            span(State::Closed, 0, 38),
            span(State::Open, 38, 39),
            span(State::Closed, 39, 166),
            span(State::Open, 166, 168),
        ],
    }
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

/// One span of the shop's request; times in tenths of a millisecond.
pub(crate) fn span(
    id: u64,
    parent: u64,
    service: &str,
    name: &str,
    start: u64,
    length: u64,
) -> Span {
    let base = NOW - MINUTE;
    Span {
        trace_id: TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
        span_id: SpanId::from(id),
        parent_span_id: (parent > 0).then(|| SpanId::from(parent)),
        trace_state: String::new(),
        flags: 1,
        name: name.to_owned(),
        kind: SpanKind::Server,
        start: UnixNanos::new(base + start * 100_000),
        end: UnixNanos::new(base + (start + length) * 100_000),
        status: Status::default(),
        resource: Arc::new(Resource {
            service_name: service.to_owned(),
            instance_id: format!("{service}-1"),
            attributes: vec![
                ("service.name".to_owned(), text(service)),
                ("host.name".to_owned(), text("node-3")),
            ],
            ..Resource::default()
        }),
        scope: Arc::new(Scope {
            name: "fusebox".to_owned(),
            version: "0.1.0".to_owned(),
            ..Scope::default()
        }),
        attributes: vec![
            ("http.request.method".to_owned(), text("GET")),
            ("http.response.status_code".to_owned(), Value::Int(200)),
        ],
        events: Vec::new(),
        links: Vec::new(),
        dropped_attributes_count: 0,
        dropped_events_count: 0,
        dropped_links_count: 0,
        dropped_here: Dropped::default(),
    }
}

fn through(
    mut span: Span,
    breaker: &str,
    state: &str,
    outcome: &str,
    fallback: &str,
    probe: bool,
) -> Span {
    span.kind = SpanKind::Client;
    span.attributes
        .push(("circuit_breaker.name".to_owned(), text(breaker)));
    span.attributes
        .push(("circuit_breaker.state".to_owned(), text(state)));
    span.attributes
        .push(("circuit_breaker.outcome".to_owned(), text(outcome)));
    if !fallback.is_empty() {
        span.attributes
            .push(("circuit_breaker.fallback".to_owned(), text(fallback)));
    }
    if probe {
        span.attributes
            .push(("circuit_breaker.probe".to_owned(), Value::Bool(true)));
    }
    if outcome != "success" {
        span.status.code = StatusCode::Error;
    }
    span
}

fn passes(span: Span, breaker: &str) -> Span {
    through(span, breaker, "closed", "success", "", false)
}

fn failed_review() -> Span {
    let mut failed = span(15, 14, "review", "GET /reviews/{id}", 930, 330);
    failed.status = Status {
        code: StatusCode::Error,
        message: "connection reset by peer".to_owned(),
    };
    failed.events.push(Event {
        time: failed.end - Duration::from_millis(3),
        name: "exception".to_owned(),
        attributes: vec![
            ("exception.type".to_owned(), text("java.net.SocketException")),
            ("exception.stacktrace".to_owned(), text("java.net.SocketException: Connection reset\n\tat java.base/sun.nio.ch.SocketChannelImpl.throwConnectionReset(SocketChannelImpl.java:394)\n\tat shop.review.Store.load(Store.java:41)\n\tat shop.review.Api.get(Api.java:27)")),
        ],
        dropped_attributes_count: 0,
    });
    failed
}

fn refused_call() -> Span {
    let mut refused = through(
        span(4, 3, "product-page", "GET inventory", 165, 0),
        "inventory",
        "open",
        "rejected",
        "success",
        false,
    );
    refused
        .attributes
        .push(("error.type".to_owned(), text("circuit_open")));
    refused
}

/// Returns one request through the shop: a refused call and its fallback, a failed probe, a slow part.
pub(crate) fn trace() -> Trace {
    let spans = vec![
        span(1, 0, "gateway", "GET /product/{id}", 0, 4_120),
        passes(
            span(2, 1, "gateway", "GET product-page", 45, 4_010),
            "product-page",
        ),
        span(3, 2, "product-page", "GET /product/{id}", 85, 3_920),
        refused_call(),
        span(5, 3, "product-page", "fallback inventory", 210, 660),
        passes(span(6, 5, "product-page", "GET legacy", 220, 640), "legacy"),
        span(7, 6, "legacy", "GET /stock/{id}", 240, 610),
        span(8, 7, "legacy", "SELECT stock", 290, 490),
        passes(span(9, 3, "product-page", "GET price", 211, 120), "price"),
        span(10, 9, "price", "GET /price/{id}", 225, 90),
        passes(
            span(11, 3, "product-page", "GET recommendation", 908, 3_050),
            "recommendation",
        ),
        span(12, 11, "recommendation", "GET /recommend", 935, 2_970),
        span(13, 12, "recommendation", "rank candidates", 990, 2_810),
        through(
            span(14, 3, "product-page", "GET review", 909, 380),
            "review",
            "half_open",
            "failure",
            "success",
            true,
        ),
        failed_review(),
        span(20, 99, "mail", "deliver receipt", 3_000, 600),
    ];
    let note = Note {
        code: "missing_parent",
        span_id: SpanId::from(20),
        message: "the parent 0000000000000063 of “deliver receipt” was not received".to_owned(),
    };
    Trace {
        id: spans[0].trace_id,
        spans,
        notes: vec![note],
        truncated: false,
    }
}

/// Returns a trace of this many spans, eight levels deep.
pub(crate) fn long_trace(count: u64) -> Trace {
    let services = [
        "gateway",
        "product-page",
        "inventory",
        "price",
        "review",
        "ledger",
    ];
    let spans: Vec<Span> = (1..=count)
        .map(|n| {
            let parent = n / 4;
            let start = n * 30_000 / count;
            span(
                n,
                parent,
                services[(n % 6) as usize],
                &format!("step {n}"),
                start,
                if n == 1 { 40_000 } else { 40 + wave(n, 1) * 4 },
            )
        })
        .collect();
    Trace {
        id: TraceId::from(0x10),
        spans,
        notes: Vec::new(),
        truncated: false,
    }
}

/// Returns a page of search results.
pub(crate) fn found() -> TracePage {
    let operations = [
        "GET /product/{id}",
        "POST /checkout",
        "GET /search",
        "GET /cart",
    ];
    let traces = (0..12_u64).map(|n| TraceSummary {
        trace_id: TraceId::from(u128::from(n + 1) << 90 | 0x77),
        root_service: if n == 5 {
            "mail".to_owned()
        } else {
            "gateway".to_owned()
        },
        root_operation: operations[(n % 4) as usize].to_owned(),
        root_received: n != 5,
        root_failed: n % 6 == 1,
        start: UnixNanos::new(NOW - n * n * 9 * SECOND),
        duration_nanos: (12 + wave(n, 3) * 5) * 1_000_000,
        span_count: 4 + (n as u32 * 7) % 40,
        error_count: u32::from(n % 3 == 1),
        services: ["gateway", "product-page", "inventory", "price"]
            .map(|service| ServiceCount {
                service: service.to_owned(),
                spans: 3,
                errors: 0,
            })
            .into(),
        circuits: if n % 3 == 0 {
            vec![
                CircuitMark::new("product-page", "inventory", ["open", "rejected", "success"]),
                CircuitMark::new("gateway", "product-page", ["closed", "success", ""]),
            ]
        } else {
            Vec::new()
        },
    });
    TracePage {
        traces: traces.collect(),
        next: Some(Cursor {
            position: UnixNanos::new(NOW - HOUR),
            trace_id: TraceId::from(5),
            as_of: UnixNanos::new(NOW),
        }),
        ..TracePage::default()
    }
}

/// Returns the services of the shop.
pub(crate) fn services() -> Vec<ServiceSummary> {
    let red = |n: u64| RedStats {
        calls: 1_000 * n,
        errors: if n == 3 { 140 } else { n },
        calls_per_second: 3.3 * n as f64,
        p50_nanos: Some(9_000_000 * n),
        p90_nanos: Some(31_000_000 * n),
        p99_nanos: Some(140_000_000 * n),
    };
    let names = [
        "checkout",
        "gateway",
        "inventory",
        "legacy",
        "product-page",
        "recommendation",
        "review",
    ];
    names
        .iter()
        .zip(1_u64..)
        .map(|(name, n)| ServiceSummary {
            name: (*name).to_owned(),
            red: red(n),
            operations: ["GET /product/{id}", "POST /order", "GET /healthz"]
                .iter()
                .zip(1..)
                .map(|(name, m)| OperationStats {
                    name: (*name).to_owned(),
                    red: red(n * m),
                })
                .collect(),
            minutes: (0..60)
                .map(|minute| MinuteCalls {
                    calls: (40 + 20 * (minute % 7)) * n,
                    errors: u64::from(n > 3 && minute % 20 == 0) * n,
                })
                .collect(),
            instances: (0..1 + n % 3)
                .map(|i| InstanceSeen {
                    id: format!("{name}-{i}"),
                    first_seen: UnixNanos::new(NOW - 2 * DAY),
                    last_seen: UnixNanos::new(NOW - SECOND - i * 4 * MINUTE * i),
                })
                .collect(),
        })
        .collect()
}

/// Returns the dependencies of the shop.
pub(crate) fn links() -> Vec<DependencyLink> {
    let link =
        |(parent, child, calls, errors, circuit): &(&str, &str, u64, u64, &str)| DependencyLink {
            parent: (*parent).to_owned(),
            child: (*child).to_owned(),
            child_is_virtual: *child == "postgres" || *child == "payment-provider",
            call_count: *calls,
            error_count: *errors,
            circuits: if circuit.is_empty() {
                Vec::new()
            } else {
                vec![key(parent, circuit)]
            },
        };
    [
        ("gateway", "product-page", 86_000, 60, "product-page"),
        ("gateway", "review", 9_000, 1_400, "review"),
        ("gateway", "checkout", 4_100, 3, "checkout"),
        ("product-page", "inventory", 3_200, 1_900, "inventory"),
        ("product-page", "price", 84_000, 40, "price"),
        (
            "product-page",
            "recommendation",
            80_000,
            900,
            "recommendation",
        ),
        ("product-page", "legacy", 61_000, 12, "legacy"),
        ("checkout", "inventory", 4_000, 8, "inventory"),
        ("checkout", "payment-provider", 800, 60, "payment"),
        ("checkout", "mail", 3_900, 0, "mail"),
        ("inventory", "postgres", 7_000, 0, ""),
        ("legacy", "postgres", 90_000, 0, ""),
        ("legacy", "product-page", 300, 0, ""),
    ]
    .iter()
    .map(link)
    .collect()
}

pub(crate) fn teach() -> Teach {
    Teach {
        otlp_http: "http://127.0.0.1:4318".to_owned(),
        otlp_grpc: "http://127.0.0.1:4317".to_owned(),
        has_services: false,
    }
}

#[path = "fixture_server.rs"]
mod server;
pub(crate) use server::{circuit_page, router};
