//! The protocols of OTLP, and the address of each signal in them.

/// The protocol of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `http/protobuf`: HTTP/1.1, by default to port 4318.
    HttpProtobuf,
    /// `grpc`: HTTP/2, by default to port 4317.
    Grpc,
}

impl Protocol {
    /// Parses a value of `OTEL_EXPORTER_OTLP_PROTOCOL`; `http/json` is not supported.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "http/protobuf" => Some(Self::HttpProtobuf),
            "grpc" => Some(Self::Grpc),
            _ => None,
        }
    }

    /// Returns the default address of a receiver (OTLP specification).
    pub(super) fn default_endpoint(self) -> &'static str {
        match self {
            Self::HttpProtobuf => "http://localhost:4318",
            Self::Grpc => "http://localhost:4317",
        }
    }

    /// Returns the path of a signal, for example `traces`, below the receiver's address.
    pub(super) fn path(self, signal: &str) -> String {
        let service = match signal {
            "traces" => "trace.v1.TraceService",
            "metrics" => "metrics.v1.MetricsService",
            _ => "logs.v1.LogsService",
        };
        match self {
            Self::HttpProtobuf => format!("/v1/{signal}"),
            Self::Grpc => format!("/opentelemetry.proto.collector.{service}/Export"),
        }
    }
}
