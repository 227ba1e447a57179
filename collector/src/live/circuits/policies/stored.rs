//! Policies as records of the journal: those that are due, and those of the past or of an earlier run.

use std::time::Duration;

use super::{
    Figure, IDLE_STORED_EVERY, Instance, LatencyHistogram, Number, Policies, PolicyId,
    STORED_EVERY, WINDOW_SECONDS,
};
use crate::codec::circuits::{policy_kind, policy_word};
use crate::model::policy::{PolicyCount, PolicyRecord, PolicyValue};
use crate::model::{CircuitKey, SECOND, TimeRange, UnixNanos};
use crate::store::series::{SeriesKind, SeriesRecord};
use crate::store::{SeriesReader, StoreError};

/// How far before a time its records are searched.
pub(super) const STORED_WITHIN: Duration = IDLE_STORED_EVERY.saturating_add(STORED_EVERY);

impl Policies {
    /// Returns the policies of an earlier run, whose counts continue.
    pub(in crate::live::circuits) fn restore(
        log: &dyn SeriesReader,
        now: UnixNanos,
    ) -> Result<Self, StoreError> {
        let range = TimeRange {
            start: now - STORED_WITHIN,
            end: UnixNanos::MAX,
        };
        Self::stored(log, range)
    }

    /// Returns the latest record in a range of each policy of each instance.
    pub(super) fn stored(log: &dyn SeriesReader, range: TimeRange) -> Result<Self, StoreError> {
        let mut policies = Self::default();
        log.scan(SeriesKind::Policy, range, None, &mut |record| {
            if let SeriesRecord::Policy(record) = record {
                policies.add(*record);
            }
        })?;
        policies.count();
        Ok(policies)
    }

    fn add(&mut self, record: PolicyRecord) {
        let Some(kind) = policy_kind(&record.kind) else {
            return; // Written by a later build.
        };
        let id = PolicyId {
            kind,
            name: record.key.name.clone(),
        };
        let service = self.by_service.entry(record.key.service.clone());
        let instances = service.or_default().policies.entry(id).or_default();
        let known = instances.entry(record.instance.clone()).or_default();
        if known.stored_at <= record.time {
            *known = Instance::of(record);
        }
    }

    /// Returns the records to store now: of policies that have changed or were not stored for long.
    pub(super) fn take_due(&mut self, now: UnixNanos) -> Vec<SeriesRecord> {
        if now - self.stored_at < STORED_EVERY {
            return Vec::new();
        }
        self.stored_at = now;
        let mut records = Vec::new();
        for (name, service) in &mut self.by_service {
            for (id, instances) in &mut service.policies {
                for (instance, state) in instances.iter_mut().filter(|one| one.1.is_due(now)) {
                    (state.has_changed, state.stored_at) = (false, now);
                    let key = CircuitKey {
                        service: name.clone(),
                        name: id.name.clone(),
                    };
                    let record = state.record(key, id.kind, instance, now);
                    records.push(SeriesRecord::Policy(Box::new(record)));
                }
            }
        }
        records
    }
}

impl Instance {
    fn is_due(&self, now: UnixNanos) -> bool {
        let is_old = now - self.stored_at >= IDLE_STORED_EVERY;
        !self.is_stale(now) && (self.has_changed || is_old)
    }

    fn record(&self, key: CircuitKey, kind: &str, instance: &str, now: UnixNanos) -> PolicyRecord {
        let mut record = PolicyRecord {
            key,
            kind: kind.to_owned(),
            instance: instance.to_owned(),
            time: now,
            last_seen: self.last_seen,
            values: Default::default(),
            counts: Default::default(),
            callers: Default::default(),
        };
        for (figure, number) in &self.numbers {
            let seconds = number.recent(now).map(|one| one.1);
            let count = || PolicyCount {
                start: number.start,
                total: number.total,
                last_10_s: seconds.clone().fold(0, u64::saturating_add),
            };
            match figure {
                Figure::Now(word) => {
                    let (now, peak) = (number.total, seconds.max().unwrap_or(0));
                    let value = PolicyValue { now, peak };
                    record.values.insert((*word).to_owned(), value);
                }
                Figure::Count(word) => {
                    record.counts.insert((*word).to_owned(), count());
                }
                Figure::Caller(breaker) => {
                    record.callers.insert(breaker.clone(), count());
                }
            }
        }
        record
    }

    fn of(record: PolicyRecord) -> Self {
        let seen = record.last_seen;
        let values = record.values.iter().filter_map(|(word, value)| {
            let number = Number::restored(UnixNanos::default(), value.now, value.peak, seen);
            Some((Figure::Now(policy_word(word)?), number))
        });
        let of =
            |count: &PolicyCount| Number::restored(count.start, count.total, count.last_10_s, seen);
        let counts = record
            .counts
            .iter()
            .filter_map(|(word, count)| Some((Figure::Count(policy_word(word)?), of(count))));
        let callers = record
            .callers
            .iter()
            .map(|(breaker, count)| (Figure::Caller(breaker.clone()), of(count)));
        Self {
            last_seen: seen,
            interval: Duration::default(),
            numbers: values.chain(counts).chain(callers).collect(),
            has_changed: false,
            stored_at: record.time,
        }
    }
}

impl Number {
    fn restored(start: UnixNanos, total: u64, recent: u64, last_seen: UnixNanos) -> Self {
        let second = (
            last_seen.window(SECOND),
            recent,
            LatencyHistogram::default(),
        );
        Self {
            start,
            total,
            last_seen,
            sizes: LatencyHistogram::default(),
            seconds: [second].into(),
        }
    }

    /// Returns the seconds of the window that ends at `now`.
    pub(super) fn recent(
        &self,
        now: UnixNanos,
    ) -> impl Iterator<Item = &(u64, u64, LatencyHistogram)> + Clone {
        let second = now.window(SECOND);
        let seconds = self.seconds.iter();
        seconds.filter(move |one| one.0 + WINDOW_SECONDS > second)
    }
}
