//! Hystrix's own tests that the library must pass, by the number that the docs of ours give them: each has a test here.

use crate::source::repository;

/// The number of a scenario, what Hystrix calls it, and the test of ours.
type Scenario = (u32, &'static str, &'static str);

/// Files of tests, each with the scenarios that it tests.
const TESTS: [(&str, &[Scenario]); 6] = [
    (
        "instrumentation/src/circuit_breaker/tests/conformance.rs",
        &[
            (
                1,
                "testTripCircuit",
                "failures_open_it_and_calls_are_refused",
            ),
            (
                2,
                "testTripCircuitOnFailuresAboveThreshold",
                "half_of_the_calls_failing_opens_it_at_forty_percent",
            ),
            (
                3,
                "testCircuitDoesNotTripOnFailuresBelowThreshold",
                "fewer_failures_than_the_limit_leave_it_closed",
            ),
            (4, "testTripCircuitOnTimeouts", "timeouts_open_it_too"),
            (5, "...AboveThreshold", "timeouts_open_it_too"),
            (
                6,
                "testSingleTestOnOpenCircuitAfterTimeWindow",
                "one_probe_passes_after_the_open_time_and_no_other_call",
            ),
            (
                7,
                "testCircuitClosedAfterSuccess",
                "a_good_probe_closes_it_and_old_failures_are_forgotten",
            ),
            (
                9,
                "testLowVolumeDoesNotTripCircuit",
                "few_calls_never_open_it",
            ),
            (
                30,
                "HealthCountsStreamTest",
                "health_counts_what_hystrix_counts",
            ),
            (
                32,
                "RollingCommandLatencyDistributionStreamTest",
                "durations_are_those_of_calls_that_ran",
            ),
        ],
    ),
    (
        "instrumentation/src/circuit_breaker/tests/properties.rs",
        &[(
            34,
            "HystrixCommandPropertiesTest",
            "the_name_wins_over_the_code_and_the_code_over_all",
        )],
    ),
    (
        "instrumentation/src/circuit_breaker/tests/command.rs",
        &[
            (
                11,
                "testShortCircuitFallbackCounter",
                "a_forced_open_circuit_runs_the_fallback_alone",
            ),
            (
                12,
                "testCircuitBreakerAcrossMultipleCommandsButSameCircuitBreaker",
                "commands_of_one_name_share_the_circuit",
            ),
            (
                13,
                "testExecutionFailureWithNoFallback",
                "a_failure_without_fallback_keeps_its_cause",
            ),
            (
                14,
                "testExecutionFailureWithFallback",
                "a_fallback_stands_in_for_a_failure",
            ),
            (
                15,
                "testExecutionFailureWithFallbackFailure",
                "both_causes_survive_a_failed_fallback",
            ),
            (
                16,
                "testExecutionTimeoutWithNoFallback",
                "a_hanging_call_times_out",
            ),
            (17, "...WithFallback", "a_hanging_call_times_out"),
            (
                18,
                "testDisabledTimeoutWorks",
                "without_a_timeout_slow_work_succeeds",
            ),
            (
                19,
                "testExecutionFailureWithFallbackImplementedButDisabled",
                "a_disabled_fallback_leaves_only_the_failure",
            ),
            (
                22,
                "testExecutionSemaphoreWithExecution",
                "a_full_bulkhead_refuses_the_second_call",
            ),
            (
                23,
                "testFallbackSemaphore",
                "a_full_fallback_bulkhead_refuses_the_second_fallback",
            ),
            (
                25,
                "testBadRequestExceptionViaExecute",
                "a_bad_request_passes_as_it_is",
            ),
            (
                27,
                "testNoRequestCacheOnTimeoutThrowsException",
                "without_a_cache_each_call_times_out_by_itself",
            ),
            (
                29,
                "testEarlyUnsubscribeDuringExecution",
                "a_dropped_command_is_cancelled",
            ),
        ],
    ),
    (
        "instrumentation/src/circuit_breaker/tests/policies.rs",
        &[(
            20,
            "testRejectedThreadWithNoFallback",
            "rejected_thread_with_no_fallback",
        )],
    ),
    (
        "instrumentation/src/request/tests.rs",
        &[
            (26, "testRequestCache1", "a_key_is_asked_once_in_a_request"),
            (
                35,
                "testMaxRequestsInBatch",
                "batches_are_bounded_and_each_caller_gets_its_own_answer",
            ),
        ],
    ),
    (
        "instrumentation/tests/hystrix/main.rs",
        &[(36, "HystrixConfigSseServletTest", "a_closed_stream_ends")],
    ),
];

/// Scenarios that fail in Hystrix, by their letters, with the tests of ours.
const OURS: [(&str, &str); 7] = [
    ("(a)", "a_late_success_closes_nothing"),
    ("(b)", "refused_calls_do_not_disturb_the_probe"),
    ("(c)", "a_probe_without_a_verdict_frees_its_slot"),
    ("(d)", "a_probe_without_a_verdict_frees_its_slot"),
    ("(e)", "a_hung_probe_is_replaced_after_its_lease"),
    (
        "(f)",
        "any_number_of_successes_delays_opening_by_a_window_at_most",
    ),
    ("(g)", "exactly_one_state_is_in_force"),
];

/// Returns whether a file has the test, with all of these words in its comment or code.
fn has_test(file: &str, test: &str, words: &[&str]) -> bool {
    let text = std::fs::read_to_string(repository().join(file)).expect("a file of tests");
    text.split("\n\n").any(|part| {
        part.contains(&format!("fn {test}()"))
            && (part.contains("#[test]") || part.contains("#[tokio::test"))
            && words.iter().all(|word| part.contains(word))
    })
}

/// Guarantees: every scenario is a test that runs, under its number and its name.
#[test]
fn every_scenario_of_hystrix_has_a_test() {
    let mut missing = Vec::new();
    for (file, scenarios) in TESTS {
        for (number, name, test) in scenarios {
            if !has_test(file, test, &["cenario", &number.to_string(), name]) {
                missing.push(format!("{file}: scenario {number}, {name}, as {test}"));
            }
        }
    }
    for (letter, test) in OURS {
        if !has_test(TESTS[0].0, test, &["Ours", letter]) {
            missing.push(format!("{}: {letter} as {test}", TESTS[0].0));
        }
    }
    assert!(
        missing.is_empty(),
        "without a test:\n{}",
        missing.join("\n")
    );
}
