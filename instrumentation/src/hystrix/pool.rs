//! `HystrixThreadPool`, the object of a pool that isolates calls.

use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::command::{put_all, whole_ms};

/// What the stream says of one pool, or of the pools of one key on several hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolEvent<'a> {
    /// The key of the pool.
    pub name: &'a str,
    /// The moment, milliseconds since 1970.
    pub time_ms: u64,
    /// Hosts that report, at least 1. All figures but the settings are their sum.
    pub hosts: u64,
    /// Calls that its workers run.
    pub active: u64,
    /// Calls that wait for a worker.
    pub queued: u64,
    /// Calls that ended since the pool was made.
    pub completed: u64,
    /// Workers that it may have.
    pub core_size: u64,
    /// The most workers that it has had at once.
    pub largest_size: u64,
    /// Calls that a worker took in the window.
    pub executed: u64,
    /// Calls that it refused in the window.
    pub rejected: u64,
    /// The most calls that ran at the same time in the window.
    pub max_active: u64,
    /// How many calls may wait.
    pub queue_limit: u64,
    /// Length of the window.
    pub window: Duration,
}

impl Serialize for PoolEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hosts = self.hosts.max(1);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "HystrixThreadPool")?;
        map.serialize_entry("name", self.name)?;
        put_all(
            &mut map,
            &[
                ("currentTime", self.time_ms),
                ("currentActiveCount", self.active),
                ("currentCompletedTaskCount", self.completed),
                ("currentCorePoolSize", self.core_size),
                ("currentLargestPoolSize", self.largest_size),
                ("currentMaximumPoolSize", self.core_size),
                // A worker exists while it runs a call.
                ("currentPoolSize", self.active),
                ("currentQueueSize", self.queued),
                (
                    "currentTaskCount",
                    self.completed
                        .saturating_add(self.active)
                        .saturating_add(self.queued),
                ),
                ("rollingCountThreadsExecuted", self.executed),
                ("rollingMaxActiveThreads", self.max_active),
                ("rollingCountCommandRejections", self.rejected),
                // The dashboard divides these two by the hosts, other than those of commands.
                (
                    "propertyValue_queueSizeRejectionThreshold",
                    self.queue_limit.saturating_mul(hosts),
                ),
                (
                    "propertyValue_metricsRollingStatisticalWindowInMilliseconds",
                    whole_ms(self.window).saturating_mul(hosts),
                ),
                ("reportingHosts", hosts),
            ],
        )?;
        map.end()
    }
}
