//! The configuration from variables and code, and its problems.

use super::resolve::SHORTEST;
use super::variables::{DEFAULT_SPAN_DELAY, DEFAULT_TIMEOUT, SPAN_QUEUE_MAX};
use super::*;
use crate::time::MAX_DURATION;

fn config(variables: &[(&str, &str)]) -> TelemetryConfig {
    TelemetryConfig::from_variables("shop", &|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.to_string())
    })
}

#[test]
fn the_default_is_the_local_collector() {
    let config = config(&[]).resolved();
    assert_eq!(config.service_name, "shop");
    assert_eq!(config.traces.url(), "http://localhost:4318/v1/traces");
    assert_eq!(config.span_delay, DEFAULT_SPAN_DELAY);
    assert!(!config.disabled && config.traces.is_exported);
    assert!(config.problems.is_empty());
}

#[test]
fn the_standard_variables_are_honoured() {
    let config = config(&[
        ("OTEL_SERVICE_NAME", "price"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=x, deployment.environment.name=a%20b",
        ),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://there:1/base/"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://here:2/as/it/is",
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a,x=1"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_SDK_DISABLED", "TRUE"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_BSP_SCHEDULE_DELAY", ""),
    ])
    .resolved();
    assert_eq!(config.service_name, "price");
    assert_eq!(
        config.attributes[1],
        KeyValue::new("deployment.environment.name", "a b")
    );
    assert_eq!(config.traces.url(), "http://here:2/as/it/is");
    assert_eq!(config.logs.url(), "https://there:1/base/v1/logs");
    assert_eq!(config.headers[0].1, "Bearer a");
    assert_eq!(config.timeout, Duration::from_millis(250));
    assert!(config.disabled && !config.metrics.is_exported);
    assert_eq!(config.propagator, Propagator::from_list("b3"));
    assert_eq!(config.span_delay, DEFAULT_SPAN_DELAY);
    assert_eq!(config.problems, [""; 0]);
}

#[test]
fn each_signal_has_its_protocol() {
    let config = config(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://there:4317/"),
    ]);
    let traces = "http://localhost:4317/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    assert_eq!(config.traces.url(), traces);
    assert_eq!(config.logs.url(), "http://localhost:4318/v1/logs");
    let metrics =
        "https://there:4317/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    assert_eq!(config.metrics.url(), metrics);
    let config = config
        .with_endpoint("http://b:1")
        .with_protocol(Protocol::HttpProtobuf);
    assert_eq!(config.traces.url(), "http://b:1/v1/traces");
}

#[test]
fn problems_name_no_credentials_of_an_endpoint() {
    for endpoint in [
        "ada:secret@there:1",
        "ftp://ada:secret@there:1",
        "http://ada:sec/secret @there:1",
        "http://there:1 ?token=secret",
    ] {
        let problems = config(&[]).with_endpoint(endpoint).resolved().problems;
        assert_eq!(problems.len(), 3, "{endpoint}");
        for problem in problems {
            assert!(problem.contains("there:1"), "{problem}");
            assert!(!problem.contains("sec"), "{problem}");
        }
    }
}

#[test]
fn the_receiver_is_where_telemetry_goes() {
    let address = |variables: &[(&str, &str)]| config(variables).resolved().receiver();
    let url = |variables: &[(&str, &str)]| address(variables).map(|(_, url)| url);
    assert_eq!(url(&[]).as_deref(), Some("http://localhost:4318"));
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://fusebox.example/in/");
    let below = Some("https://fusebox.example/in".to_owned());
    assert_eq!(url(&[endpoint]), below);
    let no_logs = ("OTEL_LOGS_EXPORTER", "none");
    assert_eq!(url(&[endpoint, no_logs]), below);
    assert!(!config(&[("FUSEBOX_CONTROL", "off")]).control);
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let by_grpc = "http://localhost:4317".to_owned();
    assert_eq!(address(&[grpc]), Some((Protocol::Grpc, by_grpc)));
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
    assert_eq!(
        url(&[grpc, traces]).as_deref(),
        Some("http://localhost:4318")
    );
    let wrong = config(&[("FUSEBOX_CONTROL", "maybe")]);
    assert!(wrong.problems[0].contains("neither on nor off"));
}

#[test]
fn a_proxy_that_is_not_used_is_a_problem() {
    for name in [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
    ] {
        let problems = config(&[(name, "http://ada:secret@there:1")]).problems;
        let expected = format!("{name}: exports use no proxy; they go to the endpoint directly");
        assert_eq!(problems, [expected]);
    }
}

#[test]
fn code_wins_over_the_environment() {
    let variables = [
        ("OTEL_SERVICE_NAME", "a"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://a/logs"),
    ];
    let config = config(&variables)
        .with_service_name("b")
        .with_endpoint("http://b:1");
    assert_eq!(config.service_name, "b");
    assert_eq!(config.logs.url(), "http://b:1/v1/logs");
}

#[test]
fn what_cannot_be_used_is_replaced_and_described() {
    for endpoint in ["ftp://there:1", "http://", "http://a b", "https:///path"] {
        let config = config(&[]).with_endpoint(endpoint).resolved();
        assert!(
            !config.traces.is_exported && !config.logs.is_exported,
            "{endpoint}"
        );
        assert_eq!(config.problems.len(), 3, "{endpoint}");
    }
    let assumed = config(&[]).with_endpoint("there:1").resolved();
    assert_eq!(assumed.traces.url(), "http://there:1/v1/traces");
    assert!(assumed.traces.is_exported && assumed.problems.len() == 3);
    let wrong = config(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_PROPAGATORS", "tracecontext,jaeger"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "18446744073709551615"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "18446744073709551615"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("FUSEBOX_LOG_FORMAT", "xml"),
    ])
    .resolved();
    assert_eq!(wrong.problems.len(), 9, "{:?}", wrong.problems);
    assert_eq!((wrong.span_queue, wrong.span_batch), (1, SPAN_QUEUE_MAX));
    assert_eq!(wrong.metric_interval, MAX_DURATION);
    assert_eq!(
        (wrong.span_delay, wrong.timeout),
        (SHORTEST, DEFAULT_TIMEOUT)
    );
    assert_eq!(wrong.traces.protocol, Protocol::HttpProtobuf);
    assert!(wrong.traces.is_exported);
}

#[test]
fn the_timeout_of_a_signal_replaces_the_common_one() {
    let own = [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "soon"),
    ];
    let config = config(&own).resolved();
    assert_eq!(config.timeout, Duration::from_secs(3));
    assert_eq!(config.traces.timeout, Some(Duration::from_millis(250)));
    assert_eq!(config.metrics.timeout, Some(SHORTEST));
    assert_eq!(config.logs.timeout, None);
    let problems = config.problems.join("\n");
    assert!(problems.contains("(OTEL_EXPORTER_OTLP_METRICS_TIMEOUT): too short; 10ms is used"));
    assert!(problems.contains("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT=\"soon\""));
    assert_eq!(config.problems.len(), 2, "{problems}");
    let config = config.with_timeout(Duration::from_secs(1));
    assert_eq!(config.traces.timeout, None);
}
