//! Reads and writes W3C trace context, level 2 (`traceparent`, `tracestate`).
//!
//! The SDK's `TraceContextPropagator` is not used because it is laxer than the specification: it accepts two
//! `traceparent` headers, short and long ids and a version without its dash, drops the random flag, and discards a
//! whole `tracestate` where the format asks to drop members.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};

use super::{lower_hex, span_id, trace_id};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
static FIELDS: LazyLock<[String; 2]> = LazyLock::new(|| [TRACEPARENT.into(), TRACESTATE.into()]);

/// Length of a `traceparent` of version 00.
const TRACEPARENT_LENGTH: usize = 55;
/// Sampled and random; every other flag is sent as 0 (trace context level 2, section 3.2.2.5).
const KNOWN_FLAGS: TraceFlags = TraceFlags::new(0b11);
/// The right-most 7 bytes of the trace id are random (section 3.2.2.4).
const RANDOM: TraceFlags = TraceFlags::new(0b10);
/// Most members of a `tracestate`; with more, the whole header is dropped (section 3.3.1.1).
const MAX_MEMBERS: usize = 32;
/// Members longer than this are dropped first (section 3.3.1.5).
const LONG_MEMBER: usize = 128;
/// Most characters of `tracestate` that are passed on: 32 members of 128. The specification asks for at least 512.
const MAX_TRACESTATE: usize = MAX_MEMBERS * LONG_MEMBER;

/// Reads and writes W3C `traceparent` and `tracestate`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceContextPropagator;

impl TextMapPropagator for TraceContextPropagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        if let Some(parent) = traceparent(cx) {
            injector.set(TRACEPARENT, parent);
        } else if cx.is_telemetry_suppressed() {
            // The caller wants no trace, so the next service must not start one.
            injector.set(TRACEPARENT, unwanted());
        }
        let tracestate = write_tracestate(cx);
        if !tracestate.is_empty() {
            injector.set(TRACESTATE, tracestate);
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        match extract(extractor) {
            Some((span, received)) => cx.with_remote_span_context(span).with_value(received),
            None => cx.clone(),
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(FIELDS.as_slice())
    }
}

/// Received data that a span context cannot hold; children of the remote span inherit it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Received {
    /// Whether the caller's trace id is random. The SDK drops this flag for spans that are not sampled.
    is_random: bool,
    /// All members of `tracestate`, if the API's type cannot hold one of them.
    members: Vec<(String, String)>,
}

/// Reads the remote span; `None` starts a new trace, and `tracestate` is then ignored.
fn extract(extractor: &dyn Extractor) -> Option<(SpanContext, Received)> {
    let values = extractor.get_all(TRACEPARENT)?;
    let [value] = values.as_slice() else {
        return None; // There is no telling which of two is right.
    };
    let (trace, span, flags) = parse_traceparent(value)?;
    let (state, members) = read_tracestate(&extractor.get_all(TRACESTATE).unwrap_or_default());
    let is_random = flags & RANDOM == RANDOM;
    let received = Received { is_random, members };
    let span = SpanContext::new(trace, span, flags, true, state);
    Some((span, received))
}

fn parse_traceparent(value: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let value = value.trim_matches([' ', '\t']);
    let [version] = lower_hex(value.get(..2)?)?;
    let rest = value.get(TRACEPARENT_LENGTH..)?;
    let length_is_right = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with('-'), // Later versions may append fields.
    };
    let dashes = [2, 35, 52];
    if !length_is_right || dashes.iter().any(|&at| value.as_bytes()[at] != b'-') {
        return None;
    }
    let [flags] = lower_hex(value.get(53..55)?)?;
    let (trace, span) = (value.get(3..35)?, value.get(36..52)?);
    let flags = TraceFlags::new(flags) & KNOWN_FLAGS;
    Some((trace_id(trace)?, span_id(span)?, flags))
}

/// Writes `00-{trace id}-{span id}-{flags}` of the current span, if there is one.
pub(crate) fn traceparent(cx: &Context) -> Option<String> {
    let span = cx.span();
    let span = span.span_context();
    if !span.is_valid() {
        return None;
    }
    let mut flags = span.trace_flags() & KNOWN_FLAGS;
    // The SDK's ids of new traces are random; for a continued trace the caller's flag tells.
    let is_random = || {
        cx.get::<Received>()
            .is_none_or(|received| received.is_random)
    };
    if !span.is_remote() && is_random() {
        flags = flags | RANDOM;
    }
    Some(write(span.trace_id(), span.span_id(), flags))
}

/// Writes an unsampled context with new ids, for a trace that is not wanted.
fn unwanted() -> String {
    let random = || RandomState::new().build_hasher().finish().max(1);
    let trace = TraceId::from(u128::from(random()) << 64 | u128::from(random()));
    write(trace, SpanId::from(random()), RANDOM)
}

fn write(trace: TraceId, span: SpanId, flags: TraceFlags) -> String {
    let mut text = String::with_capacity(TRACEPARENT_LENGTH);
    text.push_str("00-");
    push_hex(&mut text, &trace.to_bytes());
    text.push('-');
    push_hex(&mut text, &span.to_bytes());
    text.push('-');
    push_hex(&mut text, &[flags.to_u8()]);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Reads `tracestate`, its headers joined in order; if any part is malformed, all of it is dropped. The API's type
/// checks the key grammar of level 1 (at most 14 characters after one `@`): if it cannot hold a member, all members are
/// also returned separately.
fn read_tracestate(headers: &[&str]) -> (TraceState, Vec<(String, String)>) {
    let nothing = || (TraceState::NONE, Vec::new());
    let mut members = Vec::new();
    for member in headers.iter().flat_map(|header| header.split(',')) {
        let member = member.trim_matches([' ', '\t']);
        if member.is_empty() {
            continue; // Empty members are allowed.
        }
        let Some((key, value)) = member.split_once('=') else {
            return nothing();
        };
        if members.len() == MAX_MEMBERS || !valid_key(key) || !valid_value(value) {
            return nothing();
        }
        members.push((key, value));
    }
    if let Ok(state) = TraceState::from_key_value(members.iter().copied()) {
        return (state, Vec::new());
    }
    let all = members
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let all = all.collect();
    members.retain(|member| TraceState::from_key_value([*member]).is_ok());
    let state = TraceState::from_key_value(members);
    (state.unwrap_or_default(), all)
}

/// The grammar of June 2026: `[0-9a-z][_0-9a-z\-*/@]{0,255}`.
fn valid_key(key: &str) -> bool {
    let first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= 256
        && key.as_bytes().first().is_some_and(first)
        && key
            .bytes()
            .all(|byte| first(&byte) || b"_-*/@".contains(&byte))
}

/// 1 to 256 printable characters without `,` and `=`, the last one not a blank.
fn valid_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && !value.ends_with(' ')
        && value
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=')
}

/// Writes `tracestate`; if it is too long, whole members are dropped: long ones first, then those at the end.
fn write_tracestate(cx: &Context) -> String {
    let span = cx.span();
    let span = span.span_context();
    let held = span.trace_state().into_iter();
    match cx.get::<Received>() {
        Some(received) if span.is_valid() && !received.members.is_empty() => {
            let all = received.members.iter();
            write_members(with_held(
                all.map(|(key, value)| (key.as_str(), value.as_str())),
                held,
            ))
        }
        _ => write_members(held.collect()),
    }
}

/// Updates the received members with those that the span holds: changed and new members move to the left, deleted ones
/// are removed.
fn with_held<'a>(
    received: impl Iterator<Item = (&'a str, &'a str)>,
    held: impl Iterator<Item = (&'a str, &'a str)>,
) -> Vec<(&'a str, &'a str)> {
    let (received, held): (Vec<_>, Vec<_>) = (received.collect(), held.collect());
    let mut members: Vec<_> = held
        .iter()
        .copied()
        .filter(|member| !received.contains(member))
        .collect();
    let is_kept = |member: &&(&str, &str)| {
        held.contains(member) || TraceState::from_key_value([**member]).is_err()
    };
    members.extend(received.iter().filter(is_kept));
    members.truncate(MAX_MEMBERS);
    members
}

fn write_members(mut members: Vec<(&str, &str)>) -> String {
    members.retain(|(key, value)| valid_key(key) && valid_value(value));
    let length = |member: &(&str, &str)| member.0.len() + 1 + member.1.len();
    let total = |members: &[(&str, &str)]| members.iter().map(|m| length(m) + 1).sum::<usize>();
    if total(&members) > MAX_TRACESTATE {
        members.retain(|member| length(member) <= LONG_MEMBER);
    }
    while total(&members) > MAX_TRACESTATE {
        members.pop();
    }
    let mut text = String::with_capacity(total(&members));
    for (key, value) in members {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(key);
        text.push('=');
        text.push_str(value);
    }
    text
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_http::{HeaderExtractor, HeaderInjector};
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn read(lines: &[(&'static str, &str)]) -> Option<SpanContext> {
        extract(&HeaderExtractor(&headers(lines))).map(|(span, _)| span)
    }

    fn context(lines: &[(&'static str, &str)]) -> Context {
        let headers = headers(lines);
        TraceContextPropagator.extract_with_context(&Context::new(), &HeaderExtractor(&headers))
    }

    fn sent(span: &SpanContext) -> String {
        traceparent(&Context::new().with_remote_span_context(span.clone())).unwrap()
    }

    /// Returns the `tracestate` that is sent after receiving `lines`.
    fn state(lines: &[&str]) -> String {
        let mut all = vec![(TRACEPARENT, VALID)];
        all.extend(lines.iter().map(|line| (TRACESTATE, *line)));
        write_tracestate(&context(&all))
    }

    fn written(members: Vec<(String, String)>) -> String {
        let state = TraceState::from_key_value(members).unwrap();
        write_members(state.into_iter().collect())
    }

    #[test]
    fn a_valid_traceparent_is_read_and_passed_on() {
        let span = read(&[("TraceParent", VALID)]).unwrap();
        assert!(span.is_sampled() && span.is_remote());
        assert_eq!(sent(&span), VALID);
        let blanks = format!(" \t{VALID} ");
        assert_eq!(read(&[(TRACEPARENT, &blanks)]).unwrap(), span);
    }

    #[test]
    fn a_malformed_traceparent_restarts_the_trace() {
        for value in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ".0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47360-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-.1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(read(&[(TRACEPARENT, value)]), None, "{value}");
        }
        assert_eq!(read(&[(TRACEPARENT, VALID), (TRACEPARENT, VALID)]), None);
    }

    #[test]
    fn a_higher_version_is_read_and_passed_on_as_00() {
        for value in [
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like",
        ] {
            assert_eq!(sent(&read(&[(TRACEPARENT, value)]).unwrap()), VALID);
        }
    }

    #[test]
    fn the_random_flag_passes_and_unknown_flags_do_not() {
        let passed = |flags: &str| {
            let value = format!("{}{flags}", &VALID[..53]);
            sent(&read(&[(TRACEPARENT, &value)]).unwrap())[53..].to_owned()
        };
        assert_eq!(passed("03"), "03");
        assert_eq!(passed("ff"), "03");
        assert_eq!(passed("02"), "02");
        assert_eq!(passed("00"), "00");
    }

    /// Scenario: a local span, which the SDK creates without the flag, is the child of a remote one, or a root.
    /// Guarantees: the caller's flag is passed on; a root's id is random.
    #[test]
    fn the_random_flag_outlives_a_span_of_the_sdk() {
        let child = |flags: Option<&str>, sampler: Sampler| {
            let value = flags.map(|flags| format!("{}{flags}", &VALID[..53]));
            let cx = value.map_or_else(Context::new, |value| context(&[(TRACEPARENT, &value)]));
            let provider = SdkTracerProvider::builder().with_sampler(sampler).build();
            let span = provider.tracer("test").start_with_context("child", &cx);
            traceparent(&cx.with_span(span)).unwrap()[53..].to_owned()
        };
        for (flags, off, on) in [
            (Some("02"), "02", "03"),
            (Some("03"), "02", "03"),
            (Some("00"), "00", "01"),
            (Some("01"), "00", "01"),
            (None, "02", "03"),
        ] {
            assert_eq!(child(flags, Sampler::AlwaysOff), off, "{flags:?}");
            assert_eq!(child(flags, Sampler::AlwaysOn), on, "{flags:?}");
        }
    }

    #[test]
    fn tracestate_headers_join_in_order_without_empty_members() {
        assert_eq!(state(&["foo=1,bar=2", " , ,rojo=1 "]), "foo=1,bar=2,rojo=1");
        assert_eq!(state(&["0a_-*/=x y"]), "0a_-*/=x y");
        // Keys of the current grammar that the API's type cannot hold.
        let today = "a@b@c=1,foo=2,t@averylongsystemname=3,0@=4";
        assert_eq!(state(&[today]), today);
    }

    #[test]
    fn a_bad_tracestate_is_dropped_and_the_trace_continues() {
        let long_key = format!("{}=1", "z".repeat(257));
        let long_value = format!("a={}", "z".repeat(257));
        for value in [
            "foo",
            "foo=",
            "foo=a=b",
            "FOO=1",
            "@a=1",
            "foo =1",
            "=1",
            &long_key,
            &long_value,
        ] {
            assert_eq!(state(&["ok=1", value]), "", "{value}");
        }
        let many: Vec<String> = (0..33).map(|i| format!("k{i}=1")).collect();
        assert_eq!(state(&[&many.join(",")]), "");
        assert_eq!(state(&[&many[..32].join(",")]), many[..32].join(","));
        let widest = format!("{}=1", "z".repeat(256));
        assert_eq!(state(&["foo=1", &widest]), format!("foo=1,{widest}"));
    }

    #[test]
    fn a_long_tracestate_loses_long_members_first_and_then_the_last() {
        let member =
            |key: &str, length: usize| (key.to_owned(), "v".repeat(length - key.len() - 1));
        let mut members: Vec<_> = (10..26).map(|i| member(&format!("k{i}"), 128)).collect();
        members.insert(0, member("long", 256));
        members.extend((30..44).map(|i| member(&format!("k{i}"), 200)));
        let long = written(members.clone());
        assert_eq!(long.split(',').count(), 16, "only the short ones stay");
        let short: Vec<_> = (10..42).map(|i| member(&format!("k{i}"), 128)).collect();
        let short = written(short);
        assert_eq!(short.split(',').count(), 31, "the last goes");
        assert!(short.starts_with("k10=") && short.len() <= MAX_TRACESTATE);
    }

    proptest! {
        #[test]
        fn what_is_injected_is_extracted(
            trace in 1u128.., span in 1u64.., flags in 0u8..4,
            members in proptest::collection::btree_map("[0-9a-z][_0-9a-z*/-]{0,20}", "[!-+.-<>-~]{1,20}", 0..20),
        ) {
            let state = TraceState::from_key_value(members).unwrap();
            let span = SpanContext::new(trace.into(), span.into(), TraceFlags::new(flags), true, state);
            let mut carrier = HeaderMap::new();
            let cx = Context::new().with_remote_span_context(span.clone());
            TraceContextPropagator.inject_context(&cx, &mut HeaderInjector(&mut carrier));
            prop_assert_eq!(extract(&HeaderExtractor(&carrier)).map(|(span, _)| span), Some(span));
        }

        #[test]
        fn no_text_panics(parent in ".{0,70}", near in "[0-9a-f-]{50,60}", state in ".{0,300}") {
            let _ = (parse_traceparent(&parent), parse_traceparent(&near));
            let _ = write_members(read_tracestate(&[&state]).0.into_iter().collect());
        }
    }
}
