//! Log records in InfluxDB: `lane` follows the log and makes texts of its records (`payload`), `reader` asks for them again.

pub(crate) mod lane;
mod payload;
mod reader;
#[cfg(test)]
mod tests;

pub(crate) use lane::LogLane;
pub(crate) use reader::InfluxLogs;
