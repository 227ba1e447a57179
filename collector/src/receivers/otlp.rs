//! OTLP's paths and its export response: the signal of each path, and the form of its confirmation.

use prost::Message;

use super::rpc::{ExportResponse, PartialSuccess};
use crate::codec::otlp::Accepted;
use crate::codec::{Format, Signal, zipkin};

/// Returns the signal of an OTLP/HTTP path. An endpoint that ends with a slash makes senders write
/// `//v1/traces`.
///
/// `/` also means traces: SDKs use an endpoint configured for one signal unchanged, without `/v1/traces`.
pub(crate) fn signal_of_http_path(path: &str) -> Option<Signal> {
    match path.trim_matches('/') {
        "" | "v1/traces" => Some(Signal::Traces),
        "v1/metrics" => Some(Signal::Metrics),
        "v1/logs" => Some(Signal::Logs),
        _ => None,
    }
}

/// Returns the signal and format of a gRPC method.
pub(crate) fn message_of_grpc_path(path: &str) -> Option<(Signal, Format)> {
    if path == "/zipkin.proto3.SpanService/Report" {
        let format = Format::Zipkin(zipkin::Encoding::Protobuf);
        return Some((Signal::Traces, format));
    }
    let signal = match path.strip_prefix("/opentelemetry.proto.collector.")? {
        "trace.v1.TraceService/Export" => Signal::Traces,
        "metrics.v1.MetricsService/Export" => Signal::Metrics,
        "logs.v1.LogsService/Export" => Signal::Logs,
        _ => return None,
    };
    Some((signal, Format::OtlpProtobuf))
}

/// The gRPC methods that take messages.
pub(crate) const GRPC_PATHS: [&str; 4] = [
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "/zipkin.proto3.SpanService/Report",
];

/// Returns whether a gRPC service with that full name is served.
pub(crate) fn is_grpc_service(name: &str) -> bool {
    ["Export", "Report"]
        .iter()
        .any(|method| message_of_grpc_path(&format!("/{name}/{method}")).is_some())
}

/// Returns the export response in protobuf; empty if everything was accepted.
pub(crate) fn to_protobuf(accepted: &Accepted) -> Vec<u8> {
    let partial_success = explain(accepted).map(|error_message| PartialSuccess {
        rejected: i64::try_from(accepted.rejected_total()).unwrap_or(i64::MAX),
        error_message,
    });
    ExportResponse { partial_success }.encode_to_vec()
}

/// Returns the export response in JSON, with 64-bit numbers as strings.
pub(crate) fn to_json(accepted: &Accepted) -> Vec<u8> {
    let Some(message) = explain(accepted) else {
        return b"{}".to_vec();
    };
    let mut partial = serde_json::Map::from_iter([("errorMessage".to_owned(), message.into())]);
    let rejected = accepted.rejected_total();
    if rejected > 0 {
        let records = accepted.records_not_kept + accepted.records_refused;
        let field = match (accepted.points_not_kept, records) {
            (0, 0) => "rejectedSpans",
            (0, _) => "rejectedLogRecords",
            _ => "rejectedDataPoints",
        };
        partial.insert(field.to_owned(), rejected.to_string().into());
    }
    serde_json::json!({ "partialSuccess": partial })
        .to_string()
        .into_bytes()
}

/// Describes in one sentence what was rejected, cut and changed; `None` if everything was accepted unchanged.
fn explain(accepted: &Accepted) -> Option<String> {
    let rejected = accepted.rejected.iter();
    let mut parts: Vec<String> = rejected
        .map(|(rejection, spans)| format!("{spans} spans refused ({})", rejection.as_str()))
        .collect();
    let repairs = &accepted.repairs;
    let counts = [
        (
            accepted.truncated,
            "attributes, events or links cut by a limit",
        ),
        (
            repairs.replaced,
            "strings held ill-formed text, which was replaced with U+FFFD",
        ),
        (
            repairs.left_out,
            "values left out that their field cannot hold",
        ),
        (
            accepted.points_not_kept,
            "data points not kept: more instances or series of circuit breakers than the limit",
        ),
        (
            accepted.records_not_kept,
            "log records not kept: more instances of circuit breakers than the limit",
        ),
        (
            accepted.records_refused,
            "log records refused: their time is more than a day ahead",
        ),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    parts.extend(counts.map(|(count, what)| format!("{count} {what}")));
    parts.extend(repairs.empty.clone());
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;

    use super::*;
    use crate::codec::otlp::{Repairs, SpanRejection};

    #[test]
    fn full_success_is_an_empty_response() {
        let accepted = Accepted {
            spans: 500,
            ..Accepted::default()
        };
        assert_eq!(to_protobuf(&accepted), b"");
        assert_eq!(to_json(&accepted), b"{}");
    }

    #[test]
    fn refused_spans_are_counted_and_explained() {
        let accepted = Accepted {
            spans: 1,
            rejected: vec![(SpanRejection::InvalidTraceId, 2)],
            ..Accepted::default()
        };
        let response = ExportTraceServiceResponse::decode(&to_protobuf(&accepted)[..]).unwrap();
        let partial = response.partial_success.unwrap();
        assert_eq!(partial.rejected_spans, 2);
        assert_eq!(partial.error_message, "2 spans refused (invalid_trace_id)");
        let json: serde_json::Value = serde_json::from_slice(&to_json(&accepted)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({ "partialSuccess": {
                "rejectedSpans": "2",
                "errorMessage": "2 spans refused (invalid_trace_id)",
            }})
        );
    }

    #[test]
    fn reports_past_the_limit_of_breakers_are_rejected() {
        for (points, records, field) in [(7, 0, "rejectedDataPoints"), (0, 7, "rejectedLogRecords")]
        {
            let accepted = Accepted {
                points_not_kept: points,
                records_not_kept: records,
                ..Accepted::default()
            };
            let response = ExportResponse::decode(&to_protobuf(&accepted)[..]).unwrap();
            assert_eq!(response.partial_success.unwrap().rejected, 7);
            let json: serde_json::Value = serde_json::from_slice(&to_json(&accepted)).unwrap();
            assert_eq!(json["partialSuccess"][field], "7");
            let message = json["partialSuccess"]["errorMessage"].as_str().unwrap();
            assert!(message.starts_with("7 "), "{message}");
        }
    }

    #[test]
    fn refused_log_records_are_counted() {
        let accepted = Accepted {
            records_refused: 3,
            ..Accepted::default()
        };
        let json: serde_json::Value = serde_json::from_slice(&to_json(&accepted)).unwrap();
        assert_eq!(json["partialSuccess"]["rejectedLogRecords"], "3");
    }

    #[test]
    fn what_was_cut_and_changed_is_a_warning() {
        let accepted = Accepted {
            spans: 1,
            truncated: 7,
            repairs: Repairs {
                replaced: 2,
                left_out: 3,
                empty: None,
            },
            ..Accepted::default()
        };
        let response = ExportTraceServiceResponse::decode(&to_protobuf(&accepted)[..]).unwrap();
        let partial = response.partial_success.unwrap();
        assert_eq!(partial.rejected_spans, 0);
        assert_eq!(
            partial.error_message,
            "7 attributes, events or links cut by a limit, \
             2 strings held ill-formed text, which was replaced with U+FFFD, \
             3 values left out that their field cannot hold"
        );
    }

    #[test]
    fn paths_name_the_signal() {
        assert_eq!(signal_of_http_path("/"), Some(Signal::Traces));
        assert_eq!(signal_of_http_path("/v1/traces/"), Some(Signal::Traces));
        assert_eq!(signal_of_http_path("//v1/traces"), Some(Signal::Traces));
        assert_eq!(signal_of_http_path("/v1/logs"), Some(Signal::Logs));
        assert_eq!(signal_of_http_path("/v1/profiles"), None);
        assert_eq!(
            message_of_grpc_path("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"),
            Some((Signal::Metrics, Format::OtlpProtobuf))
        );
        assert_eq!(message_of_grpc_path("/grpc.health.v1.Health/Check"), None);
    }
}
