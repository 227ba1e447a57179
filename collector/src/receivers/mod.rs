//! Transport and status codes only: OTLP over gRPC and HTTP.
