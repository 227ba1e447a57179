//! Combines the facts of a breaker's instances to its view: counts are summed, histograms merged before
//! percentiles are computed, and the state is the worst of those that are not stale.

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram};

use super::facts::{Facts, Window, start_of};
use crate::model::{
    CircuitCalls, CircuitInstanceView, CircuitKey, CircuitSettings, CircuitView, LatencyView,
    Outage, OverrideView, SECOND, SparkBucket, TimeRange, UnixNanos, nanos,
};

pub(super) const SPARK_BARS: u64 = 60;
pub(super) const SPARK_BAR_SECONDS: u64 = 2;

/// `instances` must not be empty.
pub(super) fn view(
    key: &CircuitKey,
    target: &str,
    instances: &[Facts],
    now: UnixNanos,
) -> CircuitView {
    let windows: Vec<Window> = instances.iter().map(|facts| facts.window(now)).collect();
    let live = live(instances);
    let state = worst(&live);
    let in_state = || live.iter().filter(|facts| facts.standing.state == state);
    let latest = in_state().max_by_key(|facts| facts.standing.since);
    let first = &instances[0].standing;
    let calls = sum(windows.iter().map(|window| &window.calls));
    let mut latency = LatencyHistogram::default();
    for window in &windows {
        latency.merge(&window.latency);
    }
    let since = in_state().map(|facts| facts.standing.since).min();
    let reports = || instances.iter().filter_map(|facts| facts.report.as_ref());
    let newest = reports().max_by_key(|report| report.time);
    let settings = newest
        .map(|report| report.settings.clone())
        .unwrap_or_default();
    let own_window = latest.and_then(|facts| facts.standing.own_window);
    CircuitView {
        key: key.clone(),
        target: target.to_owned(),
        source: first.source,
        state,
        since: since.unwrap_or(now),
        retry_at: in_state().filter_map(|facts| facts.standing.retry_at).min(),
        forced: forced(&live, state, now),
        error_percent: own_window
            .and_then(|window| window.failure_percent)
            .or_else(|| error_percent(&calls, &settings)),
        own_window,
        window_ms: windows
            .iter()
            .map(|window| window.window_ms)
            .max()
            .unwrap_or(0),
        calls,
        calls_per_second: windows.iter().map(|window| window.calls_per_second).sum(),
        rejected_per_second: windows
            .iter()
            .map(|window| window.rejected_per_second)
            .sum(),
        latency: latency_view(&latency),
        in_flight: live
            .iter()
            .map(|facts| u64::from(facts.standing.in_flight))
            .sum(),
        spark: spark(instances, now),
        reason: latest.map_or_else(String::new, |facts| facts.standing.reason.clone()),
        last_opened_by: last_opened_by(instances),
        outage: outage(instances, &live),
        settings,
        instances: instances.iter().zip(&windows).map(instance_view).collect(),
    }
}

/// Returns the instances that are not stale, or all if every one is.
fn live(instances: &[Facts]) -> Vec<&Facts> {
    let fresh: Vec<&Facts> = instances.iter().filter(|facts| !facts.stale).collect();
    if fresh.is_empty() {
        instances.iter().collect()
    } else {
        fresh
    }
}

fn worst(instances: &[&Facts]) -> EffectiveState {
    let states = instances.iter().map(|facts| facts.standing.state);
    states.max().unwrap_or(EffectiveState::Closed)
}

/// Returns the override of an instance in the shown state, else of any instance; expired ones are ignored.
fn forced(instances: &[&Facts], state: EffectiveState, now: UnixNanos) -> Option<OverrideView> {
    let in_force = |facts: &&&Facts| {
        let forced = facts
            .report
            .as_ref()
            .and_then(|report| report.forced.as_ref());
        forced.is_some_and(|forced| forced.expires.is_none_or(|end| end > now))
    };
    let mut found = instances.iter().filter(in_force);
    let of_state = |facts: &&&Facts| facts.standing.state == state;
    let facts = found.clone().find(of_state).or_else(|| found.next())?;
    facts.report.as_ref()?.forced.clone()
}

fn last_opened_by(instances: &[Facts]) -> Option<opentelemetry::TraceId> {
    let opened = instances
        .iter()
        .filter(|facts| facts.standing.opened_by.is_some());
    let last = opened.max_by_key(|facts| facts.standing.opened_at)?;
    last.standing.opened_by
}

/// Returns the outage of the instances that are open or half-open, starting with the first of them; else the
/// last outage.
fn outage(instances: &[Facts], live: &[&Facts]) -> Option<Outage> {
    use EffectiveState::{HalfOpen, Open};
    let out = live
        .iter()
        .filter(|facts| matches!(facts.standing.state, Open | HalfOpen));
    let under_way: Vec<&Outage> = out.filter_map(|f| f.standing.outage.as_ref()).collect();
    let first = under_way.iter().min_by_key(|outage| outage.since);
    let Some(first) = first else {
        let known = instances.iter().filter_map(|f| f.standing.outage.clone());
        return known.max_by_key(|outage| outage.since);
    };
    Some(Outage {
        failed_probes: under_way.iter().map(|outage| outage.failed_probes).sum(),
        ..(*first).clone()
    })
}

fn instance_view((facts, window): (&Facts, &Window)) -> CircuitInstanceView {
    let unknown = CircuitSettings::default();
    let settings = facts.report.as_ref().map(|report| &report.settings);
    CircuitInstanceView {
        id: facts.standing.instance.clone(),
        state: facts.standing.state,
        since: facts.standing.since,
        last_seen: facts.standing.last_seen,
        heard: facts.heard,
        stale: facts.stale,
        error_percent: error_percent(&window.calls, settings.unwrap_or(&unknown)),
        calls: window.calls,
        calls_per_second: window.calls_per_second,
        latency: latency_view(&window.latency),
        in_flight: u64::from(facts.standing.in_flight),
    }
}

fn spark(instances: &[Facts], now: UnixNanos) -> Vec<SparkBucket> {
    // Bars start at multiples of their length, so that they do not change while they move left.
    let end = (now.window(SECOND) / SPARK_BAR_SECONDS + 1) * SPARK_BAR_SECONDS;
    let start = end.saturating_sub(SPARK_BARS * SPARK_BAR_SECONDS);
    let mut bars: Vec<SparkBucket> = (0..SPARK_BARS)
        .map(|bar| {
            let from = start + bar * SPARK_BAR_SECONDS;
            let range = TimeRange {
                start: start_of(from),
                end: start_of(from + SPARK_BAR_SECONDS),
            };
            SparkBucket {
                calls: CircuitCalls::default(),
                state: instances
                    .iter()
                    .filter_map(|facts| facts.worst_state(range))
                    .max(),
            }
        })
        .collect();
    for second in instances.iter().flat_map(|facts| &facts.seconds) {
        let bar = second
            .second
            .checked_sub(start)
            .map(|s| s / SPARK_BAR_SECONDS);
        let bar = bar.and_then(|bar| usize::try_from(bar).ok());
        if let Some(bar) = bar.and_then(|bar| bars.get_mut(bar)) {
            bar.calls.add(&second.calls);
        }
    }
    bars
}

fn sum<'a>(calls: impl Iterator<Item = &'a CircuitCalls>) -> CircuitCalls {
    calls.fold(CircuitCalls::default(), |mut sum, calls| {
        sum.add(calls);
        sum
    })
}

pub(super) fn error_percent(calls: &CircuitCalls, settings: &CircuitSettings) -> Option<f64> {
    let judged = calls.judged(settings);
    (judged > 0).then(|| calls.errors(settings) as f64 * 100.0 / judged as f64)
}

pub(super) fn latency_view(latency: &LatencyHistogram) -> LatencyView {
    let quantile = |share| latency.quantile(share).map(nanos);
    LatencyView {
        p50_nanos: quantile(0.5),
        p90_nanos: quantile(0.9),
        p99_nanos: quantile(0.99),
        p995_nanos: quantile(0.995),
    }
}
