//! Every codec of OTLP held against prost's generated types, and against bytes that nobody should send.

mod arbitrary;
mod encode;
mod json;
mod oracle;
mod walk;
