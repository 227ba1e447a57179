//! Encodes records. Kinds that come every second or minute have a fixed layout: varints, times relative to
//! the block's start, and a string table per extent (a run of blocks), so that a string is written once, in
//! the first block that uses it. Kinds that may get new fields (transitions, settings, standings) are JSON.
//! `decode` reads both.

use std::collections::HashMap;

use serde::Serialize;

use super::record::{DependencyMinute, RedMinute, Rollup, SeriesRecord};
use crate::model::{CircuitCalls, CircuitKey, CircuitSample, UnixNanos};
use crate::store::bytes::{put_bytes, put_varint};

pub(super) struct Encoder<'a> {
    out: Vec<u8>,
    strings: &'a mut HashMap<String, u64>,
    start: UnixNanos,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(strings: &'a mut HashMap<String, u64>, start: UnixNanos) -> Self {
        let mut encoder = Self {
            out: Vec::with_capacity(1024),
            strings,
            start,
        };
        encoder.uint(encoder.strings.len() as u64);
        encoder
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn record(&mut self, record: &SeriesRecord) {
        match record {
            SeriesRecord::Sample(record) => self.sample(record),
            SeriesRecord::Transition(record) => self.json(&record.key, record),
            SeriesRecord::Settings(record) => self.json(&record.key, record),
            SeriesRecord::Standing(record) => self.json(&record.key, record),
            SeriesRecord::Control(record) => self.json(record.key(), record),
            SeriesRecord::Registry(record) => self.json(&record.key(), record),
            SeriesRecord::Policy(record) => self.json(&record.key, record),
            SeriesRecord::Address(record) => self.json(&record.key(), record),
            SeriesRecord::Rollup(record) => self.rollup(record),
            SeriesRecord::Red(record) => self.red(record),
            SeriesRecord::Dependency(record) => self.dependency(record),
            SeriesRecord::Instance(record) => {
                self.string(&record.service);
                self.string(&record.id);
                self.uint(record.first_seen.get());
                self.uint(record.last_seen.get());
            }
        }
    }

    fn sample(&mut self, sample: &CircuitSample) {
        self.key(&sample.key);
        self.string(&sample.instance);
        self.uint((sample.time - self.start).as_secs());
        self.out.push(sample.state as u8);
        self.calls(&sample.calls);
        self.uint(u64::from(sample.in_flight));
        self.buckets(&sample.latency_buckets);
    }

    /// Writes a record in JSON: its key, by which readers skip it, and the length-prefixed JSON.
    pub(super) fn json(&mut self, key: &CircuitKey, record: &impl Serialize) {
        self.key(key);
        let json = serde_json::to_string(record).expect("a record is plain data");
        self.text(&json);
    }

    fn rollup(&mut self, rollup: &Rollup) {
        self.key(&rollup.key);
        self.uint(rollup.hour.get());
        self.uint(rollup.minutes.len() as u64);
        for minute in &rollup.minutes {
            self.out.push(minute.minute);
            self.out.push(minute.state as u8);
            self.calls(&minute.calls);
        }
    }

    fn red(&mut self, red: &RedMinute) {
        self.string(&red.service);
        self.string(&red.operation);
        self.uint(red.minute.get());
        self.uint(red.calls);
        self.uint(red.errors);
        self.buckets(&red.latency_buckets);
    }

    fn dependency(&mut self, link: &DependencyMinute) {
        self.string(&link.parent);
        self.string(&link.child);
        self.out.push(u8::from(link.child_is_virtual));
        self.uint(link.minute.get());
        self.uint(link.calls);
        self.uint(link.errors);
        self.uint(link.circuits.len() as u64);
        for key in &link.circuits {
            self.key(key);
        }
    }

    fn key(&mut self, key: &CircuitKey) {
        self.string(&key.service);
        self.string(&key.name);
    }

    /// Writes a bit mask of the nonzero counts, then these counts.
    fn calls(&mut self, calls: &CircuitCalls) {
        let counts = calls.in_order();
        let present = |mask, (at, count): (usize, &u64)| mask | (u64::from(*count > 0) << at);
        self.uint(counts.iter().enumerate().fold(0, present));
        for count in counts.into_iter().filter(|count| *count > 0) {
            self.uint(count);
        }
    }

    fn buckets(&mut self, buckets: &[(i32, u64)]) {
        self.uint(buckets.len() as u64);
        let mut before = 0;
        for (index, count) in buckets {
            self.uint(zigzag(i64::from(*index) - before));
            self.uint(*count);
            before = i64::from(*index);
        }
    }

    /// Writes an interned string: its number, or 0 and the text the first time.
    fn string(&mut self, text: &str) {
        if let Some(number) = self.strings.get(text) {
            let number = *number;
            return self.uint(number);
        }
        let number = self.strings.len() as u64 + 1;
        self.strings.insert(text.to_owned(), number);
        self.out.push(0);
        self.text(text);
    }

    fn text(&mut self, text: &str) {
        put_bytes(&mut self.out, text.as_bytes());
    }

    fn uint(&mut self, number: u64) {
        put_varint(&mut self.out, number);
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}
