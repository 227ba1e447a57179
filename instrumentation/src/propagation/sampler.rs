//! The sampler that respects a caller's B3 decision without ids.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use super::b3::is_wanted;

/// Samples a trace that the caller asked for (`b3: 1`, `b3: d`, `X-B3-Flags: 1`); the inner sampler decides about all
/// others.
///
/// `fusebox::init` puts it around the sampler of `OTEL_TRACES_SAMPLER`; for your own tracer provider, pass it to
/// `with_sampler`.
#[derive(Debug, Clone)]
pub struct CallerDecides<S>(pub S);

impl<S: ShouldSample + Clone + 'static> ShouldSample for CallerDecides<S> {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        match parent {
            Some(parent) if is_wanted(parent) => SamplingResult {
                decision: SamplingDecision::RecordAndSample,
                attributes: Vec::new(),
                trace_state: state(parent),
            },
            _ => self
                .0
                .should_sample(parent, trace, name, kind, attributes, links),
        }
    }
}

fn state(parent: &Context) -> TraceState {
    parent.span().span_context().trace_state().clone()
}

/// Returns the sampler of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`. By default, and for an unknown sampler,
/// every trace is sampled that the caller does not exclude.
pub(crate) fn from_variables(sampler: Option<&str>, ratio: Option<&str>) -> Sampler {
    let ratio = || {
        let ratio = ratio.and_then(|ratio| ratio.parse::<f64>().ok());
        let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
        Sampler::TraceIdRatioBased(ratio.unwrap_or(1.0))
    };
    let by_parent = |root: Sampler| Sampler::ParentBased(Box::new(root));
    match sampler.map(str::to_ascii_lowercase).as_deref() {
        Some("always_on") => Sampler::AlwaysOn,
        Some("always_off") => Sampler::AlwaysOff,
        Some("traceidratio") => ratio(),
        Some("parentbased_always_off") => by_parent(Sampler::AlwaysOff),
        Some("parentbased_traceidratio") => by_parent(ratio()),
        _ => by_parent(Sampler::AlwaysOn),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use opentelemetry::propagation::TextMapPropagator;
    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;
    use crate::propagation::{B3Encoding, Propagator};

    /// Scenario: a sampler that samples nothing, and callers' decisions without ids.
    /// Guarantees: accept and debug are sampled, debug is passed on, and a child of the span is sampled too.
    #[test]
    fn a_decision_without_ids_is_kept() {
        let propagator = Propagator::default().with_b3(B3Encoding::Single);
        let sampler = CallerDecides(from_variables(Some("traceidratio"), Some("0")));
        let provider = SdkTracerProvider::builder().with_sampler(sampler).build();
        let tracer = provider.tracer("test");
        let sent = |header: Option<(&str, &str)>| {
            let lines = header.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let lines: HashMap<_, _> = lines.into_iter().collect();
            let cx = propagator.extract_with_context(&Context::new(), &lines);
            let cx = cx.with_span(tracer.start_with_context("root", &cx));
            let cx = cx.with_span(tracer.start_with_context("child", &cx));
            let mut sent = HashMap::new();
            propagator.inject_context(&cx, &mut sent);
            let end = |name: &str| sent[name].rsplit('-').next().map(ToOwned::to_owned);
            (end("traceparent").unwrap(), end("b3").unwrap())
        };
        let flags = |w3c: &str, b3: &str| (w3c.to_owned(), b3.to_owned());
        assert_eq!(sent(Some(("b3", "d"))), flags("03", "d"));
        assert_eq!(sent(Some(("x-b3-flags", "1"))), flags("03", "d"));
        assert_eq!(sent(Some(("b3", "1"))), flags("03", "1"));
        assert_eq!(sent(Some(("x-b3-sampled", "1"))), flags("03", "1"));
        assert_eq!(sent(None), flags("02", "0"));
        // Without ids, and so that no service downstream starts a trace.
        assert_eq!(sent(Some(("b3", "0"))), flags("02", "0"));
    }

    #[test]
    fn the_samplers_of_the_specification_are_known() {
        let name = |sampler: &str, ratio: Option<&str>| {
            format!("{:?}", from_variables(Some(sampler), ratio))
        };
        assert_eq!(name("always_off", None), "AlwaysOff");
        assert_eq!(name("ALWAYS_OFF", None), "AlwaysOff");
        assert_eq!(
            name("traceidratio", Some("0.25")),
            "TraceIdRatioBased(0.25)"
        );
        assert_eq!(name("traceidratio", Some("2")), "TraceIdRatioBased(1.0)");
        assert_eq!(
            name("parentbased_traceidratio", None),
            "ParentBased(TraceIdRatioBased(1.0))"
        );
        assert_eq!(name("sometimes", None), "ParentBased(AlwaysOn)");
    }
}
