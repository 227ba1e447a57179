//! Reads and writes W3C trace context, level 2 (`traceparent`, `tracestate`).
//!
//! Not the SDK's `TraceContextPropagator`, which is laxer than the specification: it accepts two `traceparent` headers,
//! short and long ids and a version without its dash, drops the random flag, and discards a whole `tracestate` where the
//! format asks to drop members.

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
/// Most members of a `tracestate`; with more, the whole header is dropped (section 3.3.1.1).
const MAX_MEMBERS: usize = 32;
/// Members longer than this are the first to go (section 3.3.1.5).
const LONG_MEMBER: usize = 128;
/// Characters of `tracestate` that are passed on: 32 members of 128. The specification asks for at least 512.
const MAX_TRACESTATE: usize = MAX_MEMBERS * LONG_MEMBER;

/// Reads and writes W3C `traceparent` and `tracestate`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceContextPropagator;

impl TextMapPropagator for TraceContextPropagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let span = cx.span();
        let span = span.span_context();
        if !span.is_valid() {
            return;
        }
        injector.set(TRACEPARENT, traceparent(span));
        let tracestate = write_tracestate(span.trace_state());
        if !tracestate.is_empty() {
            injector.set(TRACESTATE, tracestate);
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        match extract(extractor) {
            Some(span) => cx.with_remote_span_context(span),
            None => cx.clone(),
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(FIELDS.as_slice())
    }
}

/// Reads the remote span; `None` restarts the trace, and `tracestate` is ignored then.
fn extract(extractor: &dyn Extractor) -> Option<SpanContext> {
    let values = extractor.get_all(TRACEPARENT)?;
    let [value] = values.as_slice() else {
        return None; // There is no telling which of two is right.
    };
    let (trace, span, flags) = parse_traceparent(value)?;
    let state = read_tracestate(&extractor.get_all(TRACESTATE).unwrap_or_default());
    Some(SpanContext::new(trace, span, flags, true, state))
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

/// Writes `00-{trace id}-{span id}-{flags}`.
pub(crate) fn traceparent(span: &SpanContext) -> String {
    let mut text = String::with_capacity(TRACEPARENT_LENGTH);
    text.push_str("00-");
    push_hex(&mut text, &span.trace_id().to_bytes());
    text.push('-');
    push_hex(&mut text, &span.span_id().to_bytes());
    text.push('-');
    push_hex(&mut text, &[(span.trace_flags() & KNOWN_FLAGS).to_u8()]);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Reads `tracestate`, its headers joined in order; if anything is malformed, the whole of it is dropped.
fn read_tracestate(headers: &[&str]) -> TraceState {
    let mut members = Vec::new();
    for member in headers.iter().flat_map(|header| header.split(',')) {
        let member = member.trim_matches([' ', '\t']);
        if member.is_empty() {
            continue; // Empty members are allowed.
        }
        let Some((key, value)) = member.split_once('=') else {
            return TraceState::NONE;
        };
        if members.len() == MAX_MEMBERS || !valid_key(key) || !valid_value(value) {
            return TraceState::NONE;
        }
        members.push((key, value));
    }
    // The API's type checks the key grammar of level 1 (at most 14 characters after one `@`): only the members that it
    // cannot hold are left out.
    members.retain(|member| TraceState::from_key_value([*member]).is_ok());
    TraceState::from_key_value(members).unwrap_or_default()
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

/// Writes `tracestate`; if it is too long, whole members are dropped, long ones first, then those at the end.
fn write_tracestate(state: &TraceState) -> String {
    let mut members: Vec<(&str, &str)> = state
        .into_iter()
        .filter(|(key, value)| valid_key(key) && valid_value(value))
        .collect();
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
    use opentelemetry_http::{HeaderExtractor, HeaderInjector};
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
        extract(&HeaderExtractor(&headers(lines)))
    }

    fn state(lines: &[&str]) -> String {
        let mut all = vec![(TRACEPARENT, VALID)];
        all.extend(lines.iter().map(|line| (TRACESTATE, *line)));
        read(&all).unwrap().trace_state().header()
    }

    #[test]
    fn a_valid_traceparent_is_read_and_passed_on() {
        let span = read(&[("TraceParent", VALID)]).unwrap();
        assert!(span.is_sampled() && span.is_remote());
        assert_eq!(traceparent(&span), VALID);
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
            assert_eq!(traceparent(&read(&[(TRACEPARENT, value)]).unwrap()), VALID);
        }
    }

    #[test]
    fn the_random_flag_passes_and_unknown_flags_do_not() {
        let sent = |flags: &str| {
            let value = format!("{}{flags}", &VALID[..53]);
            traceparent(&read(&[(TRACEPARENT, &value)]).unwrap())[53..].to_owned()
        };
        assert_eq!(sent("03"), "03");
        assert_eq!(sent("ff"), "03");
        assert_eq!(sent("02"), "02");
        assert_eq!(sent("00"), "00");
    }

    #[test]
    fn tracestate_headers_join_in_order_without_empty_members() {
        assert_eq!(state(&["foo=1,bar=2", " , ,rojo=1 "]), "foo=1,bar=2,rojo=1");
        assert_eq!(state(&["0a_-*/=x y"]), "0a_-*/=x y");
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
        let written = write_tracestate(&TraceState::from_key_value(members.clone()).unwrap());
        assert_eq!(written.split(',').count(), 16, "only the short ones stay");
        let short: Vec<_> = (10..42).map(|i| member(&format!("k{i}"), 128)).collect();
        let written = write_tracestate(&TraceState::from_key_value(short).unwrap());
        assert_eq!(written.split(',').count(), 31, "the last goes");
        assert!(written.starts_with("k10=") && written.len() <= MAX_TRACESTATE);
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
            prop_assert_eq!(extract(&HeaderExtractor(&carrier)), Some(span));
        }

        #[test]
        fn no_text_panics(parent in ".{0,70}", near in "[0-9a-f-]{50,60}", state in ".{0,300}") {
            let _ = (parse_traceparent(&parent), parse_traceparent(&near));
            let _ = write_tracestate(&read_tracestate(&[&state]));
        }
    }
}
