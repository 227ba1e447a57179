//! Made-up data of fifteen minutes as the store writes it: every measurement that panels query, every state, every
//! outcome. Points take their tags and fields from the schema, so they cannot differ from what the store writes.

use std::fmt::Write;

use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::store::influxdb::schema::{self, FieldType, Measurement};

use crate::panel_source::now_ms;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const MINUTES: u64 = 15;
const COLLECTOR: &str = "a1b2c3";

/// A breaker whose name must be escaped in regexes and lines, as values of the variables.
pub(crate) const SPECIAL_CHARACTERS: [(&str, &str); 2] =
    [("svc", "gateway"), ("name", "it's a/b, v2 (old) \"x=y\"")];

/// The breakers: service, name, instance, current state.
const BREAKERS: [(&str, &str, &str, EffectiveState); 6] = [
    ("product-page", "inventory", "page-1", EffectiveState::Open),
    (
        "product-page",
        "inventory",
        "page-2",
        EffectiveState::Closed,
    ),
    ("product-page", "review", "page-1", EffectiveState::HalfOpen),
    ("gateway", "price", "gate-1", EffectiveState::ForcedOpen),
    ("gateway", "legacy", "gate-1", EffectiveState::MetricsOnly),
    (
        "gateway",
        SPECIAL_CHARACTERS[1].1,
        "gate-1",
        EffectiveState::Closed,
    ),
];

/// Returns the end of the data, Unix nanoseconds: full five minutes, so that a test finds the same points in the same
/// windows whenever it runs.
pub(crate) fn end() -> u64 {
    let now = now_ms() * 1_000_000;
    now - now % (5 * MINUTE)
}

/// Returns the lines of the fifteen minutes before `now`, Unix nanoseconds.
pub(crate) fn lines(now: u64) -> String {
    let mut lines = Points::default();
    for back in 1..=MINUTES {
        let minute = (now / MINUTE - back) * MINUTE;
        lines.minute(minute);
        for window in 0..6 {
            lines.ten_seconds(minute + window * 10 * SECOND, back * 6 - window);
        }
    }
    for (back, breaker) in (1..).zip(BREAKERS) {
        lines.standing(breaker, now - back * SECOND);
        lines.changes(breaker, now - back * MINUTE);
    }
    for back in 1..60 {
        lines.spans(now - back * 5 * SECOND, back);
    }
    lines.0
}

/// The value of a field; fields without one get a default.
enum Given {
    Int(i64),
    Text(String),
}

#[derive(Default)]
struct Points(String);

impl Points {
    /// Writes a point with every tag and field of its measurement.
    fn point(&mut self, of: &Measurement, tags: &[(&str, &str)], given: &[(&str, Given)], at: u64) {
        let known =
            |name| of.tags.contains(name) || of.fields.iter().any(|(field, _)| field == name);
        for name in tags
            .iter()
            .map(|(name, _)| name)
            .chain(given.iter().map(|(name, _)| name))
        {
            assert!(known(name), "{} has no {name}", of.name);
        }
        self.0.push_str(of.name);
        for tag in of.tags {
            let value = tags
                .iter()
                .find(|(name, _)| name == tag)
                .map_or(COLLECTOR, |(_, value)| value);
            if *tag == schema::COLLECTOR || value != COLLECTOR {
                let _ = write!(self.0, ",{tag}={}", escaped(value));
            }
        }
        for (at, (field, kind)) in of.fields.iter().enumerate() {
            let value = given
                .iter()
                .find(|(name, _)| name == field)
                .map(|(_, value)| value);
            let separator = if at == 0 { ' ' } else { ',' };
            let _ = write!(self.0, "{separator}{field}={}", written(*kind, value));
        }
        let _ = writeln!(self.0, " {at}");
    }

    /// Writes the points of every minute and of every five minutes.
    fn minute(&mut self, at: u64) {
        let figures = [
            ("calls", Given::Int(60)),
            ("errors", Given::Int(3)),
            ("p99", Given::Int(40_000_000)),
        ];
        for (service, operation) in [
            ("gateway", "GET /product/{id}"),
            ("product-page", "GET /product"),
        ] {
            let tags = [(schema::SERVICE, service), (schema::OPERATION, operation)];
            self.point(&schema::RED, &tags, &figures, at);
            self.point(&schema::RED_SERVICE, &tags[..1], &figures, at);
            if at.is_multiple_of(5 * MINUTE) {
                self.point(&schema::RED_5M, &tags, &figures, at);
                self.point(&schema::RED_SERVICE_5M, &tags[..1], &figures, at);
            }
        }
        for edge in [["gateway", "product-page"], ["product-page", "inventory"]] {
            let tags = [(schema::SOURCE, edge[0]), (schema::DESTINATION, edge[1])];
            self.point(&schema::DEP, &tags, &figures[..2], at);
        }
        for (service, kind) in [
            ("gateway", "retry"),
            ("product-page", "pool"),
            ("product-page", "rate_limiter"),
            ("gateway", "pool"),
        ] {
            let tags = [
                (schema::SERVICE, service),
                (schema::KIND, kind),
                (schema::NAME, "inventory"),
                (schema::INSTANCE, "one"),
            ];
            self.point(&schema::POLICY, &tags, &[], at);
        }
        for (service, _, instance, _) in BREAKERS {
            let tags = [(schema::SERVICE, service), (schema::INSTANCE, instance)];
            let heard = [
                ("exact", Given::Text(format!("{at} {at}"))),
                ("first", Given::Int(at as i64 / 1_000_000)),
                ("last", Given::Int(at as i64 / 1_000_000)),
            ];
            self.point(&schema::INSTANCE_SEEN, &tags, &heard, at);
        }
        for (service, name, instance, _) in BREAKERS {
            let tags = [
                (schema::SERVICE, service),
                (schema::NAME, name),
                (schema::INSTANCE, instance),
            ];
            self.point(&schema::CIRCUIT_SETTINGS, &tags, &[], at);
        }
    }

    /// Writes the points of every ten seconds and, for breakers, of every five minutes.
    fn ten_seconds(&mut self, at: u64, windows_ago: u64) {
        for (service, name, instance, state) in BREAKERS {
            let tags = [
                (schema::SERVICE, service),
                (schema::NAME, name),
                (schema::INSTANCE, instance),
            ];
            let state = if windows_ago < 30 {
                state
            } else {
                EffectiveState::Closed
            };
            let given =
                |state: EffectiveState| [("state", Given::Int(schema::state_number(state)))];
            self.point(&schema::CIRCUIT, &tags, &given(state), at);
            // The instances of `inventory` are merged into one point with the worst state.
            if instance != "page-2" {
                self.point(&schema::CIRCUIT_10S, &tags[..2], &given(state), at);
                if at.is_multiple_of(5 * MINUTE) {
                    self.point(&schema::CIRCUIT_5M, &tags[..2], &given(state), at);
                }
            }
        }
        let rising = Given::Int((1_000 - windows_ago) as i64);
        self.point(
            &schema::COLLECTOR_STATS,
            &[],
            &[("spans_received", rising)],
            at,
        );
    }

    fn standing(
        &mut self,
        (service, name, instance, state): (&str, &str, &str, EffectiveState),
        at: u64,
    ) {
        let tags = [
            (schema::SERVICE, service),
            (schema::NAME, name),
            (schema::INSTANCE, instance),
        ];
        for (at, state) in [(at - 10 * MINUTE, EffectiveState::Closed), (at, state)] {
            let given = [
                ("state", Given::Int(schema::state_number(state))),
                ("state_name", Given::Text(state.as_str().to_owned())),
                ("since", Given::Int((at / 1_000_000) as i64)),
                ("opened_by", Given::Text(trace_id(at))),
            ];
            self.point(&schema::CIRCUIT_STATE, &tags, &given, at);
        }
    }

    /// Writes the transitions of a breaker that opened and closed again.
    fn changes(
        &mut self,
        (service, name, instance, _): (&str, &str, &str, EffectiveState),
        at: u64,
    ) {
        let tags = [
            (schema::SERVICE, service),
            (schema::NAME, name),
            (schema::INSTANCE, instance),
        ];
        for (from, to, at) in [
            ("closed", "open", at),
            ("half_open", "closed", at + 5 * SECOND),
        ] {
            let given = [
                ("from", Given::Text(from.to_owned())),
                ("to", Given::Text(to.to_owned())),
                ("at", Given::Text(at.to_string())),
                ("tid", Given::Text(trace_id(at))),
            ];
            self.point(&schema::CIRCUIT_EVENT, &tags, &given, at);
        }
    }

    /// Writes a request to a service, its call through a breaker, and the fallback of that call.
    fn spans(&mut self, at: u64, number: u64) {
        let outcomes = ["success", "failure", "timeout", "rejected", "bulkhead_full"];
        let outcome = outcomes[number as usize % outcomes.len()];
        let request = [
            (schema::OPERATION, "GET /product"),
            (schema::KIND, "server"),
        ];
        self.span(&request, at);
        let call = [
            (schema::OPERATION, "inventory"),
            (schema::KIND, "client"),
            (schema::BREAKER, "inventory"),
            (schema::OUTCOME, outcome),
        ];
        self.span(&call, at + 1);
        let fallback = [
            (schema::OPERATION, "fallback legacy"),
            (schema::KIND, "internal"),
            (schema::BREAKER, "inventory"),
            (schema::FALLBACK, "success"),
        ];
        self.span(&fallback, at + 2);
    }

    fn span(&mut self, tags: &[(&str, &str)], at: u64) {
        let own = [(schema::SERVICE, "product-page"), (schema::ERROR, "1")];
        let v = format!("{} 00f067aa0ba902b7 {at}", trace_id(at));
        let given = [("v", Given::Text(v))];
        self.point(&schema::SPAN_IDX, &[&own[..], tags].concat(), &given, at);
    }
}

/// Escapes a tag value for the line protocol.
fn escaped(value: &str) -> String {
    let special = |c| matches!(c, ' ' | ',' | '=');
    let escape = |c| {
        if special(c) {
            format!("\\{c}")
        } else {
            String::from(c)
        }
    };
    value.chars().map(escape).collect()
}

/// Formats a field value for the line protocol.
fn written(kind: FieldType, given: Option<&Given>) -> String {
    match (kind, given) {
        (FieldType::Int, Some(Given::Int(value))) => format!("{value}i"),
        (FieldType::Int, None) => "7i".to_owned(),
        (FieldType::Float, None) => "42.5".to_owned(),
        (FieldType::String, Some(Given::Text(value))) => format!("\"{value}\""),
        (FieldType::String, None) => "\"52 % of 118 calls failed in 10 s (limit 50 %)\"".to_owned(),
        (FieldType::Bool, None) => "t".to_owned(),
        (kind, _) => panic!("{kind:?} takes another value"),
    }
}

fn trace_id(seed: u64) -> String {
    format!("{seed:032x}")
}
