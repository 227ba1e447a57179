//! What services have around their breakers, as their instances report it every second: pools, collapsers,
//! caches, limiters, retries. Kept in memory, with counts of the last ten seconds, and stored every minute, so
//! that a restart continues the counts and the past can be shown.

mod stored;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use fusebox::circuit_breaker::LatencyHistogram;

use super::Circuits;
use crate::codec::circuits::{Figure, PolicyId, PolicyReport, Reading, Temporality};
use crate::counters::Incident;
use crate::model::policy::PolicyView;
use crate::model::{MINUTE, SECOND, TimeRange, UnixNanos};
use crate::store::{Partial, StoreError};
use stored::STORED_WITHIN;

/// Numbers kept in total, some 600 bytes each.
const NUMBERS_MAX: usize = 20_000;
/// Numbers of one service, so that it cannot displace all others.
const PER_SERVICE_MAX: usize = 5_000;
/// The window of counts, as Hystrix's.
const WINDOW_SECONDS: u64 = 10;
/// How often policies that change are stored.
const STORED_EVERY: Duration = MINUTE;
/// How often policies that do not change are stored: one without a record for longer had ended.
const IDLE_STORED_EVERY: Duration = Duration::from_secs(5 * 60);
/// An instance without a report for this long is hidden, and evicted if needed; one that reports rarely, for
/// this many of its intervals.
const STALE_AFTER: Duration = Duration::from_secs(30);
const MISSED_INTERVALS: u32 = 3;
/// The longest interval that counts; Micrometer's default is a minute.
const INTERVAL_MAX: Duration = Duration::from_secs(120);

/// The reports of all services.
#[derive(Debug, Default)]
pub(super) struct Policies {
    by_service: HashMap<String, Service>,
    numbers: usize,
    /// When stale instances were last evicted: at most once a second, since that scans everything.
    looked_at: UnixNanos,
    /// When records were last taken for storing.
    stored_at: UnixNanos,
}

#[derive(Debug, Default)]
struct Service {
    policies: BTreeMap<PolicyId, HashMap<String, Instance>>,
    numbers: usize,
}

/// A policy of one instance.
#[derive(Debug, Default)]
struct Instance {
    last_seen: UnixNanos,
    /// Between its last two reports.
    interval: Duration,
    numbers: BTreeMap<Figure, Number>,
    /// Whether a number has changed since it was stored.
    has_changed: bool,
    stored_at: UnixNanos,
}

/// A number and its last seconds.
#[derive(Debug, Default)]
struct Number {
    start: UnixNanos,
    total: u64,
    last_seen: UnixNanos,
    sizes: LatencyHistogram,
    /// By second: the increase of a count, or the maximum of a value.
    seconds: VecDeque<(u64, u64, LatencyHistogram)>,
}

impl Circuits {
    /// Adds reports, those beyond a limit are counted, and stores the records that are due.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn take_policies(
        &self,
        reports: Vec<PolicyReport>,
        now: UnixNanos,
    ) -> Result<(), StoreError> {
        if reports.is_empty() {
            return Ok(());
        }
        let (over_limit, due) = {
            let mut policies = self.inner.policies.lock();
            let not_kept = reports.into_iter().map(|report| policies.take(report, now));
            let over_limit = not_kept.filter(|is_kept| !is_kept).count();
            (over_limit, policies.take_due(now))
        };
        let incidents = &self.counters().incidents;
        incidents.add(Incident::SeriesLimit, over_limit as u64);
        self.inner.log.append(due).await
    }

    /// Returns the policies of one service or of all, sorted by service, kind and name.
    pub fn policies(&self, service: Option<&str>) -> Vec<PolicyView> {
        let policies = self.inner.policies.lock();
        policies.views(service, Some(UnixNanos::now()))
    }

    /// As [`policies`](Self::policies), as they were stored last before `at`.
    ///
    /// # Errors
    /// When the journal cannot be read, or InfluxDB cannot be read and no policy is known.
    pub async fn policies_at(
        &self,
        service: Option<&str>,
        at: UnixNanos,
    ) -> Result<Partial<Vec<PolicyView>>, StoreError> {
        let service = service.map(str::to_owned);
        let range = TimeRange {
            start: at - STORED_WITHIN,
            end: at + Duration::from_nanos(1),
        };
        let read = self.read(move |_, records| {
            let policies = Policies::stored(records, range)?;
            Ok(policies.views(service.as_deref(), None))
        });
        read.await?.unless(Vec::is_empty)
    }
}

impl Policies {
    /// Adds a report; returns false if it is beyond a limit.
    fn take(&mut self, report: PolicyReport, now: UnixNanos) -> bool {
        if !self.has(&report) && !self.make_room(&report.service, now) {
            return false;
        }
        let service = self.by_service.entry(report.service).or_default();
        let instances = service.policies.entry(report.id).or_default();
        let instance = instances.entry(report.instance).or_default();
        instance.see(now);
        let before = instance.numbers.len();
        let number = instance.numbers.entry(report.figure).or_default();
        instance.has_changed |= number.take(report.reading, now);
        let added = instance.numbers.len() - before;
        service.numbers += added;
        self.numbers += added;
        true
    }

    fn has(&self, report: &PolicyReport) -> bool {
        let service = self.by_service.get(&report.service);
        let instances = service.and_then(|service| service.policies.get(&report.id));
        let instance = instances.and_then(|instances| instances.get(&report.instance));
        instance.is_some_and(|instance| instance.numbers.contains_key(&report.figure))
    }

    /// Evicts stale instances if needed; returns whether another number of the service fits.
    fn make_room(&mut self, service: &str, now: UnixNanos) -> bool {
        let is_full = |all: &Self| {
            let own = all
                .by_service
                .get(service)
                .map_or(0, |service| service.numbers);
            all.numbers >= NUMBERS_MAX || own >= PER_SERVICE_MAX
        };
        if is_full(self) && now - self.looked_at >= SECOND {
            self.looked_at = now;
            self.forget_stale(now);
        }
        !is_full(self)
    }

    fn forget_stale(&mut self, now: UnixNanos) {
        self.by_service.retain(|_, service| {
            service.policies.retain(|_, instances| {
                instances.retain(|_, instance| !instance.is_stale(now));
                !instances.is_empty()
            });
            !service.policies.is_empty()
        });
        self.count();
    }

    /// Counts the numbers anew.
    fn count(&mut self) {
        for service in self.by_service.values_mut() {
            let instances = service.policies.values().flat_map(HashMap::values);
            service.numbers = instances.map(|instance| instance.numbers.len()).sum();
        }
        let services = self.by_service.values();
        self.numbers = services.map(|service| service.numbers).sum();
    }

    /// Returns the policies as of `now`, or those in the past each as of its last report.
    fn views(&self, service: Option<&str>, now: Option<UnixNanos>) -> Vec<PolicyView> {
        let is_wanted = |name: &&String| service.is_none_or(|wanted| wanted == name.as_str());
        let mut services: Vec<_> = self.by_service.keys().filter(is_wanted).collect();
        services.sort_unstable();
        let policies = services.into_iter().flat_map(|name| {
            let policies = self.by_service[name].policies.iter();
            policies.map(move |(id, instances)| view(name, id, instances, now))
        });
        policies.filter(|view| view.hosts > 0).collect()
    }
}

fn view(
    service: &str,
    id: &PolicyId,
    instances: &HashMap<String, Instance>,
    now: Option<UnixNanos>,
) -> PolicyView {
    let mut view = PolicyView {
        service: service.to_owned(),
        kind: id.kind,
        name: id.name.clone(),
        ..PolicyView::default()
    };
    for instance in instances.values() {
        let at = now.unwrap_or(instance.last_seen);
        if instance.is_stale(at) {
            continue;
        }
        view.hosts += 1;
        for (figure, number) in &instance.numbers {
            number.add_to(&mut view, figure, at);
        }
    }
    view
}

impl Instance {
    fn see(&mut self, now: UnixNanos) {
        let interval = now - self.last_seen;
        if self.last_seen > UnixNanos::default() && interval >= SECOND {
            self.interval = interval.min(INTERVAL_MAX);
        }
        self.last_seen = now;
    }

    fn is_stale(&self, now: UnixNanos) -> bool {
        let missed = self.interval * MISSED_INTERVALS;
        now - self.last_seen > missed.max(STALE_AFTER)
    }
}

impl Number {
    /// Adds a reading; returns whether the number has changed.
    fn take(&mut self, reading: Reading, now: UnixNanos) -> bool {
        let before = self.total;
        let second = now.window(SECOND);
        let last = self.seconds.back().map_or(0, |last| last.0);
        // After the clock was set back, the later seconds would never expire.
        if second < last {
            self.seconds.clear();
        }
        let is_count = !matches!(reading, Reading::Value(_));
        let (added, sizes) = self.added(reading, now);
        self.last_seen = now;
        match self.seconds.back_mut().filter(|last| last.0 == second) {
            Some((_, sum, of_second)) if is_count => {
                *sum = sum.saturating_add(added);
                of_second.merge(&sizes);
            }
            Some((_, highest, _)) => *highest = added.max(*highest),
            None => self.seconds.push_back((second, added, sizes)),
        }
        while self
            .seconds
            .front()
            .is_some_and(|first| first.0 + WINDOW_SECONDS <= second)
        {
            self.seconds.pop_front();
        }
        self.total != before
    }

    /// Records a reading; returns its increase for the current second.
    fn added(&mut self, reading: Reading, now: UnixNanos) -> (u64, LatencyHistogram) {
        let none = LatencyHistogram::default();
        match reading {
            Reading::Value(value) => {
                self.total = value;
                (value, none)
            }
            Reading::Window(count, sizes) => {
                self.seconds.clear();
                self.total = count;
                (count, sizes)
            }
            Reading::Count {
                temporality: Temporality::Delta,
                count,
                sizes,
                ..
            } => {
                self.total = self.total.saturating_add(count);
                (count, sizes)
            }
            Reading::Count {
                start,
                time,
                count,
                sizes,
                ..
            } => {
                let was_long_ago = now - self.last_seen > SECOND * WINDOW_SECONDS as u32;
                let grown = self.grown(start, time, count, sizes);
                // Most of it was counted before the window, while the collector or the connection was down.
                match was_long_ago && time - start >= SECOND * WINDOW_SECONDS as u32 {
                    true => (0, none),
                    false => grown,
                }
            }
        }
    }

    /// Returns the increase of a cumulative count. A count that restarted, or is new and started recently,
    /// increases by its whole value; a new one that started earlier, by nothing.
    fn grown(
        &mut self,
        start: UnixNanos,
        time: UnixNanos,
        count: u64,
        sizes: LatencyHistogram,
    ) -> (u64, LatencyHistogram) {
        let is_new = self.seconds.is_empty() && self.total == 0;
        let began_anew = !is_new && (start > self.start || count < self.total);
        let is_young = time - start < SECOND * WINDOW_SECONDS as u32;
        let before = (
            self.total,
            std::mem::replace(&mut self.sizes, sizes.clone()),
        );
        (self.start, self.total) = (start, count);
        match is_new || began_anew {
            true if is_young || began_anew => (count, sizes),
            true => (0, LatencyHistogram::default()),
            // The sizes of an earlier run are not stored.
            false if before.0 > 0 && before.1.count() == 0 => {
                (count - before.0, LatencyHistogram::default())
            }
            false => (count - before.0, sizes.since(&before.1)),
        }
    }

    fn add_to(&self, view: &mut PolicyView, figure: &Figure, now: UnixNanos) {
        let recent = || self.recent(now);
        let happened = recent().fold(0, |sum: u64, one| sum.saturating_add(one.1));
        match figure {
            Figure::Now(word) => {
                let highest = recent().map(|one| one.1).max().unwrap_or(0);
                put(&mut view.now, word, self.total);
                put(&mut view.peak, word, highest);
            }
            Figure::Count(word) => {
                put(&mut view.last_10_s, word, happened);
                put(&mut view.total, word, self.total);
                recent().for_each(|one| view.sizes.merge(&one.2));
            }
            Figure::Caller(breaker) => {
                let refused = view.callers.entry(breaker.clone()).or_default();
                *refused = refused.saturating_add(happened);
            }
        }
    }
}

fn put(of: &mut BTreeMap<&'static str, u64>, word: &'static str, more: u64) {
    let sum = of.entry(word).or_default();
    *sum = sum.saturating_add(more);
}

#[cfg(test)]
#[path = "policies_tests.rs"]
mod tests;
