//! The contract of every reader of series records: one suite, run by each back end.
//!
//! A back end provides a reader, and a closure that stores records and returns once they can be read. The
//! records are half an hour old, because servers drop what is past their retention. The functions block the
//! thread.

use std::fmt::Debug;

use fusebox::circuit_breaker::{EffectiveState, OverrideKind};
use opentelemetry::{SpanId, TraceId};
use tokio::runtime::Runtime;

use crate::codec::circuits::policy_words;
use crate::live::circuits::Circuits;
use crate::model::policy::{PolicyCount, PolicyRecord, PolicyValue};
use crate::model::{
    CircuitCalls, CircuitKey, CircuitSample, CircuitSettings, CircuitTransition, Outage,
    OverrideView, Provenance, Source, StateSpan, TimeRange, UnixNanos,
};
use crate::store::SeriesReader;
use crate::store::series::{
    DependencyMinute, InstanceRecord, RedMinute, Rollup, RollupMinute, SeriesKind, SeriesRecord,
    SettingsRecord, Standing,
};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3_600 * SECOND;
/// Too long for a tag.
const LONG: &str = "very-long-name-0123456789-very-long-name-0123456789-very-long-name-0123456789-very-long-name-0123456789-very-long-name-0123456789-very-long-name-0123456789-very-long-name-0123456789-very-long-name-0123456789-very-long-name-0123456789-very-long-name-0123456789";

/// The records of the suite: one breaker that opens and one that does not, each on two instances.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    /// A full minute.
    pub(crate) begin: u64,
    /// The service that owns the breakers.
    pub(crate) service: String,
}

impl Scene {
    pub(crate) fn new(service: &str) -> Self {
        let begin = UnixNanos::now().get() / (60 * SECOND) * 60 * SECOND - HOUR / 2;
        Self {
            begin,
            service: service.to_owned(),
        }
    }

    pub(crate) fn at(&self, seconds: u64) -> u64 {
        self.begin + seconds * SECOND
    }

    pub(crate) fn key(&self, name: &str) -> CircuitKey {
        CircuitKey {
            service: self.service.clone(),
            name: name.to_owned(),
        }
    }

    /// The breaker that opens after twenty seconds.
    pub(crate) fn opening(&self) -> CircuitKey {
        self.key("inven tory,\"1\"=\\x")
    }

    pub(crate) fn records(&self) -> Vec<SeriesRecord> {
        let mut records = Vec::new();
        for name in [self.opening(), self.key("price")] {
            for instance in ["", "b\\ \"1\"", LONG] {
                let standing = self.standing(&name, instance, 0);
                records.push(SeriesRecord::Standing(standing));
                let standing = self.standing(&name, instance, 60);
                records.push(SeriesRecord::Standing(standing));
                let samples = (0..40).map(|second| self.sample(&name, instance, second));
                records.extend(samples);
            }
            records.push(SeriesRecord::Settings(self.settings(&name, 0)));
            records.push(SeriesRecord::Settings(self.settings(&name, 30)));
            records.extend(self.rollups(&name));
        }
        records.extend(self.transitions());
        records.extend(self.minutes());
        records
    }

    fn sample(&self, key: &CircuitKey, instance: &str, second: u64) -> SeriesRecord {
        SeriesRecord::Sample(CircuitSample {
            key: key.clone(),
            instance: instance.to_owned(),
            time: UnixNanos::new(self.at(second)),
            state: self.state(key, second),
            calls: CircuitCalls {
                success: 5 + second,
                timeout: second % 2,
                fallback_failure: 3,
                ..CircuitCalls::default()
            },
            in_flight: 3,
            latency_buckets: vec![(-40, 4 + second), (-39, 1), (3, second % 2 + 1)],
        })
    }

    fn state(&self, key: &CircuitKey, second: u64) -> EffectiveState {
        match (*key == self.opening(), second) {
            (true, 20..) => EffectiveState::Open,
            _ => EffectiveState::Closed,
        }
    }

    fn standing(&self, key: &CircuitKey, instance: &str, second: u64) -> Standing {
        let state = self.state(key, second);
        let opened = state == EffectiveState::Open && instance.is_empty();
        Standing {
            key: key.clone(),
            instance: instance.to_owned(),
            time: UnixNanos::new(self.at(second) + 5),
            source: Source::Fusebox,
            target: "stock".to_owned(),
            state: if opened {
                state
            } else {
                EffectiveState::Closed
            },
            since: if opened {
                UnixNanos::new(self.at(20) + 1)
            } else {
                UnixNanos::new(self.begin - 9)
            },
            retry_at: None,
            reason: if opened {
                "reported by a person: it failed".to_owned()
            } else {
                "it is so".to_owned()
            },
            provenance: if opened {
                Provenance::Reported
            } else {
                Provenance::Derived
            },
            opened_by: opened.then(|| TraceId::from_bytes([7; 16])),
            opened_at: Some(UnixNanos::new(3)),
            outage: opened.then(|| Outage {
                since: UnixNanos::new(3),
                reason: "failed".to_owned(),
                opened_by: Some(TraceId::from_bytes([7; 16])),
                failed_probes: 2,
            }),
            in_flight: 1,
            first_seen: UnixNanos::new(self.begin - 9),
            last_seen: UnixNanos::new(self.at(second)),
            interval_ms: 1_000,
            own_window: None,
            totals: None,
        }
    }

    fn settings(&self, key: &CircuitKey, second: u64) -> SettingsRecord {
        SettingsRecord {
            key: key.clone(),
            instance: "b\\ \"1\"".to_owned(),
            time: UnixNanos::new(self.at(second) + 7),
            settings: CircuitSettings {
                group: "stock".to_owned(),
                window_ms: Some(10_000),
                window_calls: Some(100),
                minimum_calls: Some(20),
                failure_rate_percent: Some(50.0),
                slow_call_rate_percent: Some(33.3),
                slow_call_duration_ms: Some(1_000),
                open_duration_ms: Some(5_000),
                half_open_probes: Some(3),
                timeout_ms: Some(800),
                max_concurrent: Some(10),
                ..CircuitSettings::default()
            },
            forced: (second > 0).then(|| OverrideView {
                kind: OverrideKind::ForcedOpen,
                reason: "a \"planned\" outage".to_owned(),
                expires: Some(UnixNanos::new(self.at(90))),
            }),
        }
    }

    /// Two records of one hour, as a late call produces them.
    fn rollups(&self, key: &CircuitKey) -> [SeriesRecord; 2] {
        let rollup = |minute, success| {
            SeriesRecord::Rollup(Rollup {
                key: key.clone(),
                hour: UnixNanos::new(self.begin / HOUR * HOUR - HOUR),
                minutes: vec![RollupMinute {
                    minute,
                    calls: CircuitCalls {
                        success,
                        ..CircuitCalls::default()
                    },
                    state: EffectiveState::HalfOpen,
                }],
            })
        };
        [rollup(58, 40), rollup(59, 2)]
    }

    /// State changes, three of them in the same nanosecond, as millisecond clocks produce them.
    fn transitions(&self) -> Vec<SeriesRecord> {
        // Reasons come from outside: their text must not pass for a provenance.
        let transition = |key: CircuitKey, from, to, nanos, provenance, reason: &str| {
            SeriesRecord::Transition(CircuitTransition {
                key,
                instance: String::new(),
                time: UnixNanos::new(self.at(20) + nanos),
                from,
                to,
                reason: reason.to_owned(),
                provenance,
                open_until: (to == EffectiveState::Open).then(|| UnixNanos::new(self.at(25))),
                trace_id: (nanos == 1).then(|| TraceId::from_bytes([7; 16])),
                span_id: (nanos == 1).then(|| SpanId::from_bytes([8; 8])),
            })
        };
        use EffectiveState::{Closed, HalfOpen, Open};
        use Provenance::{Derived, Reported};
        let person = "reported by a person: it failed";
        vec![
            transition(self.key("price"), Closed, Open, 0, Reported, person),
            transition(self.key("price"), Open, HalfOpen, 0, Derived, "time is up"),
            transition(self.key("price"), HalfOpen, Closed, 0, Reported, ""),
            transition(self.opening(), Closed, Open, 1, Reported, person),
        ]
    }

    fn minutes(&self) -> Vec<SeriesRecord> {
        let red = |operation: &str, minute: u64| {
            SeriesRecord::Red(RedMinute {
                service: self.service.clone(),
                operation: operation.to_owned(),
                minute: UnixNanos::new(self.at(60 * minute)),
                calls: 5 + minute,
                errors: minute,
                latency_buckets: vec![(100, 2), (235, 3 + minute)],
            })
        };
        let edge = |child: &str, minute: u64| {
            SeriesRecord::Dependency(DependencyMinute {
                parent: self.service.clone(),
                child: child.to_owned(),
                child_is_virtual: child == LONG,
                minute: UnixNanos::new(self.at(60 * minute)),
                calls: 7,
                errors: minute,
                circuits: vec![self.key("price"), self.opening()],
            })
        };
        let instance = |id: &str| {
            SeriesRecord::Instance(InstanceRecord {
                service: self.service.clone(),
                id: id.to_owned(),
                first_seen: UnixNanos::new(self.begin - HOUR),
                last_seen: UnixNanos::new(self.at(3) + 11),
            })
        };
        vec![
            red("GET /cart", 0),
            red("GET /cart", 1),
            red(LONG, 0),
            edge("stock", 0),
            edge("stock", 1),
            edge(LONG, 0),
            instance(""),
            instance(LONG),
            self.policy("inven tory", "pool"),
            self.policy("inven tory", "retry"),
            self.policy(LONG, "pool"),
        ]
    }

    fn policy(&self, name: &str, kind: &str) -> SeriesRecord {
        let count = |total| PolicyCount {
            start: UnixNanos::new(self.begin),
            total,
            last_10_s: total / 2,
        };
        let words = policy_words().map(str::to_owned);
        SeriesRecord::Policy(Box::new(PolicyRecord {
            key: self.key(name),
            kind: kind.to_owned(),
            instance: "b\\ \"1\"".to_owned(),
            time: UnixNanos::new(self.at(25) + 9),
            last_seen: UnixNanos::new(self.at(24)),
            values: [("active".to_owned(), PolicyValue { now: 3, peak: 9 })].into(),
            counts: words.map(|word| (word, count(7))).collect(),
            callers: [("price".to_owned(), count(2))].into(),
        }))
    }
}

/// Runs the reader's suite on an empty store; returns what it wrote.
pub(crate) fn check(reader: &dyn SeriesReader, mut write: impl FnMut(Vec<SeriesRecord>)) -> Scene {
    for kind in SeriesKind::ALL {
        assert_eq!(read(reader, kind, TimeRange::ALL, None), []);
        assert_eq!(reader.latest(kind).expect("asks"), None);
    }
    let scene = Scene::new("product page");
    let records = scene.records();
    write(records.clone());
    for kind in SeriesKind::ALL {
        let of_kind = |record: &SeriesRecord| record.kind() == kind;
        let found = |range, only: Option<&CircuitKey>| read(reader, kind, range, only);
        let wanted = |also: &dyn Fn(&SeriesRecord) -> bool| {
            let records = records.iter().filter(|r| of_kind(r) && also(r));
            sorted(records.cloned().collect())
        };
        assert_eq!(found(TimeRange::ALL, None), wanted(&|_| true));
        let part = TimeRange {
            start: UnixNanos::new(scene.at(20)),
            end: UnixNanos::new(scene.at(30) + 1),
        };
        let within = |r: &SeriesRecord| part.contains(r.time());
        assert_eq!(found(part, None), wanted(&within));
        let latest = wanted(&|_| true).iter().map(SeriesRecord::time).max();
        assert_eq!(reader.latest(kind).expect("asks"), latest, "{kind:?}");
        if (kind as u8) <= SeriesKind::Rollup as u8 {
            let key = scene.opening();
            let of_breaker = |r: &SeriesRecord| key_of(r) == Some(&key);
            assert_eq!(found(TimeRange::ALL, Some(&key)), wanted(&of_breaker));
        }
    }
    scene
}

/// Checks what is shown for a scene whose records were written.
pub(crate) fn check_circuits(circuits: &Circuits, scene: &Scene, runtime: &Runtime) {
    let wall = |at| {
        let wall = runtime.block_on(circuits.wall(Some(at))).expect("reads");
        assert!(wall.missing.is_none());
        wall.value
    };
    let state = |at, key: &CircuitKey| {
        let wall = wall(at);
        let view = wall.circuits.iter().find(|view| view.key == *key);
        view.map(|view| (view.state, view.instances.len()))
    };
    let opening = scene.opening();
    let closed = Some((EffectiveState::Closed, 3));
    let open = Some((EffectiveState::Open, 3));
    assert_eq!(state(UnixNanos::new(scene.begin - HOUR), &opening), None);
    assert_eq!(state(UnixNanos::new(scene.at(19)), &opening), closed);
    assert_eq!(state(UnixNanos::new(scene.at(21)), &opening), open);
    assert_eq!(state(UnixNanos::new(scene.at(65)), &opening), open);
    assert_eq!(
        state(UnixNanos::new(scene.at(21)), &scene.key("price")),
        closed
    );
    let view = runtime.block_on(circuits.circuit(&opening, Some(UnixNanos::new(scene.at(30)))));
    let view = view.expect("reads").value.expect("is there");
    let success = (21..=30).map(|second| 3 * (5 + second)).sum::<u64>();
    assert_eq!((view.calls.success, view.calls.timeout), (success, 15));
    assert_eq!(view.last_opened_by, Some(TraceId::from_bytes([7; 16])));
    assert_eq!(view.settings.slow_call_rate_percent, Some(33.3));
    transitions(circuits, scene, runtime);
    history(circuits, scene, runtime);
}

fn transitions(circuits: &Circuits, scene: &Scene, runtime: &Runtime) {
    let newest = |key: Option<&CircuitKey>, limit| {
        let found = circuits.transitions(key, TimeRange::ALL, limit);
        let found = runtime.block_on(found).expect("reads");
        assert!(found.missing.is_none());
        found.value
    };
    let of_scene = |found: Vec<CircuitTransition>| {
        let of_scene = found.into_iter().filter(|t| t.key.service == scene.service);
        of_scene.collect::<Vec<_>>()
    };
    let all = of_scene(newest(None, 100));
    assert_eq!(all.len(), 4);
    assert_eq!(all[0].key, scene.opening());
    assert_eq!(newest(Some(&scene.opening()), 1), all[..1]);
    let of_price = newest(Some(&scene.key("price")), 9);
    let states: Vec<_> = of_price.iter().map(|transition| transition.to).collect();
    use EffectiveState::{Closed, HalfOpen, Open};
    assert_eq!(states, [Closed, HalfOpen, Open], "newest first");
}

fn history(circuits: &Circuits, scene: &Scene, runtime: &Runtime) {
    let history = |start, end, slices| {
        let range = TimeRange { start, end };
        let key = scene.opening();
        let history = circuits.history(&key, range, slices);
        let history = runtime.block_on(history).expect("reads");
        assert!(history.missing.is_none());
        history.value
    };
    let fine = history(UnixNanos::new(scene.begin), UnixNanos::new(scene.at(40)), 4);
    let calls: Vec<u64> = fine.buckets.iter().map(|b| b.calls.timeout).collect();
    assert_eq!(calls, [15; 4]);
    let hour = scene.begin / HOUR * HOUR;
    let hours = history(UnixNanos::new(hour - HOUR), UnixNanos::new(hour), 60);
    let calls: u64 = hours.buckets.iter().map(|b| b.calls.success).sum();
    assert_eq!(calls, 42);
    let two_minutes = StateSpan {
        state: EffectiveState::HalfOpen,
        start: UnixNanos::new(hour - 120 * SECOND),
        end: UnixNanos::new(hour),
    };
    assert_eq!(hours.states, [two_minutes]);
}

fn key_of(record: &SeriesRecord) -> Option<&CircuitKey> {
    match record {
        SeriesRecord::Sample(record) => Some(&record.key),
        SeriesRecord::Transition(record) => Some(&record.key),
        SeriesRecord::Settings(record) => Some(&record.key),
        SeriesRecord::Standing(record) => Some(&record.key),
        SeriesRecord::Rollup(record) => Some(&record.key),
        _ => None,
    }
}

/// Reads records and sorts them in the suite's order.
pub(crate) fn read(
    reader: &dyn SeriesReader,
    kind: SeriesKind,
    range: TimeRange,
    only: Option<&CircuitKey>,
) -> Vec<SeriesRecord> {
    let mut records = Vec::new();
    reader
        .scan(kind, range, only, &mut |record| records.push(record))
        .expect("reads");
    sorted(records)
}

fn sorted<T: Debug>(mut records: Vec<T>) -> Vec<T> {
    records.sort_by_cached_key(|record| format!("{record:?}"));
    records
}
