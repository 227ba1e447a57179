//! Decodes records that `encode` wrote. Invalid bytes end the block and never panic.

mod positional;

use std::sync::Arc;

use fusebox::circuit_breaker::EffectiveState;
use serde::de::DeserializeOwned;

use super::record::{
    DependencyMinute, InstanceRecord, RedMinute, Rollup, RollupMinute, SeriesKind, SeriesRecord,
};
use crate::model::{CircuitCalls, CircuitKey, CircuitSample, SECOND, UnixNanos, nanos};
use crate::store::bytes::Reader;

/// Strings that an extent may have; 256 KiB of blocks cannot hold more.
const MAX_STRINGS: usize = 1 << 20;

/// The strings of an extent so far; `None` if lost with a damaged block.
pub(super) type Strings = Vec<Option<Arc<str>>>;

/// Decodes the records of one block.
pub(super) struct Decoder<'a> {
    reader: Reader<'a>,
    strings: &'a mut Strings,
    start: u64,
    only: Option<&'a CircuitKey>,
}

/// A decoded record: wanted, of another breaker, or with a lost string.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every one is a record, and it moves once"
)]
pub(super) enum Decoded {
    Record(SeriesRecord),
    Other,
    Lost,
}

type Lookup = Option<Arc<str>>;

impl<'a> Decoder<'a> {
    /// `None` if the head of the payload is invalid.
    pub(super) fn new(
        payload: &'a [u8],
        strings: &'a mut Strings,
        start: u64,
        only: Option<&'a CircuitKey>,
    ) -> Option<Self> {
        let mut decoder = Self {
            reader: Reader::new(payload),
            strings,
            start,
            only,
        };
        let known = usize::try_from(decoder.uint()?).ok()?;
        // An earlier block is missing: its strings are lost, but the numbering continues.
        if known > MAX_STRINGS {
            return None;
        }
        decoder.strings.resize(known, None);
        Some(decoder)
    }

    /// Decodes the next record; `None` if the bytes are invalid.
    pub(super) fn record(&mut self, kind: SeriesKind, is_json: bool) -> Option<Decoded> {
        match kind {
            SeriesKind::Sample => self.sample(),
            SeriesKind::Transition if is_json => self.json(SeriesRecord::Transition),
            SeriesKind::Settings if is_json => self.json(SeriesRecord::Settings),
            SeriesKind::Standing if is_json => self.json(SeriesRecord::Standing),
            SeriesKind::Control => self.json(SeriesRecord::Control),
            SeriesKind::Registry => self.json(SeriesRecord::Registry),
            SeriesKind::Policy => self.json(SeriesRecord::Policy),
            SeriesKind::Address => self.json(SeriesRecord::Address),
            SeriesKind::Transition => self.transition(),
            SeriesKind::Settings => self.settings(),
            SeriesKind::Standing => self.standing(),
            SeriesKind::Rollup => self.rollup(),
            SeriesKind::Red => self.red(),
            SeriesKind::Dependency => self.dependency(),
            SeriesKind::Instance => self.instance(),
        }
    }

    fn sample(&mut self) -> Option<Decoded> {
        let key = self.key()?;
        let instance = self.string()?;
        let since_start = self.uint()?.checked_mul(nanos(SECOND))?;
        let time = self.start.checked_add(since_start)?;
        let state = self.state()?;
        let calls = self.calls()?;
        let in_flight = u32::try_from(self.uint()?).ok()?;
        let latency_buckets = self.buckets(self.wanted(&key))?;
        Some(self.decide(key, instance, |key, instance| {
            SeriesRecord::Sample(CircuitSample {
                key,
                instance,
                time: UnixNanos::new(time),
                state,
                calls,
                in_flight,
                latency_buckets,
            })
        }))
    }

    /// Decodes a record in JSON. Unknown fields of a later build are ignored; the JSON does not use the
    /// extent's strings.
    fn json<T: DeserializeOwned>(&mut self, wrap: fn(T) -> SeriesRecord) -> Option<Decoded> {
        let key = self.key()?;
        let json = self.bytes()?;
        if !self.wanted(&key) {
            return Some(Decoded::Other);
        }
        let record = serde_json::from_slice(json);
        Some(record.map_or(Decoded::Lost, |record| Decoded::Record(wrap(record))))
    }

    fn rollup(&mut self) -> Option<Decoded> {
        let key = self.key()?;
        let hour = self.time()?;
        let length = usize::try_from(self.uint()?).ok().filter(|n| *n <= 60)?;
        let mut minutes = Vec::with_capacity(length);
        for _ in 0..length {
            minutes.push(RollupMinute {
                minute: self.byte()?,
                state: self.state()?,
                calls: self.calls()?,
            });
        }
        let service = key.0.clone();
        Some(self.decide(key, service, |key, _| {
            SeriesRecord::Rollup(Rollup { key, hour, minutes })
        }))
    }

    fn red(&mut self) -> Option<Decoded> {
        let service = self.string()?;
        let operation = self.string()?;
        let minute = self.time()?;
        let calls = self.uint()?;
        let errors = self.uint()?;
        let latency_buckets = self.buckets(true)?;
        Some(pair(service, operation, |service, operation| {
            SeriesRecord::Red(RedMinute {
                service,
                operation,
                minute,
                calls,
                errors,
                latency_buckets,
            })
        }))
    }

    fn dependency(&mut self) -> Option<Decoded> {
        let parent = self.string()?;
        let child = self.string()?;
        let child_is_virtual = self.byte()? != 0;
        let minute = self.time()?;
        let calls = self.uint()?;
        let errors = self.uint()?;
        let mut circuits = Vec::new();
        for _ in 0..self.uint()? {
            if let (Some(service), Some(name)) = self.key()? {
                circuits.push(CircuitKey {
                    service: service.to_string(),
                    name: name.to_string(),
                });
            }
        }
        Some(pair(parent, child, |parent, child| {
            SeriesRecord::Dependency(DependencyMinute {
                parent,
                child,
                child_is_virtual,
                minute,
                calls,
                errors,
                circuits,
            })
        }))
    }

    fn instance(&mut self) -> Option<Decoded> {
        let service = self.string()?;
        let id = self.string()?;
        let first_seen = self.time()?;
        let last_seen = self.time()?;
        Some(pair(service, id, |service, id| {
            SeriesRecord::Instance(InstanceRecord {
                service,
                id,
                first_seen,
                last_seen,
            })
        }))
    }

    fn decide(
        &self,
        key: (Lookup, Lookup),
        instance: Lookup,
        build: impl FnOnce(CircuitKey, String) -> SeriesRecord,
    ) -> Decoded {
        if !self.wanted(&key) {
            return Decoded::Other;
        }
        let (Some(service), Some(name), Some(instance)) = (key.0, key.1, instance) else {
            return Decoded::Lost;
        };
        let key = CircuitKey {
            service: service.to_string(),
            name: name.to_string(),
        };
        Decoded::Record(build(key, instance.to_string()))
    }

    fn wanted(&self, key: &(Lookup, Lookup)) -> bool {
        self.only.is_none_or(|only| {
            key.0.as_deref() == Some(&*only.service) && key.1.as_deref() == Some(&*only.name)
        })
    }

    fn key(&mut self) -> Option<(Lookup, Lookup)> {
        Some((self.string()?, self.string()?))
    }

    fn state(&mut self) -> Option<EffectiveState> {
        let byte = self.byte()?;
        EffectiveState::ALL
            .into_iter()
            .find(|state| *state as u8 == byte)
    }

    fn calls(&mut self) -> Option<CircuitCalls> {
        let mask = self.uint()?;
        let mut counts = [0; 9];
        for (at, count) in counts.iter_mut().enumerate() {
            if mask >> at & 1 == 1 {
                *count = self.uint()?;
            }
        }
        Some(calls(counts))
    }

    fn buckets(&mut self, keep: bool) -> Option<Vec<(i32, u64)>> {
        let length = self.uint()?;
        let mut buckets = Vec::new();
        let mut before = 0_i64;
        for _ in 0..length {
            before = before.checked_add(unzigzag(self.uint()?))?;
            let bucket = (i32::try_from(before).ok()?, self.uint()?);
            if keep {
                buckets.push(bucket);
            }
        }
        Some(buckets)
    }

    fn string(&mut self) -> Option<Lookup> {
        match self.uint()? {
            0 => {
                let text: Arc<str> = self.text()?.into();
                self.strings.push(Some(text.clone()));
                Some(Some(text))
            }
            number => self.strings.get(usize::try_from(number).ok()? - 1).cloned(),
        }
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        self.reader.bytes()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.reader.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.reader.byte()
    }

    fn time(&mut self) -> Option<UnixNanos> {
        self.uint().map(UnixNanos::new)
    }

    fn uint(&mut self) -> Option<u64> {
        self.reader.varint()
    }
}

fn pair(
    first: Lookup,
    second: Lookup,
    build: impl FnOnce(String, String) -> SeriesRecord,
) -> Decoded {
    match (first, second) {
        (Some(first), Some(second)) => {
            Decoded::Record(build(first.to_string(), second.to_string()))
        }
        _ => Decoded::Lost,
    }
}

fn calls(counts: [u64; 9]) -> CircuitCalls {
    CircuitCalls {
        success: counts[0],
        failure: counts[1],
        timeout: counts[2],
        rejected: counts[3],
        bulkhead_full: counts[4],
        ignored: counts[5],
        cancelled: counts[6],
        fallback_success: counts[7],
        fallback_failure: counts[8],
    }
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
