//! From OTLP metrics and logs of several breaker libraries to one circuit model.
