//! Sends the log lines of the process as OTLP log records, with the trace and span in which they were written. A
//! separate thread sends them from a bounded queue: calls never wait for an export, and lines that find the queue full
//! are dropped and counted.

mod exporter;
mod layer;
mod queue;

pub(super) use exporter::LogExporter;
