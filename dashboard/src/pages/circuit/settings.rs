//! The settings in force of a circuit, as its library reports them.

use fusebox_collector::model::{CircuitSettings, format_duration};

use crate::pages::view::text;
use crate::pages::wall::card::Figure;

/// Returns the settings that are known.
pub(super) fn rows(settings: &CircuitSettings) -> Vec<Figure> {
    let all = judging(settings)
        .into_iter()
        .chain(opening(settings))
        .chain(limits(settings));
    all.filter_map(|(name, value)| Some(Figure::new(name, value?)))
        .collect()
}

/// A name and the value, if it is known.
type Row = (&'static str, Option<String>);

/// What calls are counted, and what opens the breaker.
fn judging(s: &CircuitSettings) -> [Row; 6] {
    let slow = percent(s.slow_call_rate_percent).zip(ms(s.slow_call_duration_ms));
    let slow = slow.map(|(p, limit)| {
        t!(
            "{share} of calls slower than {limit}",
            share = p,
            limit = limit
        )
    });
    let calls = s.window_calls;
    let calls = calls.map(|calls| tn!(calls, "{n} call", "{n} calls"));
    let slow_counts = s.count_unfinished_slow_calls.map(|before| match before {
        true => t!("before they return"),
        false => t!("when they return"),
    });
    let group = (!s.group.is_empty()).then(|| text::name(&s.group).into_owned());
    [
        (t!("group"), group),
        (t!("window"), ms(s.window_ms).or(calls)),
        (t!("minimum calls"), s.minimum_calls.map(text::count)),
        (t!("failure rate limit"), percent(s.failure_rate_percent)),
        (t!("slow call limit"), slow),
        (t!("slow calls count"), slow_counts.map(str::to_owned)),
    ]
}

/// How long it stays open, and how it is probed.
fn opening(s: &CircuitSettings) -> [Row; 6] {
    let growth = [
        s.open_duration_factor
            .map(|factor| t!("{n} times each time", n = factor)),
        ms(s.open_duration_max_ms).map(at_most),
        percent(s.open_duration_jitter_percent).map(|jitter| format!("± {jitter}")),
    ];
    let growth: Vec<String> = growth.into_iter().flatten().collect();
    let begins = s.automatic_half_open.map(|automatic| match automatic {
        true => t!("when the open duration is over"),
        false => t!("with the first call after it"),
    });
    let longest = ms(s.half_open_max_duration_ms);
    [
        (t!("open duration"), ms(s.open_duration_ms)),
        (
            t!("open duration grows"),
            (!growth.is_empty()).then(|| growth.join(", ")),
        ),
        (t!("half-open begins"), begins.map(str::to_owned)),
        (t!("half-open duration"), longest.map(at_most)),
        (t!("half-open probes"), s.half_open_probes.map(text::count)),
        (t!("probe lease"), ms(s.probe_lease_ms)),
    ]
}

/// What bounds each call.
fn limits(s: &CircuitSettings) -> [Row; 4] {
    let some = |number: Option<u64>| number.map(text::count).map(at_most);
    let no_slot = s.bulkhead_full_is_failure.map(|counts| match counts {
        true => t!("counts as a failure"),
        false => t!("does not count"),
    });
    [
        (t!("timeout#setting"), ms(s.timeout_ms)),
        (t!("concurrent calls"), some(s.max_concurrent)),
        (t!("fallbacks at once"), some(s.fallback_max_concurrent)),
        (t!("call without a slot"), no_slot.map(str::to_owned)),
    ]
}

fn ms(ms: Option<u64>) -> Option<String> {
    ms.map(|ms| format_duration(ms.saturating_mul(1_000_000)))
}

fn percent(percent: Option<f64>) -> Option<String> {
    percent.map(|percent| format!("{} %", text::percent(percent)))
}

fn at_most(value: String) -> String {
    t!("at most {n}", n = value)
}
