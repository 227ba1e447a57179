//! Sets up logs, spans, metrics and circuit events over OTLP.
