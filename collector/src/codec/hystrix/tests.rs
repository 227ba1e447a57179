//! Objects as Hystrix, Turbine 1 and Turbine 2 write them.

use std::time::Duration;

use fusebox::circuit_breaker::EffectiveState;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::CircuitCalls;

/// An object as Hystrix 1.5.18 sends it for a command whose calls fail.
fn hystrix() -> Value {
    json!({"type": "HystrixCommand", "name": "stock", "group": "shop", "currentTime": 1_795_428_000_123_u64,
        "isCircuitBreakerOpen": true, "errorPercentage": 60, "errorCount": 12, "requestCount": 20,
        "rollingCountBadRequests": 2, "rollingCountFailure": 7, "rollingCountFallbackFailure": 1,
        "rollingCountFallbackMissing": 2, "rollingCountFallbackRejection": 3, "rollingCountFallbackSuccess": 9,
        "rollingCountSemaphoreRejected": 0, "rollingCountShortCircuited": 5, "rollingCountSuccess": 8,
        "rollingCountThreadPoolRejected": 1, "rollingCountTimeout": 4, "currentConcurrentExecutionCount": 3,
        "latencyExecute": {"0": 1, "25": 10, "50": 20, "75": 30, "90": 40, "95": 50, "99": 60, "99.5": 70, "100": 80},
        "propertyValue_circuitBreakerRequestVolumeThreshold": 20,
        "propertyValue_circuitBreakerSleepWindowInMilliseconds": 5000,
        "propertyValue_circuitBreakerErrorThresholdPercentage": 50, "propertyValue_circuitBreakerForceOpen": false,
        "propertyValue_circuitBreakerForceClosed": false, "propertyValue_circuitBreakerEnabled": true,
        "propertyValue_executionIsolationStrategy": "THREAD", "propertyValue_executionTimeoutInMilliseconds": 1000,
        "propertyValue_executionIsolationSemaphoreMaxConcurrentRequests": 10,
        "propertyValue_metricsRollingStatisticalWindowInMilliseconds": 10000, "reportingHosts": 1, "threadPool": "warehouse"})
}

fn command(object: &Value) -> Command {
    match decode(&object.to_string()) {
        Ok(Object::Command(command)) => *command,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_command_of_one_host() {
    let command = command(&hystrix());
    assert_eq!(
        (command.name.as_str(), command.settings.group.as_str()),
        ("stock", "shop")
    );
    assert_eq!(command.pool.as_deref(), Some("warehouse"));
    assert_eq!(command.state, EffectiveState::Open);
    assert_eq!(command.window, Duration::from_secs(10));
    let calls = CircuitCalls {
        success: 8,
        failure: 7,
        timeout: 4,
        rejected: 5,
        bulkhead_full: 1,
        ignored: 2,
        cancelled: 0,
        fallback_success: 9,
        fallback_failure: 6,
    };
    assert_eq!(command.calls, calls);
    assert_eq!(
        (command.own_window.failure_percent, command.own_window.calls),
        (Some(60.0), Some(20))
    );
    assert_eq!(command.in_flight, 3);
    assert_eq!(
        command.percentiles_ms,
        [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0]
    );
    let settings = &command.settings;
    assert_eq!(
        (
            settings.minimum_calls,
            settings.open_duration_ms,
            settings.timeout_ms
        ),
        (Some(20), Some(5_000), Some(1_000))
    );
    assert_eq!(settings.failure_rate_percent, Some(50.0));
}

/// Guarantees: sums of settings, percentages and latencies are divided by the number of hosts, counts are
/// not; a circuit that is open on one host is open.
#[test]
fn a_cluster_of_turbine_1() {
    let mut object = hystrix();
    object["reportingHosts"] = 2.into();
    object["isCircuitBreakerOpen"] = json!({"true": 1, "false": 1});
    object["errorPercentage"] = 120.into();
    object["propertyValue_circuitBreakerRequestVolumeThreshold"] = 40.into();
    object["propertyValue_metricsRollingStatisticalWindowInMilliseconds"] = 20_000.into();
    object["propertyValue_circuitBreakerForceOpen"] = "false".into();
    object["latencyExecute"]["50"] = 44.into();
    object["rollingCountTimeout"] = (-3).into();
    let command = command(&object);
    assert_eq!((command.hosts, command.state), (2, EffectiveState::Open));
    assert_eq!((command.calls.success, command.calls.timeout), (8, 0));
    assert_eq!(command.own_window.failure_percent, Some(60.0));
    assert_eq!(
        (command.window, command.settings.minimum_calls),
        (Duration::from_secs(10), Some(20))
    );
    assert_eq!(command.percentiles_ms[1], 22.0);
}

/// Guarantees: if settings or texts differ, that of the most hosts counts.
#[test]
fn a_cluster_of_turbine_2() {
    let mut object = hystrix();
    object["reportingHosts"] = 3.into();
    object["isCircuitBreakerOpen"] = "false".into();
    object["group"] = json!({"shop": 2, "store": 1});
    object["propertyValue_circuitBreakerRequestVolumeThreshold"] = json!({"20": 1, "30": 2});
    object["propertyValue_metricsRollingStatisticalWindowInMilliseconds"] = "10000".into();
    object["propertyValue_circuitBreakerForceOpen"] = json!({"true": 1, "false": 2});
    let command = command(&object);
    assert_eq!(
        command.state,
        EffectiveState::Closed,
        "not forced open everywhere"
    );
    assert_eq!(
        (
            command.settings.group.as_str(),
            command.settings.minimum_calls
        ),
        ("shop", Some(30))
    );
    assert_eq!(command.window, Duration::from_secs(10));
}

#[test]
fn forced_and_disabled_circuits() {
    let forced = |name: &str, value: bool| {
        let mut object = hystrix();
        object[format!("propertyValue_circuitBreaker{name}")] = value.into();
        command(&object).state
    };
    assert_eq!(forced("ForceOpen", true), EffectiveState::ForcedOpen);
    assert_eq!(forced("ForceClosed", true), EffectiveState::ForcedClosed);
    assert_eq!(forced("Enabled", false), EffectiveState::Disabled);
}

#[test]
fn other_objects_and_no_objects() {
    let pool = json!({"type": "HystrixThreadPool", "name": "warehouse", "currentCorePoolSize": 10,
        "currentActiveCount": 3, "rollingCountCommandRejections": 2});
    let warehouse = Pool {
        name: "warehouse".to_owned(),
        core_size: 10,
        active: 3,
        rejected: 2,
        ..Pool::default()
    };
    assert_eq!(decode(&pool.to_string()), Ok(Object::Pool(warehouse)));
    for other in [
        json!({"type": "meta"}),
        json!({"type": "HystrixCommand", "name": "a", "deleteData": "true"}),
    ] {
        assert_eq!(decode(&other.to_string()), Ok(Object::Other));
    }
    let long = json!({"type": "HystrixCommand", "name": "a".repeat(MAX_NAME_BYTES + 1)});
    for wrong in [
        "",
        "[]",
        "7",
        "{}",
        "{\"type\":\"HystrixCommand\"}",
        &long.to_string(),
    ] {
        assert_eq!(decode(wrong), Err(NotAnObject), "{wrong}");
    }
}

proptest! {
    /// Guarantees: no value of a field causes a panic or an absurd count.
    #[test]
    fn fields_of_any_type_are_read(field in 0..40_usize, value in prop_oneof![
        Just(Value::Null), Just(json!([])), Just(json!({"true": "x"})), any::<f64>().prop_map(|n| json!(n)),
        any::<i64>().prop_map(|n| json!(n)), ".*".prop_map(|text| json!(text)), any::<bool>().prop_map(|b| json!(b))]) {
        let mut object = hystrix();
        let names: Vec<String> = object.as_object().unwrap().keys().cloned().collect();
        object[&names[field % names.len()]] = value;
        if let Ok(Object::Command(command)) = decode(&object.to_string()) {
            prop_assert!(command.calls.total() <= 8 * crate::codec::circuits::MAX_COUNT);
        }
    }
}
