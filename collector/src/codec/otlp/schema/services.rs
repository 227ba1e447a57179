//! The gRPC services that are described to clients, and messages that only they need: answers, and what is read elsewhere.
//! <https://github.com/openzipkin/zipkin-api/blob/master/zipkin.proto>

use super::metrics::METRICS_COLLECTOR;
use super::{
    Kind::{Base64, Bool, Enum, Fixed64, Int64Or, Nested, Text, Uint32, Uint64},
    LOGS_COLLECTOR, LOGS_REQUEST, METRICS_REQUEST, Message, Names, TRACES_COLLECTOR,
    TRACES_REQUEST, many, message, one,
};

const ZIPKIN: &str = "zipkin.proto3";
const HEALTH: &str = "grpc.health.v1";

/// A gRPC service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) package: &'static str,
    pub(super) name: &'static str,
    pub(super) methods: &'static [Method],
}

#[derive(Debug)]
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) request: &'static Message,
    pub(super) response: &'static Message,
    /// Whether it answers with a stream.
    pub(super) is_stream: bool,
}

const fn method(
    name: &'static str,
    request: &'static Message,
    response: &'static Message,
) -> Method {
    Method {
        name,
        request,
        response,
        is_stream: false,
    }
}

pub(super) static SERVICES: [Service; 5] = [
    Service {
        package: TRACES_COLLECTOR,
        name: "TraceService",
        methods: &[method("Export", &TRACES_REQUEST, &TRACES_EXPORTED)],
    },
    Service {
        package: METRICS_COLLECTOR,
        name: "MetricsService",
        methods: &[method("Export", &METRICS_REQUEST, &METRICS_EXPORTED)],
    },
    Service {
        package: LOGS_COLLECTOR,
        name: "LogsService",
        methods: &[method("Export", &LOGS_REQUEST, &LOGS_EXPORTED)],
    },
    Service {
        package: ZIPKIN,
        name: "SpanService",
        methods: &[method("Report", &LIST_OF_SPANS, &REPORTED)],
    },
    Service {
        package: HEALTH,
        name: "Health",
        methods: &[
            method("Check", &HEALTH_REQUEST, &HEALTH_RESPONSE),
            Method {
                is_stream: true,
                ..method("Watch", &HEALTH_REQUEST, &HEALTH_RESPONSE)
            },
        ],
    },
];

static TRACES_EXPORTED: Message = message(&[one(1, "partialSuccess", Nested(&TRACES_PARTIAL))])
    .named(TRACES_COLLECTOR, "ExportTraceServiceResponse");

static TRACES_PARTIAL: Message = message(&[
    one(1, "rejectedSpans", Int64Or(0)),
    one(2, "errorMessage", Text),
])
.named(TRACES_COLLECTOR, "ExportTracePartialSuccess");

static METRICS_EXPORTED: Message = message(&[one(1, "partialSuccess", Nested(&METRICS_PARTIAL))])
    .named(METRICS_COLLECTOR, "ExportMetricsServiceResponse");

static METRICS_PARTIAL: Message = message(&[
    one(1, "rejectedDataPoints", Int64Or(0)),
    one(2, "errorMessage", Text),
])
.named(METRICS_COLLECTOR, "ExportMetricsPartialSuccess");

static LOGS_EXPORTED: Message = message(&[one(1, "partialSuccess", Nested(&LOGS_PARTIAL))])
    .named(LOGS_COLLECTOR, "ExportLogsServiceResponse");

static LOGS_PARTIAL: Message = message(&[
    one(1, "rejectedLogRecords", Int64Or(0)),
    one(2, "errorMessage", Text),
])
.named(LOGS_COLLECTOR, "ExportLogsPartialSuccess");

static HEALTH_REQUEST: Message =
    message(&[one(1, "service", Text)]).named(HEALTH, "HealthCheckRequest");

static HEALTH_RESPONSE: Message =
    message(&[one(1, "status", Enum(&SERVING_STATUS))]).named(HEALTH, "HealthCheckResponse");

static SERVING_STATUS: Names = Names {
    name: (HEALTH, "HealthCheckResponse.ServingStatus"),
    prefix: "",
    names: &["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"],
};

static LIST_OF_SPANS: Message =
    message(&[many(1, "spans", Nested(&SPAN))]).named(ZIPKIN, "ListOfSpans");

static REPORTED: Message = message(&[]).named(ZIPKIN, "ReportResponse");

static SPAN: Message = message(&[
    one(1, "traceId", Base64),
    one(2, "parentId", Base64),
    one(3, "id", Base64),
    one(4, "kind", Enum(&KIND)),
    one(5, "name", Text),
    one(6, "timestamp", Fixed64),
    one(7, "duration", Uint64),
    one(8, "localEndpoint", Nested(&ENDPOINT)),
    one(9, "remoteEndpoint", Nested(&ENDPOINT)),
    many(10, "annotations", Nested(&ANNOTATION)),
    many(11, "tags", Nested(&TAG)),
    one(12, "debug", Bool),
])
.named(ZIPKIN, "Span");

static ENDPOINT: Message = message(&[
    one(1, "serviceName", Text),
    one(2, "ipv4", Base64),
    one(3, "ipv6", Base64),
    one(4, "port", Uint32),
])
.named(ZIPKIN, "Endpoint");

static ANNOTATION: Message =
    message(&[one(1, "timestamp", Fixed64), one(2, "value", Text)]).named(ZIPKIN, "Annotation");

static TAG: Message =
    message(&[one(1, "key", Text), one(2, "value", Text)]).named(ZIPKIN, "Span.TagsEntry");

static KIND: Names = Names {
    name: (ZIPKIN, "Span.Kind"),
    prefix: "",
    names: &[
        "SPAN_KIND_UNSPECIFIED",
        "CLIENT",
        "SERVER",
        "PRODUCER",
        "CONSUMER",
    ],
};
