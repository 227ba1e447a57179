//! Reads and writes B3, single (`b3`) and multi (`X-B3-*`), as specified by openzipkin/b3-propagation.
//!
//! A request without a decision (*defer*) counts as sampled: this service may decide, and Fusebox samples when it
//! stores, not when it receives. `b3: 0` alone asks for no trace, so telemetry is suppressed for the request. `b3: 1`
//! alone asks for a trace that starts here, and `b3: d` for one that is sampled whatever the sampler decides.

use std::sync::LazyLock;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceId, TraceState};

use super::{lower_hex, span_id, trace_id, w3c};

const B3: &str = "b3";
const TRACE_ID: &str = "x-b3-traceid";
const SPAN_ID: &str = "x-b3-spanid";
const SAMPLED: &str = "x-b3-sampled";
const FLAGS: &str = "x-b3-flags";
const PARENT_ID: &str = "x-b3-parentspanid";
static FIELDS: LazyLock<[String; 6]> =
    LazyLock::new(|| [B3, TRACE_ID, SPAN_ID, SAMPLED, FLAGS, PARENT_ID].map(Into::into));

/// Characters of the longest single header: 32, 16, 1 and 16, with three dashes.
const MAX_SINGLE: usize = 68;

/// The form in which B3 is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum B3Encoding {
    /// One `b3` header.
    Single,
    /// Several `X-B3-*` headers.
    Multi,
}

/// Reads both forms of B3, single first, and writes one.
#[derive(Debug, Clone, Copy)]
pub struct B3Propagator {
    encoding: B3Encoding,
}

impl B3Propagator {
    /// Creates a propagator that writes `encoding`.
    pub fn new(encoding: B3Encoding) -> Self {
        Self { encoding }
    }
}

/// The sampling decision of the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Defer,
    Drop,
    Accept,
    Debug,
}

/// Marks a context whose trace has the debug flag, so that the flag is passed on.
#[derive(Debug)]
struct Debugged;

/// Marks a context whose trace starts here at the caller's request.
#[derive(Debug)]
struct Accepted;

/// Returns whether the caller decided that a trace is sampled without sending ids, which a span context cannot express.
#[cfg(feature = "telemetry")]
pub(super) fn is_wanted(cx: &Context) -> bool {
    cx.get::<Debugged>().is_some() || cx.get::<Accepted>().is_some()
}

impl TextMapPropagator for B3Propagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let span = cx.span();
        let span = span.span_context();
        if span.is_valid() {
            let debug = span.is_sampled() && cx.get::<Debugged>().is_some();
            self.write(span, debug, injector);
        } else if cx.is_telemetry_suppressed() {
            match self.encoding {
                B3Encoding::Single => injector.set(B3, "0".into()),
                B3Encoding::Multi => injector.set(SAMPLED, "0".into()),
            }
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        extract(cx, extractor).unwrap_or_else(|| cx.clone())
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(FIELDS.as_slice())
    }
}

impl B3Propagator {
    fn write(self, span: &SpanContext, debug: bool, injector: &mut dyn Injector) {
        let sampled = if span.is_sampled() { "1" } else { "0" };
        let (trace, id) = (span.trace_id(), span.span_id());
        match self.encoding {
            B3Encoding::Single => {
                let decision = if debug { "d" } else { sampled };
                injector.set(B3, format!("{trace}-{id}-{decision}"));
            }
            B3Encoding::Multi => {
                injector.set(TRACE_ID, trace.to_string());
                injector.set(SPAN_ID, id.to_string());
                match debug {
                    true => injector.set(FLAGS, "1".into()), // Implies sampled, which is not sent then.
                    false => injector.set(SAMPLED, sampled.into()),
                }
            }
        }
    }
}

/// Reads B3 headers; `None` if there are none or they are malformed.
pub(super) fn extract(cx: &Context, extractor: &dyn Extractor) -> Option<Context> {
    // The first value of a repeated header wins. A malformed single header is not replaced by multi headers, because
    // the caller meant it to be used.
    match extractor.get(B3) {
        Some(value) => single(cx, value),
        None => multi(cx, extractor),
    }
}

fn single(cx: &Context, value: &str) -> Option<Context> {
    let value = value.trim_matches([' ', '\t']);
    if value.len() > MAX_SINGLE {
        return None;
    }
    if let Some(decision) = single_decision(value) {
        return Some(decided(cx, decision));
    }
    let mut fields = value.split('-');
    let trace = b3_trace_id(fields.next()?)?;
    let span = span_id(fields.next()?)?;
    let decision = match fields.next() {
        Some(field) => single_decision(field)?,
        None => Decision::Defer,
    };
    if let Some(parent) = fields.next() {
        span_id(parent)?; // Unused, but an invalid one means that the header is not B3.
    }
    if fields.next().is_some() {
        return None;
    }
    Some(with_span(cx, trace, span, decision))
}

fn single_decision(field: &str) -> Option<Decision> {
    match field {
        "0" => Some(Decision::Drop),
        "1" => Some(Decision::Accept),
        "d" => Some(Decision::Debug),
        _ => None,
    }
}

fn multi(cx: &Context, extractor: &dyn Extractor) -> Option<Context> {
    let header = |name: &str| Some(extractor.get(name)?.trim_matches([' ', '\t']));
    let decision = match (header(FLAGS), header(SAMPLED)) {
        (Some("1"), _) => Decision::Debug,
        (_, Some("1" | "true")) => Decision::Accept, // Words are accepted but never sent.
        (_, Some("0" | "false")) => Decision::Drop,
        _ => Decision::Defer,
    };
    match (header(TRACE_ID), header(SPAN_ID)) {
        (None, None) if decision != Decision::Defer => Some(decided(cx, decision)),
        (Some(trace), Some(span)) => {
            Some(with_span(cx, b3_trace_id(trace)?, span_id(span)?, decision))
        }
        _ => None,
    }
}

/// Parses 32 digits, or 16 for the lower half.
fn b3_trace_id(hex: &str) -> Option<TraceId> {
    if hex.len() != 16 {
        return trace_id(hex);
    }
    let id = TraceId::from(u128::from(u64::from_be_bytes(lower_hex(hex)?)));
    (id != TraceId::INVALID).then_some(id)
}

/// Applies a decision without ids: a trace starts here, or no trace is wanted.
fn decided(cx: &Context, decision: Decision) -> Context {
    match decision {
        Decision::Drop => cx.with_telemetry_suppressed(),
        Decision::Debug => cx.with_value(Debugged),
        Decision::Accept => cx.with_value(Accepted),
        Decision::Defer => cx.clone(),
    }
}

fn with_span(
    cx: &Context,
    trace: TraceId,
    span: opentelemetry::trace::SpanId,
    decision: Decision,
) -> Context {
    let flags = match decision {
        Decision::Drop => TraceFlags::NOT_SAMPLED,
        Decision::Accept | Decision::Debug | Decision::Defer => TraceFlags::SAMPLED,
    };
    let span = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    // B3 does not tell whether the id is random.
    let cx = cx.with_remote_span_context(span);
    let cx = cx.with_value(w3c::Received::default());
    match decision {
        Decision::Debug => cx.with_value(Debugged),
        Decision::Drop | Decision::Accept | Decision::Defer => cx,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn read(lines: &[(&str, &str)]) -> Option<Context> {
        let carrier: HashMap<String, String> = lines
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        extract(&Context::new(), &carrier)
    }

    fn write(encoding: B3Encoding, cx: &Context) -> Vec<(String, String)> {
        let mut carrier = HashMap::new();
        B3Propagator::new(encoding).inject_context(cx, &mut carrier);
        let mut lines: Vec<_> = carrier.into_iter().collect();
        lines.sort();
        lines
    }

    fn flags(lines: &[(&str, &str)]) -> Option<bool> {
        read(lines).map(|cx| {
            assert!(cx.span().span_context().is_valid());
            cx.span().span_context().is_sampled()
        })
    }

    #[test]
    fn single_carries_every_decision() {
        for (tail, sampled, written) in [
            ("", true, "1"),
            ("-0", false, "0"),
            ("-1", true, "1"),
            ("-d", true, "d"),
            ("-1-00f067aa0ba902b8", true, "1"),
        ] {
            let value = format!("{TRACE}-{SPAN}{tail}");
            assert_eq!(flags(&[("b3", &value)]), Some(sampled), "{value}");
            let out = write(B3Encoding::Single, &read(&[("b3", &value)]).unwrap());
            assert_eq!(out, [("b3".into(), format!("{TRACE}-{SPAN}-{written}"))]);
        }
    }

    #[test]
    fn short_trace_ids_are_the_right_half() {
        let cx = read(&[("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-1")]).unwrap();
        let id = cx.span().span_context().trace_id().to_string();
        assert_eq!(id, "0000000000000000a3ce929d0e0e4736");
    }

    #[test]
    fn malformed_single_is_rejected() {
        let zero = format!("{}-{SPAN}-1", "0".repeat(32));
        let long = format!("{TRACE}-{SPAN}-1-{SPAN}0");
        let five = "a3ce929d0e0e4736-00f067aa0ba902b7-1-00f067aa0ba902b8-1".to_owned();
        let upper = format!("{}-{SPAN}-1", TRACE.to_uppercase());
        let half = format!("{TRACE}-");
        let word = format!("{TRACE}-{SPAN}-true");
        let parent = format!("{TRACE}-{SPAN}-1-");
        let zero_span = format!("{TRACE}-0000000000000000-1");
        for value in [
            "", "-", "2", "b3", TRACE, &zero, &long, &five, &upper, &half, &word, &parent,
            &zero_span,
        ] {
            assert!(read(&[("b3", value)]).is_none(), "{value}");
        }
    }

    #[test]
    fn a_lone_decision_starts_or_suppresses() {
        let cx = read(&[("b3", "0")]).unwrap();
        assert!(cx.is_telemetry_suppressed());
        assert_eq!(write(B3Encoding::Single, &cx), [("b3".into(), "0".into())]);
        assert_eq!(
            write(B3Encoding::Multi, &cx),
            [("x-b3-sampled".into(), "0".into())]
        );
        for value in ["1", "d"] {
            let cx = read(&[("b3", value)]).unwrap();
            assert!(!cx.is_telemetry_suppressed() && !cx.has_active_span());
        }
        assert!(
            read(&[("x-b3-sampled", "0")])
                .unwrap()
                .is_telemetry_suppressed()
        );
        assert!(
            read(&[("x-b3-flags", "1")])
                .unwrap()
                .get::<Debugged>()
                .is_some()
        );
    }

    #[test]
    fn multi_accepts_words_and_debug() {
        let ids = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
        let with = |name, value| flags(&[ids[0], ids[1], (name, value)]);
        assert_eq!(flags(&ids), Some(true));
        assert_eq!(with("x-b3-sampled", "0"), Some(false));
        assert_eq!(with("x-b3-sampled", "false"), Some(false));
        assert_eq!(with("x-b3-sampled", "true"), Some(true));
        let cx = read(&[ids[0], ids[1], ("x-b3-flags", "1"), ("x-b3-sampled", "0")]).unwrap();
        let out = write(B3Encoding::Multi, &cx);
        let names: Vec<_> = out.iter().map(|line| line.0.as_str()).collect();
        assert_eq!(names, ["x-b3-flags", "x-b3-spanid", "x-b3-traceid"]);
        assert!(read(&ids[..1]).is_none() && read(&ids[1..]).is_none());
    }

    #[test]
    fn single_wins_over_multi() {
        let value = format!("{TRACE}-{SPAN}-0");
        let lines = [
            ("b3", value.as_str()),
            ("x-b3-traceid", SPAN),
            ("x-b3-spanid", SPAN),
            ("x-b3-sampled", "1"),
        ];
        let cx = read(&lines).unwrap();
        assert_eq!(cx.span().span_context().trace_id().to_string(), TRACE);
        assert!(!cx.span().span_context().is_sampled());
    }

    proptest! {
        #[test]
        fn what_is_injected_is_extracted(trace in 1u128.., span in 1u64.., sampled: bool, multi: bool) {
            let flags = TraceFlags::default().with_sampled(sampled);
            let span = SpanContext::new(trace.into(), span.into(), flags, true, TraceState::NONE);
            let cx = Context::new().with_remote_span_context(span.clone());
            let encoding = if multi { B3Encoding::Multi } else { B3Encoding::Single };
            let mut carrier = HashMap::new();
            B3Propagator::new(encoding).inject_context(&cx, &mut carrier);
            let cx = extract(&Context::new(), &carrier).unwrap();
            let read = cx.span().span_context().clone();
            prop_assert_eq!(read, span);
        }

        #[test]
        fn no_text_panics(text in ".{0,80}", near in "[0-9a-fd-]{0,70}") {
            let _ = (single(&Context::new(), &text), single(&Context::new(), &near));
            let _ = read(&[("x-b3-traceid", &text), ("x-b3-spanid", &near), ("x-b3-sampled", &text)]);
        }
    }
}
