//! The three signals: where each is sent, and how taking it is confirmed.

use prost::Message;

use super::rpc::{ExportResponse, PartialSuccess};
use crate::codec::otlp::WalkReport;

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Spans.
    Traces,
    /// Metric points.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    /// Returns the signal of an OTLP/HTTP path.
    ///
    /// Traces also arrive at `/`: an endpoint set for one signal alone is used by SDKs as it is, without `/v1/traces`.
    pub(crate) fn from_http_path(path: &str) -> Option<Self> {
        match path.strip_suffix('/').unwrap_or(path) {
            "" | "/v1/traces" => Some(Self::Traces),
            "/v1/metrics" => Some(Self::Metrics),
            "/v1/logs" => Some(Self::Logs),
            _ => None,
        }
    }

    /// Returns the signal of a gRPC path.
    pub(crate) fn from_grpc_path(path: &str) -> Option<Self> {
        match path.strip_prefix("/opentelemetry.proto.collector.")? {
            "trace.v1.TraceService/Export" => Some(Self::Traces),
            "metrics.v1.MetricsService/Export" => Some(Self::Metrics),
            "logs.v1.LogsService/Export" => Some(Self::Logs),
            _ => None,
        }
    }

    /// Returns what the refused ones are called in JSON.
    fn rejected_key(self) -> &'static str {
        match self {
            Self::Traces => "rejectedSpans",
            Self::Metrics => "rejectedDataPoints",
            Self::Logs => "rejectedLogRecords",
        }
    }
}

/// That a request was taken, perhaps not all of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Taken {
    signal: Signal,
    response: ExportResponse,
}

impl Taken {
    /// Returns that everything was taken.
    pub(crate) fn all(signal: Signal) -> Self {
        Self {
            signal,
            response: ExportResponse::default(),
        }
    }

    /// Returns what a walk came to: refused spans make it a partial success, cut ones a warning.
    pub(crate) fn of_walk(report: &WalkReport) -> Self {
        let partial_success =
            (report.rejected_total() > 0 || report.truncated > 0).then(|| PartialSuccess {
                rejected: i64::try_from(report.rejected_total()).unwrap_or(i64::MAX),
                error_message: explain(report),
            });
        Self {
            signal: Signal::Traces,
            response: ExportResponse { partial_success },
        }
    }

    /// Returns the response as protobuf; nothing at all when everything was taken.
    pub(crate) fn to_protobuf(&self) -> Vec<u8> {
        self.response.encode_to_vec()
    }

    /// Returns the response as JSON, 64-bit numbers as strings.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let Some(partial) = &self.response.partial_success else {
            return b"{}".to_vec();
        };
        let mut inner = serde_json::Map::new();
        if partial.rejected > 0 {
            let key = self.signal.rejected_key().to_owned();
            inner.insert(key, partial.rejected.to_string().into());
        }
        inner.insert(
            "errorMessage".to_owned(),
            partial.error_message.as_str().into(),
        );
        serde_json::json!({ "partialSuccess": inner })
            .to_string()
            .into_bytes()
    }
}

/// Says in one sentence what was refused and cut.
fn explain(report: &WalkReport) -> String {
    let mut parts: Vec<String> = report
        .rejected
        .iter()
        .map(|(rejection, spans)| format!("{spans} spans refused ({})", rejection.as_str()))
        .collect();
    if report.truncated > 0 {
        parts.push(format!(
            "{} attributes, events or links cut by a limit",
            report.truncated
        ));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;

    use super::*;
    use crate::codec::otlp::SpanRejection;

    #[test]
    fn full_success_is_an_empty_response() {
        let taken = Taken::of_walk(&WalkReport {
            accepted: 500,
            ..WalkReport::default()
        });
        assert_eq!(taken.to_protobuf(), b"");
        assert_eq!(taken.to_json(), b"{}");
    }

    #[test]
    fn refused_spans_are_counted_and_explained() {
        let taken = Taken::of_walk(&WalkReport {
            accepted: 1,
            rejected: vec![(SpanRejection::InvalidTraceId, 2)],
            truncated: 0,
        });
        let response = ExportTraceServiceResponse::decode(&taken.to_protobuf()[..]).unwrap();
        let partial = response.partial_success.unwrap();
        assert_eq!(partial.rejected_spans, 2);
        assert_eq!(partial.error_message, "2 spans refused (invalid_trace_id)");
        let json: serde_json::Value = serde_json::from_slice(&taken.to_json()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({ "partialSuccess": {
                "rejectedSpans": "2",
                "errorMessage": "2 spans refused (invalid_trace_id)",
            }})
        );
    }

    #[test]
    fn cut_items_are_a_warning() {
        let taken = Taken::of_walk(&WalkReport {
            accepted: 1,
            rejected: vec![],
            truncated: 7,
        });
        let response = ExportTraceServiceResponse::decode(&taken.to_protobuf()[..]).unwrap();
        assert_eq!(response.partial_success.unwrap().rejected_spans, 0);
    }

    #[test]
    fn paths_name_the_signal() {
        assert_eq!(Signal::from_http_path("/"), Some(Signal::Traces));
        assert_eq!(Signal::from_http_path("/v1/traces/"), Some(Signal::Traces));
        assert_eq!(Signal::from_http_path("/v1/logs"), Some(Signal::Logs));
        assert_eq!(Signal::from_http_path("/v1/profiles"), None);
        assert_eq!(
            Signal::from_grpc_path(
                "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
            ),
            Some(Signal::Metrics)
        );
        assert_eq!(Signal::from_grpc_path("/grpc.health.v1.Health/Check"), None);
    }
}
