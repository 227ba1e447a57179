//! `HystrixThreadPool`, the object of a pool that isolates calls.

use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::command::{put_all, whole_ms};

/// The figures of one pool, or of the pools of one key on several hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolEvent<'a> {
    /// The key of the pool.
    pub name: &'a str,
    /// The current time, milliseconds since 1970.
    pub time_ms: u64,
    /// Number of reporting hosts, at least 1. All figures except the settings are sums over them.
    pub hosts: u64,
    /// Calls that are running.
    pub active: u64,
    /// Calls that are waiting for a worker.
    pub queued: u64,
    /// Calls that ended since the pool was created.
    pub completed: u64,
    /// Maximum number of workers.
    pub core_size: u64,
    /// The largest number of workers that ran at the same time.
    pub largest_size: u64,
    /// Calls that a worker started in the window.
    pub executed: u64,
    /// Calls that the pool refused in the window.
    pub rejected: u64,
    /// The most calls that ran at the same time in the window.
    pub max_active: u64,
    /// Maximum number of waiting calls.
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
                // A worker exists only while it runs a call.
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
                // Unlike those of commands, the dashboard divides these two by the number of hosts.
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
