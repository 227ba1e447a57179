//! Persists the figures: each finished minute of operations, dependencies and instances, and the addresses of
//! services, are written to the series journal. A start restores the dependencies and instances within the
//! retention, the addresses of a day and the last hour of operations.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::aging::Age;
use super::dependencies::{Answered, Calls, EdgeCalls, Evidence, KNOWN_SECONDS};
use super::figures::{Figures, WINDOW_MINUTES};
use super::red::MINUTES;
use crate::counters::Incident;
use crate::model::{MINUTE, SECOND, TimeRange, UnixNanos};
use crate::store::series::{
    AddressRecord, DependencyMinute, InstanceRecord, RedMinute, SeriesKind, SeriesLog, SeriesRecord,
};
use crate::store::{SeriesReader, StoreError};

/// Minutes between records of an instance that keeps reporting; a restart loses at most this much of "last
/// seen".
const INSTANCE_EVERY_MINUTES: u64 = 10;
/// Minutes written at once: no figures are kept by minute for longer.
const MINUTES_MAX: u64 = 120;
/// Records restored per lock, so that ingest does not wait long.
const RESTORED_AT_ONCE: usize = 1_000;

impl Figures {
    /// Returns the records of the minutes that ended since the last call; with `running`, also of the current
    /// one.
    pub(super) fn take_finished(&mut self, now: UnixNanos, running: bool) -> Vec<SeriesRecord> {
        let end = now.window(MINUTE) + u64::from(running);
        self.follow_clock(end);
        let first = self.unwritten_minute;
        if first >= end {
            return Vec::new();
        }
        self.unwritten_minute = end;
        // After a jump of the clock, look at the minute before it and only at as many more as are kept.
        let begin = (first + 1).max(end.saturating_sub(MINUTES_MAX));
        let mut records = Vec::new();
        for minute in std::iter::once(first).chain(begin..end) {
            let start = UnixNanos::of_window(minute, MINUTE);
            self.finished_operations(minute, start, &mut records);
            self.finished_edges(minute, start, &mut records);
            if running || minute % INSTANCE_EVERY_MINUTES == 0 {
                let since = minute.saturating_sub(INSTANCE_EVERY_MINUTES - 1);
                self.seen_instances(UnixNanos::of_window(since, MINUTE), &mut records);
            } else {
                self.new_instances(start, &mut records);
            }
        }
        self.late_edges(end, &mut records);
        self.new_addresses(&mut records);
        records
    }

    /// Takes back minutes in the future once the clock was set back. Of the minute in which that happened, a part may be in
    /// the journal, so the next one is written first.
    fn follow_clock(&mut self, end: u64) {
        if self.unwritten_minute > end + 1 {
            self.unwritten_minute = end + 1;
            self.dependencies.edges_mut().forget_after(end);
        }
    }

    fn new_addresses(&mut self, records: &mut Vec<SeriesRecord>) {
        let answered = self.dependencies.take_unwritten().into_iter();
        let at = |second: u32| UnixNanos::of_window(second.into(), SECOND);
        records.extend(answered.map(
            |Answered {
                 address,
                 service,
                 since,
                 seen,
             }| {
                SeriesRecord::Address(AddressRecord {
                    address: self.nodes.name(address).to_string(),
                    service: self.nodes.name(service).to_string(),
                    since: at(since),
                    seen: at(seen),
                })
            },
        ));
    }

    fn restore_address(&mut self, record: &AddressRecord) {
        let second = |time: UnixNanos| u32::try_from(time.window(SECOND)).unwrap_or(u32::MAX);
        let used = record.seen.window(MINUTE);
        self.make_room(Age::at(used));
        let (address, service) = (
            self.nodes.peer(&record.address),
            self.nodes.service(&record.service),
        );
        self.nodes.was_used(address, used);
        self.nodes.was_used(service, used);
        let evidence = (Evidence::Answered, second(record.since));
        self.dependencies
            .learn_address(address, service, evidence, second(record.seen));
    }

    fn finished_operations(&self, minute: u64, start: UnixNanos, records: &mut Vec<SeriesRecord>) {
        let finished = self.red.finished(minute).into_iter();
        records.extend(finished.map(|operation| {
            SeriesRecord::Red(RedMinute {
                service: self.nodes.name(operation.service).to_string(),
                operation: operation.name.to_owned(),
                minute: start,
                calls: operation.calls,
                errors: operation.errors,
                latency_buckets: operation.latency,
            })
        }));
    }

    fn finished_edges(&self, minute: u64, start: UnixNanos, records: &mut Vec<SeriesRecord>) {
        let finished = self.dependencies.edges().finished(minute).into_iter();
        records.extend(finished.map(|edge| self.edge_record(&edge, start)));
    }

    /// Adds the calls that came after their minute was written.
    fn late_edges(&mut self, unwritten: u64, records: &mut Vec<SeriesRecord>) {
        let late = self.dependencies.edges_mut().take_late(unwritten);
        records.extend(
            late.into_iter().map(|(minute, edge)| {
                self.edge_record(&edge, UnixNanos::of_window(minute, MINUTE))
            }),
        );
    }

    fn edge_record(&self, edge: &EdgeCalls, minute: UnixNanos) -> SeriesRecord {
        SeriesRecord::Dependency(DependencyMinute {
            parent: self.nodes.name(edge.parent).to_string(),
            child: self.nodes.name(edge.child).to_string(),
            child_is_virtual: !self.nodes.sends_spans(edge.child),
            minute,
            calls: edge.calls.calls,
            errors: edge.calls.errors,
            circuits: self.keys(&edge.circuits),
        })
    }

    fn seen_instances(&self, since: UnixNanos, records: &mut Vec<SeriesRecord>) {
        let seen = self.instances.since(since).into_iter();
        records.extend(seen.map(|(service, instance)| {
            SeriesRecord::Instance(InstanceRecord {
                service: self.nodes.name(service).to_string(),
                id: instance.id,
                first_seen: instance.first_seen,
                last_seen: instance.last_seen,
            })
        }));
    }

    fn new_instances(&self, since: UnixNanos, records: &mut Vec<SeriesRecord>) {
        let mut seen = Vec::new();
        self.seen_instances(since, &mut seen);
        seen.retain(|record| {
            matches!(record, SeriesRecord::Instance(instance) if instance.first_seen >= since)
        });
        records.append(&mut seen);
    }

    pub(super) fn restore(&mut self, record: &SeriesRecord) {
        match record {
            SeriesRecord::Dependency(minute) => self.restore_edge(minute),
            SeriesRecord::Address(record) => self.restore_address(record),
            SeriesRecord::Instance(instance) => {
                let used = instance.last_seen.window(MINUTE);
                self.make_room(Age::at(used));
                let service = self.nodes.service(&instance.service);
                self.nodes.was_used(service, used);
                let (first, last) = (instance.first_seen, instance.last_seen);
                self.instances.see(service, &instance.id, first, last);
            }
            SeriesRecord::Red(minute) => {
                let number = minute.minute.window(MINUTE);
                self.make_room(Age::at(number));
                let service = self.nodes.service(&minute.service);
                self.nodes.was_used(service, number);
                self.red.restore(service, number, minute);
                // Rates are over a few minutes: older ones say nothing of when these began.
                if number + WINDOW_MINUTES >= self.unwritten_minute {
                    self.started = self.started.min(minute.minute);
                }
            }
            _ => {}
        }
    }

    fn restore_edge(&mut self, minute: &DependencyMinute) {
        let number = minute.minute.window(MINUTE);
        self.make_room(Age::at(number));
        // The record does not say whether the parent sends spans; its first span will.
        let parent = self.nodes.peer(&minute.parent);
        let child = match minute.child_is_virtual {
            true => self.nodes.peer(&minute.child),
            false => self.nodes.service(&minute.child),
        };
        self.nodes.was_used(parent, number);
        self.nodes.was_used(child, number);
        let circuits: Vec<_> = minute
            .circuits
            .iter()
            .filter_map(|key| {
                let holder = self.nodes.peer(&key.service);
                self.nodes.was_used(holder, number);
                let circuit = self.circuits.circuit(holder, &key.name)?;
                self.circuits.was_used(circuit, number);
                Some(circuit)
            })
            .collect();
        let calls = Calls {
            calls: minute.calls,
            errors: minute.errors,
        };
        self.dependencies
            .restore((parent, child), &circuits, number, calls);
    }
}

impl Shared {
    /// Restores the state of earlier runs; blocks the thread.
    pub(super) fn restore(&self, log: &SeriesLog) -> Result<(), StoreError> {
        let now = UnixNanos::now();
        // Figures cover complete minutes and the current one.
        let shown = Duration::from_secs((MINUTES as u64 + 1) * 60);
        let kinds = [
            (SeriesKind::Red, shown),
            (SeriesKind::Instance, log.retention()),
            (
                SeriesKind::Address,
                Duration::from_secs(KNOWN_SECONDS.into()),
            ),
            (SeriesKind::Dependency, log.retention()),
        ];
        let mut records = Vec::with_capacity(RESTORED_AT_ONCE);
        for (kind, length) in kinds {
            let range = TimeRange {
                start: now - length,
                end: UnixNanos::MAX,
            };
            log.scan(kind, range, None, &mut |record| {
                records.push(record);
                if records.len() == RESTORED_AT_ONCE {
                    self.restore_records(&mut records);
                }
            })?;
            self.restore_records(&mut records);
        }
        Ok(())
    }

    fn restore_records(&self, records: &mut Vec<SeriesRecord>) {
        let mut figures = self.figures();
        records
            .drain(..)
            .for_each(|record| figures.restore(&record));
    }
}

/// Restores in the background; then, every second, expires spans and writes finished minutes, until the
/// figures are dropped.
pub(super) async fn keep(shared: std::sync::Weak<Shared>, log: SeriesLog) {
    if let Some(shared) = shared.upgrade() {
        let log = log.clone();
        let restored = tokio::task::spawn_blocking(move || shared.restore(&log)).await;
        if let Ok(Err(error)) = restored {
            tracing::warn!(%error, "could not restore the dependencies of earlier runs");
        }
    }
    let mut ticks = tokio::time::interval(std::time::Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        write_finished(&shared, &log, false).await;
    }
}

/// Writes the minutes that ended; with `running`, also the current one.
pub(super) async fn write_finished(shared: &Arc<Shared>, log: &SeriesLog, running: bool) {
    let now = UnixNanos::now();
    shared.update(now, |_| {});
    let records = shared.figures().take_finished(now, running);
    if let Err(error) = log.append(records).await {
        shared.counters.incidents.add(Incident::LiveMinuteLost, 1);
        tracing::warn!(%error, "could not store a minute of figures");
    }
}
