//! Decodes objects of `hystrix.stream` and `turbine.stream`, from Hystrix, Turbine 1 and Turbine 2, to
//! counts, state and settings. Pure: a value of the wrong type counts as missing, and an object without a
//! name is rejected.
//!
//! Turbine aggregates hosts in three ways: plain sums (counts; in Turbine 1 settings too); sums that the
//! reader must divide by `reportingHosts` (the error percentage, latencies); and, where hosts differ, an
//! object that maps each value to its number of hosts.

mod command;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use command::{Command, PERCENTILES};

use serde_json::{Map, Value};

use self::value::Fields;

const MAX_NAME_BYTES: usize = 256;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Object {
    Command(Box<Command>),
    Pool(Pool),
    Collapser(Collapser),
    /// Anything else: Turbine's `meta`, a deletion.
    Other,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) name: String,
    /// Threads over all hosts.
    pub(crate) core_size: u64,
    pub(crate) active: u64,
    pub(crate) queued: u64,
    /// Calls that may wait; 0 if the stream does not report a limit.
    pub(crate) queue_limit: u64,
    pub(crate) largest: u64,
    pub(crate) completed: u64,
    pub(crate) executed: u64,
    pub(crate) rejected: u64,
}

impl Pool {
    /// Reads a pool; `None` if it has no name.
    fn read(fields: &Fields<'_>) -> Option<Self> {
        Some(Self {
            name: fields.name("name")?,
            core_size: fields.count("currentCorePoolSize"),
            active: fields.count("currentActiveCount"),
            queued: fields.count("currentQueueSize"),
            queue_limit: fields.count("propertyValue_queueSizeRejectionThreshold"),
            largest: fields.count("currentLargestPoolSize"),
            completed: fields.count("currentCompletedTaskCount"),
            executed: fields.count("rollingCountThreadsExecuted"),
            rejected: fields.count("rollingCountCommandRejections"),
        })
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Collapser {
    pub(crate) name: String,
    /// Calls that were sent in batches.
    pub(crate) calls: u64,
    pub(crate) batches: u64,
    /// Batch sizes at [`PERCENTILES`].
    pub(crate) sizes: [f64; PERCENTILES.len()],
    pub(crate) from_cache: u64,
    pub(crate) size_max: u64,
    pub(crate) delay_ms: u64,
}

impl Collapser {
    /// Reads a collapser; `None` if it has no name.
    fn read(fields: &Fields<'_>) -> Option<Self> {
        let size = |name: &str| fields.mean(name, Some("batchSize")).unwrap_or(0.0);
        let setting = |name| fields.setting(name).unwrap_or(0.0) as u64;
        Some(Self {
            name: fields.name("name")?,
            calls: fields.count("rollingCountRequestsBatched"),
            batches: fields.count("rollingCountBatches"),
            sizes: PERCENTILES.map(|(name, _)| size(name)),
            from_cache: fields.count("rollingCountResponsesFromCache"),
            size_max: setting("maxRequestsInBatch"),
            delay_ms: setting("timerDelayInMilliseconds"),
        })
    }
}

/// The line is not an object of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an object of a Hystrix stream")]
pub(crate) struct NotAnObject;

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
        Some("HystrixThreadPool") => {
            let pool = Pool::read(&fields).ok_or(NotAnObject)?;
            Ok(Object::Pool(pool))
        }
        Some("HystrixCollapser") => {
            let collapser = Collapser::read(&fields).ok_or(NotAnObject)?;
            Ok(Object::Collapser(collapser))
        }
        Some(_) => Ok(Object::Other),
        None => Err(NotAnObject),
    }
}
