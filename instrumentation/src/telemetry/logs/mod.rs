//! Sends the log lines of the process as OTLP log records, with the trace and span in which they were written. Lines go
//! into a bounded queue, and a thread of its own sends them: no call waits for an export, and what finds no room is
//! counted.

mod exporter;
mod layer;
mod queue;

pub(super) use exporter::LogExporter;
