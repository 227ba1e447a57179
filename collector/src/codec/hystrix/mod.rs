//! The objects of `hystrix.stream` and `turbine.stream`, of Hystrix, Turbine 1 and Turbine 2, to counts, state and
//! settings. Pure: a value of the wrong type is as one that is missing, and an object without a name is refused.
//!
//! Turbine writes of several hosts: sums (counts; in Turbine 1 settings too), sums that a reader divides by
//! `reportingHosts` (the error percentage, latencies), and where hosts differ an object of values and how many hosts have
//! each.

mod command;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use command::{Command, PERCENTILES};

use serde_json::{Map, Value};

use self::value::Fields;

/// Longest name of a command, group or pool, bytes.
const MAX_NAME_BYTES: usize = 256;

/// An object of the stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Object {
    /// A command and its circuit.
    Command(Box<Command>),
    /// A thread pool.
    Pool(Pool),
    /// Anything else: a collapser, Turbine's `meta`, what was deleted.
    Other,
}

/// A thread pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pool {
    /// Its key.
    pub(crate) name: String,
    /// Workers of all hosts.
    pub(crate) core_size: u64,
}

/// The line is no object of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an object of a Hystrix stream")]
pub(crate) struct NotAnObject;

/// Reads the JSON of one event.
pub(crate) fn decode(json: &str) -> Result<Object, NotAnObject> {
    let object: Map<String, Value> = serde_json::from_str(json).map_err(|_| NotAnObject)?;
    let fields = Fields::new(&object);
    if fields.truth("deleteData") == Some(true) {
        return Ok(Object::Other);
    }
    match fields.text("type") {
        Some("HystrixCommand") => {
            let command = Command::read(&fields).ok_or(NotAnObject)?;
            Ok(Object::Command(Box::new(command)))
        }
        Some("HystrixThreadPool") => Ok(Object::Pool(Pool {
            name: fields.name("name").ok_or(NotAnObject)?,
            core_size: fields.count("currentCorePoolSize"),
        })),
        Some(_) => Ok(Object::Other),
        None => Err(NotAnObject),
    }
}
