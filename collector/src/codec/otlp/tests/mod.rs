//! Every codec of OTLP held against prost's generated types, and against bytes that no sender should send.

pub(crate) mod arbitrary;
mod encode;
mod json;
mod logs;
mod oracle;
mod walk;
