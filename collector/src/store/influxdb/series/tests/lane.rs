//! What the lane writes: by the schema, the same each time, nothing overwritten, late ones too.

use std::collections::BTreeSet;

use fusebox::circuit_breaker::EffectiveState;

use super::*;
use crate::codec::circuits::policy_words;
use crate::model::{
    CircuitCalls, CircuitKey, CircuitSample, MINUTE, SECOND, TimeRange, UnixNanos, nanos,
};
use crate::store::SeriesReader;
use crate::store::influxdb::schema::{ALL, FieldType, POLICY};
use crate::store::influxdb::wire::query::Cell;
use crate::store::series::SeriesKind;

fn lines(lane: &mut SeriesLane) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(batch) = lane.next(UnixNanos::new(UnixNanos::now().get())).unwrap() {
        assert_eq!(batch.points, batch.lines.lines().count() as u64);
        lines.extend(batch.lines.lines().map(str::to_owned));
    }
    lines
}

/// Splits at a character, except after a backslash or within quotes.
fn split(text: &str, at: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut escaped, mut quoted) = (false, false);
    for c in text.chars() {
        let last = parts.last_mut().unwrap();
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            c if c == at && !quoted => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        last.push(c);
    }
    parts
}

fn append(journal: &Journal, records: Vec<SeriesRecord>) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(journal.log.append(records)).unwrap();
}

#[test]
fn every_line_is_as_the_schema_says_and_every_field_is_written() {
    let journal = Journal::new();
    append(&journal, contract::Scene::new("shop").records());
    let mut written: BTreeSet<(String, String)> = BTreeSet::new();
    for line in lines(&mut journal.lane("abc123")) {
        let parts = split(&line, ' ');
        let [series, fields, time] = parts.as_slice() else {
            panic!("{line}");
        };
        assert!(time.parse::<u64>().is_ok());
        let mut tags = split(series, ',').into_iter();
        let name = tags.next().unwrap();
        let measurement = ALL
            .iter()
            .find(|m| m.name == name)
            .expect("is in the schema");
        let keys: Vec<String> = tags.map(|tag| split(&tag, '=')[0].clone()).collect();
        let known = keys
            .iter()
            .all(|key| measurement.tags.contains(&key.as_str()));
        assert!(known && keys.is_sorted() && keys[0] == "c", "{line}");
        for field in split(fields, ',') {
            let pair = split(&field, '=');
            let found = measurement.fields.iter().find(|f| f.0 == pair[0]);
            let kind = found.expect("the field is in the schema").1;
            let wanted = match pair[1].as_bytes() {
                [b'"', ..] => FieldType::String,
                [b't' | b'f'] => FieldType::Bool,
                [.., b'i'] => FieldType::Int,
                _ => FieldType::Float,
            };
            assert_eq!(kind, wanted, "{field}");
            written.insert((name.clone(), pair[0].clone()));
        }
    }
    let of_other_lanes = |name: &&str| name.starts_with("span") || *name == "log";
    for measurement in ALL.iter().filter(|m| !of_other_lanes(&m.name)) {
        for (field, _) in measurement.fields {
            let is_written = written.contains(&(measurement.name.to_owned(), (*field).to_owned()));
            assert!(is_written, "{}.{field}", measurement.name);
        }
    }
}

#[test]
fn every_figure_of_a_policy_has_a_field() {
    for word in policy_words() {
        let field = (word, FieldType::Int);
        assert!(POLICY.fields.contains(&field), "{word}");
    }
    assert!(POLICY.fields.is_sorted_by_key(|field| field.0));
}

/// Scenario: the collector dies after any request; its position was saved some requests earlier.
/// Guarantees: it sends the same lines again.
#[test]
fn the_same_journal_gives_the_same_lines_from_any_saved_position() {
    let journal = Journal::new();
    append(&journal, contract::Scene::new("shop").records());
    let of_journal = |lines: Vec<String>| {
        let own = lines
            .into_iter()
            .filter(|line| !line.starts_with("collector,"));
        own.collect::<BTreeSet<_>>()
    };
    let all = of_journal(lines(&mut journal.lane("abc123")));
    let mut lane = journal.lane("abc123");
    let mut before = BTreeSet::new();
    loop {
        let position = lane.position();
        let Some(batch) = lane.next(UnixNanos::new(UnixNanos::now().get())).unwrap() else {
            break;
        };
        let mut again = journal.lane_at("abc123", Some(position));
        let rest = of_journal(lines(&mut again));
        let both: BTreeSet<_> = before.union(&rest).cloned().collect();
        assert_eq!(both, all);
        before.extend(of_journal(batch.lines.lines().map(str::to_owned).collect()));
    }
    assert_eq!(before, all);
}

fn sample(instance: &str, second: u64, success: u64) -> SeriesRecord {
    let minute = UnixNanos::now().get() / nanos(MINUTE) * nanos(MINUTE) - 20 * nanos(MINUTE);
    SeriesRecord::Sample(CircuitSample {
        key: CircuitKey {
            service: "shop".to_owned(),
            name: "stock".to_owned(),
        },
        instance: instance.to_owned(),
        time: UnixNanos::new(minute + second * nanos(SECOND)),
        state: EffectiveState::Closed,
        calls: CircuitCalls {
            success,
            ..CircuitCalls::default()
        },
        in_flight: 0,
        latency_buckets: vec![(-40, success)],
    })
}

/// Scenario: 3,000 instances of a service in the same ten seconds, of which 1,000 have their own tags;
/// samples of one second arrive after their window was written.
/// Guarantees: every call of every instance can be read.
#[test]
fn names_behind_one_tag_and_late_samples_are_all_there() {
    let dir = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(dir.path());
    let server = Server::connect(influxd.options("fusebox"));
    let journal = Journal::new();
    let mut lane = journal.lane("writer");
    let names: Vec<String> = (0..3_000).map(|number| format!("pod-{number}")).collect();
    let early = names.iter().map(|name| sample(name, 3, 1));
    append(&journal, early.collect());
    server.ship(&mut lane);
    let late = names.iter().map(|name| sample(name, 4, 2));
    append(&journal, late.collect());
    server.ship(&mut lane);
    let reader = server.reader("reader");
    let mut calls = 0;
    let mut instances = BTreeSet::new();
    let visit = &mut |record| {
        if let SeriesRecord::Sample(sample) = record {
            calls += sample.calls.success;
            instances.insert(sample.instance);
        }
    };
    let read = reader.scan(SeriesKind::Sample, TimeRange::ALL, None, visit);
    read.unwrap();
    assert_eq!((calls, instances.len()), (9_000, 3_000));
    let total = ask(
        &server,
        "SELECT SUM(\"success\"), MAX(\"p99\"), MAX(\"p995\") FROM \"circuit_10s\"",
    );
    assert_eq!(total[0], 9_000);
    assert!(total[2] >= total[1], "{total:?}");
    let five = ask(
        &server,
        "SELECT SUM(\"success\"), MAX(\"p99\"), MAX(\"p995\") FROM \"circuit_5m\"",
    );
    assert_eq!(five, total);
}

/// Returns the integers of an answer's only row, without the time.
fn ask(server: &Server, query: &str) -> Vec<i64> {
    let query = Query::new(query);
    let series = server
        .runtime
        .block_on(server.client.query(&query))
        .unwrap();
    let row = &series[0].rows[0];
    row[1..].iter().filter_map(|cell| cell.as_int()).collect()
}

/// Scenario: ten seconds of 6,000 instances are being sent in several requests when a breaker opens.
/// Guarantees: the state change is in the next request, and nothing is lost.
#[test]
fn a_transition_goes_before_everything_that_waits() {
    let journal = Journal::new();
    let mut records = contract::Scene::new("shop").records();
    records.retain(|record| record.kind() == SeriesKind::Transition);
    let samples = (0..6_000).map(|number| sample(&format!("pod-{number}"), 3, 1));
    append(&journal, samples.collect());
    let mut lane = journal.lane("abc123");
    let mut next = || {
        let batch = lane.next(UnixNanos::new(UnixNanos::now().get())).unwrap()?;
        Some(batch.lines)
    };
    let first = (0..3)
        .filter_map(|_| next())
        .find(|lines| lines.starts_with("circuit,"));
    let first = first.expect("the samples are on their way");
    append(&journal, records);
    let urgent = next().expect("something waits");
    assert!(urgent.starts_with("circuit_event,"), "{urgent}");
    let rest: String = std::iter::from_fn(next).collect();
    assert!(rest.starts_with("circuit,") && !rest.contains("circuit_event,"));
    let all = [first, rest].concat();
    assert_eq!(all.matches("\ncircuit,").count() + 1, 6_000);
}

#[test]
fn rates_stand_beside_the_thresholds_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(dir.path());
    let server = Server::connect(influxd.options("fusebox"));
    let journal = Journal::new();
    append(&journal, contract::Scene::new("shop").records());
    server.ship(&mut journal.lane("writer"));
    let query = Query::new(
        "SELECT \"failure_rate\", \"failure_threshold\", \"slow_rate\", \"slow_threshold\", \"total\", \"state\" \
         FROM \"circuit_10s\" WHERE \"name\" != 'price' ORDER BY time LIMIT 1",
    );
    let series = server
        .runtime
        .block_on(server.client.query(&query))
        .unwrap();
    let numbers = series[0].rows[0][1..].iter().map(|cell| match cell {
        Cell::Float(number) => *number,
        cell => cell.as_int().unwrap() as f64,
    });
    // Three instances with 100 calls each, 5 of them failed; 15 of the 110 durations are above a second.
    let wanted = [5.0, 50.0, 15.0 / 110.0 * 100.0, 33.3, 300.0, 0.0];
    let near = numbers
        .zip(wanted)
        .all(|(found, wanted)| (found - wanted).abs() < 1e-9);
    assert!(near, "{series:?}");
}

/// Scenario: 1,000 instances of 100 breakers, ten minutes of one second's calls each.
#[test]
#[ignore = "a measurement: run it alone, in release, with --nocapture"]
fn measure_ten_minutes_of_a_thousand_instances() {
    let dir = tempfile::tempdir().unwrap();
    let influxd = Influxd::start(dir.path());
    let server = Server::connect(influxd.options("fusebox"));
    let journal = Journal::new();
    let minute = UnixNanos::now().get() / nanos(MINUTE) * nanos(MINUTE) - 20 * nanos(MINUTE);
    for second in 0..600 {
        let samples = (0..1_000).map(|number| {
            SeriesRecord::Sample(CircuitSample {
                key: CircuitKey {
                    service: format!("service-{}", number % 10),
                    name: format!("breaker-{}", number / 10),
                },
                instance: format!("pod-{number}"),
                time: UnixNanos::new(minute + second * nanos(SECOND)),
                state: EffectiveState::Closed,
                calls: CircuitCalls {
                    success: 50 + second % 7,
                    failure: number % 3,
                    ..CircuitCalls::default()
                },
                in_flight: 3,
                latency_buckets: (0..9).map(|at| (at - 50, 3 + number % 5)).collect(),
            })
        });
        append(&journal, samples.collect());
    }
    let begin = tokio::time::Instant::now();
    let mut lane = journal.lane("writer");
    let (mut points, mut bytes) = (0, 0);
    while let Some(batch) = lane.next(UnixNanos::new(UnixNanos::now().get())).unwrap() {
        (points, bytes) = (points + batch.points, bytes + batch.lines.len());
    }
    eprintln!(
        "{points} points, {bytes} bytes made in {:?}",
        begin.elapsed()
    );
    let begin = tokio::time::Instant::now();
    server.ship(&mut journal.lane("writer"));
    eprintln!("made and written in {:?}", begin.elapsed());
    let reader = server.reader("reader");
    let begin = tokio::time::Instant::now();
    let mut samples = 0;
    let visit = &mut |_| samples += 1;
    let all = reader.scan(SeriesKind::Sample, TimeRange::ALL, None, visit);
    all.unwrap();
    eprintln!("{samples} samples read in {:?}", begin.elapsed());
}
