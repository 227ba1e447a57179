//! The objects of the stream against Hystrix's own list of fields and types (`SerialHystrixDashboardData` of 1.5.18).

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::circuit_breaker::{
    CallTotals, FallbackTotals, LatencyHistogram, OverrideKind, Settings,
};

/// Every field of a command with a value of its type.
const COMMAND: &str = r#"{"type":"", "name":"", "group":"", "currentTime":0, "isCircuitBreakerOpen":true,
    "errorPercentage":0, "errorCount":0, "requestCount":0, "rollingCountBadRequests":0,
    "rollingCountCollapsedRequests":0, "rollingCountEmit":0, "rollingCountExceptionsThrown":0, "rollingCountFailure":0,
    "rollingCountFallbackEmit":0, "rollingCountFallbackFailure":0, "rollingCountFallbackMissing":0,
    "rollingCountFallbackRejection":0, "rollingCountFallbackSuccess":0, "rollingCountResponsesFromCache":0,
    "rollingCountSemaphoreRejected":0, "rollingCountShortCircuited":0, "rollingCountSuccess":0,
    "rollingCountThreadPoolRejected":0, "rollingCountTimeout":0, "currentConcurrentExecutionCount":0,
    "rollingMaxConcurrentExecutionCount":0, "latencyExecute_mean":0,
    "latencyExecute":{"0":0,"25":0,"50":0,"75":0,"90":0,"95":0,"99":0,"99.5":0,"100":0}, "latencyTotal_mean":0,
    "latencyTotal":{"0":0,"25":0,"50":0,"75":0,"90":0,"95":0,"99":0,"99.5":0,"100":0},
    "propertyValue_circuitBreakerRequestVolumeThreshold":0, "propertyValue_circuitBreakerSleepWindowInMilliseconds":0,
    "propertyValue_circuitBreakerErrorThresholdPercentage":0, "propertyValue_circuitBreakerForceOpen":true,
    "propertyValue_circuitBreakerForceClosed":true, "propertyValue_circuitBreakerEnabled":true,
    "propertyValue_executionIsolationStrategy":"", "propertyValue_executionIsolationThreadTimeoutInMilliseconds":0,
    "propertyValue_executionTimeoutInMilliseconds":0, "propertyValue_executionIsolationThreadInterruptOnTimeout":true,
    "propertyValue_executionIsolationThreadPoolKeyOverride":"",
    "propertyValue_executionIsolationSemaphoreMaxConcurrentRequests":0,
    "propertyValue_fallbackIsolationSemaphoreMaxConcurrentRequests":0,
    "propertyValue_metricsRollingStatisticalWindowInMilliseconds":0, "propertyValue_requestCacheEnabled":true,
    "propertyValue_requestLogEnabled":true, "reportingHosts":1, "threadPool":""}"#;

/// Every field of a pool with a value of its type.
const POOL: &str = r#"{"type":"", "name":"", "currentTime":0, "currentActiveCount":0, "currentCompletedTaskCount":0,
    "currentCorePoolSize":0, "currentLargestPoolSize":0, "currentMaximumPoolSize":0, "currentPoolSize":0,
    "currentQueueSize":0, "currentTaskCount":0, "rollingCountThreadsExecuted":0, "rollingMaxActiveThreads":0,
    "rollingCountCommandRejections":0, "propertyValue_queueSizeRejectionThreshold":0,
    "propertyValue_metricsRollingStatisticalWindowInMilliseconds":0, "reportingHosts":0}"#;

fn command(hosts: u64, open_hosts: u64) -> CommandEvent<'static> {
    let index = LatencyHistogram::index_of(Duration::from_millis(20));
    let mut latency = LatencyHistogram::from_buckets([(index, 4)]);
    latency.sum_nanos = 80_000_000;
    CommandEvent {
        name: "stock",
        group: "shop",
        pool: Some("warehouse"),
        time_ms: 1_764_000_000_000,
        hosts,
        open_hosts,
        forced: None,
        counts: CommandCounts {
            calls: CallTotals {
                success: 90,
                failure: 7,
                timeout: 3,
                rejected: 5,
                bulkhead_full: 6,
                ignored: 2,
                cancelled: 1,
            },
            pool_rejected: 4,
            fallbacks: FallbackTotals {
                success: 11,
                failure: 12,
                rejected: 13,
                missing: 14,
            },
            from_cache: 8,
            collapsed: 9,
        },
        in_flight: 15,
        max_in_flight: 16,
        latency: LatencyMs::of(&latency),
        window: Duration::from_secs(10),
        settings: CommandSettings::from(&Settings::default()),
    }
}

fn json(event: &impl serde::Serialize) -> Value {
    serde_json::to_value(event).unwrap()
}

/// Returns the differences in fields or types from Hystrix's object.
fn differences(got: &Value, original: &str) -> Vec<String> {
    let original: Value = serde_json::from_str(original).unwrap();
    let kind = |value: &Value| match value {
        Value::Number(number) if number.is_u64() => "whole number",
        Value::Bool(_) => "bool",
        Value::String(_) => "string",
        Value::Object(_) => "object",
        _ => "other",
    };
    let (got, original) = (got.as_object().unwrap(), original.as_object().unwrap());
    let wrong = original
        .iter()
        .filter(|(name, value)| got.get(*name).map(kind) != Some(kind(value)));
    let extra = got.iter().filter(|(name, _)| !original.contains_key(*name));
    wrong.chain(extra).map(|(name, _)| name.clone()).collect()
}

#[test]
fn commands_and_pools_have_every_field_in_its_type() {
    assert_eq!(differences(&json(&command(1, 1)), COMMAND), [""; 0]);
    let pool = PoolEvent {
        name: "warehouse",
        time_ms: 1,
        hosts: 1,
        active: 2,
        queued: 3,
        completed: 4,
        core_size: 10,
        largest_size: 5,
        executed: 6,
        rejected: 7,
        max_active: 8,
        queue_limit: 9,
        window: Duration::from_secs(10),
    };
    assert_eq!(differences(&json(&pool), POOL), [""; 0]);
    assert_eq!(json(&pool)["currentTaskCount"], 9);
}

#[test]
fn counts_are_hystrix_sums() {
    let event = json(&command(1, 0));
    for (field, value) in [
        ("requestCount", 100),
        ("errorCount", 10),
        ("errorPercentage", 10),
        ("rollingCountBadRequests", 2),
        ("rollingCountExceptionsThrown", 2 + 12 + 14 + 13),
        ("rollingCountThreadPoolRejected", 4),
        ("rollingCountSemaphoreRejected", 2),
        ("rollingCountShortCircuited", 5),
        ("rollingCountResponsesFromCache", 8),
        ("rollingCountCollapsedRequests", 9),
        ("currentConcurrentExecutionCount", 15),
        ("rollingMaxConcurrentExecutionCount", 16),
        ("latencyExecute_mean", 20),
    ] {
        assert_eq!(event[field], value, "{field}");
    }
    assert_eq!(event["propertyValue_executionIsolationStrategy"], "THREAD");
    assert_eq!(event["threadPool"], "warehouse");
}

/// Guarantees: a call without a slot counts as the breaker counts it.
#[test]
fn a_full_bulkhead_is_an_error_where_the_breaker_says_so() {
    let mut event = command(1, 0);
    event.settings.bulkhead_full_is_failure = true;
    let event = json(&event);
    assert_eq!(
        (&event["requestCount"], &event["errorCount"]),
        (&json!(106), &json!(16))
    );
    // 15.09 %, truncated as Hystrix does.
    assert_eq!(event["errorPercentage"], 15);
}

/// Guarantees: figures that the dashboard divides by the number of hosts are shown correctly.
#[test]
fn figures_of_several_hosts_survive_the_division() {
    let one = json(&command(1, 0));
    let three = json(&command(3, 2));
    assert_eq!(
        three["isCircuitBreakerOpen"],
        json!({ "true": 2, "false": 1 })
    );
    assert_eq!(
        json(&command(3, 3))["isCircuitBreakerOpen"],
        json!({ "true": 3, "false": 0 })
    );
    assert_eq!(json(&command(3, 0))["isCircuitBreakerOpen"], false);
    for field in ["errorPercentage", "latencyExecute_mean"] {
        assert_eq!(
            three[field].as_u64().unwrap(),
            3 * one[field].as_u64().unwrap()
        );
    }
    let p99 = |event: &Value| event["latencyExecute"]["99"].as_u64().unwrap();
    assert_eq!(p99(&three), 3 * p99(&one));
    assert_eq!(three["requestCount"], one["requestCount"]);
}

/// Guarantees: absurd figures of hosts do not end the stream.
#[test]
fn figures_that_overflow_are_sent() {
    let most = u64::MAX;
    let mut event = command(most, most);
    event.counts.calls.failure = most;
    event.counts.calls.ignored = most;
    event.counts.fallbacks.failure = most;
    let event = json(&event);
    for field in ["errorCount", "requestCount", "rollingCountExceptionsThrown"] {
        assert_eq!(event[field], most, "{field}");
    }
    let pool = PoolEvent {
        name: "warehouse",
        time_ms: 1,
        hosts: most,
        active: most,
        queued: most,
        completed: most,
        core_size: most,
        largest_size: most,
        executed: most,
        rejected: most,
        max_active: most,
        queue_limit: most,
        window: Duration::MAX,
    };
    assert_eq!(json(&pool)["currentTaskCount"], most);
}

#[test]
fn overrides_are_the_forced_properties() {
    let mut event = command(1, 1);
    event.forced = Some(OverrideKind::ForcedOpen);
    assert_eq!(json(&event)["propertyValue_circuitBreakerForceOpen"], true);
    event.forced = Some(OverrideKind::Disabled);
    assert_eq!(json(&event)["propertyValue_circuitBreakerEnabled"], false);
    event.pool = None;
    let event = json(&event);
    assert_eq!(
        event["propertyValue_executionIsolationStrategy"],
        "SEMAPHORE"
    );
    assert_eq!(event["threadPool"], "shop");
}
