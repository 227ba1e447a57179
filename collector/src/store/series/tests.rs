//! The journal: what was acknowledged comes back, whatever happens to the file's end or middle.

use std::collections::HashMap;
use std::fs;

use fusebox::circuit_breaker::{EffectiveState, OverrideKind};
use fusebox::control::Action;
use opentelemetry::{SpanId, TraceId};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::log::Position;
use crate::model::policy::{PolicyCount, PolicyRecord, PolicyValue};
use crate::model::{
    CircuitCalls, CircuitSample, CircuitSettings, CircuitTransition, ControlRecord, OperatorChange,
    OverrideView, OwnWindow, Provenance, RegistryEntry, RegistryEvent, Source, UnixNanos,
};

const SECOND: u64 = 1_000_000_000;
const T0: u64 = 1_795_397_400 * SECOND;
const WEEK: Duration = Duration::from_secs(7 * 86_400);

fn open(dir: &Path) -> (SeriesLog, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let log = SeriesLog::open_with(dir, WEEK, Duration::ZERO, Arc::clone(&counters)).unwrap();
    (log, counters)
}

fn key(name: &str) -> CircuitKey {
    CircuitKey {
        service: "product-page".to_owned(),
        name: name.to_owned(),
    }
}

fn sample(name: &str, second: u64) -> SeriesRecord {
    SeriesRecord::Sample(CircuitSample {
        key: key(name),
        instance: format!("instance-{}", second % 3),
        time: UnixNanos::new(T0 + second * SECOND),
        state: EffectiveState::ALL[second as usize % 7],
        calls: CircuitCalls {
            success: 90 + second,
            timeout: second % 2,
            fallback_failure: u64::MAX,
            ..CircuitCalls::default()
        },
        in_flight: 3,
        latency_buckets: vec![(-40, 80), (-39, 10), (3, 1)],
    })
}

fn standing(second: u64, time: u64) -> Standing {
    Standing {
        key: key("inventory"),
        instance: "a".to_owned(),
        time: UnixNanos::new(time),
        source: Source::Fusebox,
        target: "inventory".to_owned(),
        state: EffectiveState::Open,
        since: UnixNanos::new(time - 5),
        retry_at: None,
        reason: "failed".to_owned(),
        provenance: Provenance::Reported,
        opened_by: None,
        opened_at: Some(UnixNanos::new(3)),
        outage: None,
        in_flight: 1,
        first_seen: UnixNanos::new(T0),
        last_seen: UnixNanos::new(time - 7),
        interval_ms: 1_000,
        own_window: Some(OwnWindow {
            failure_percent: Some(50.0),
            slow_percent: None,
            calls: Some(10),
        }),
        totals: Some(Totals {
            second,
            of_second: CircuitCalls::default(),
            beyond: CircuitCalls::default(),
            series: vec![SeriesTotal {
                kind: 1,
                series: u64::MAX,
                start: UnixNanos::new(T0),
                time: UnixNanos::new(time),
                count: 42,
            }],
        }),
    }
}

fn address(time: u64) -> SeriesRecord {
    SeriesRecord::Address(AddressRecord {
        address: "10.0.0.7:8080".to_owned(),
        service: "cart".to_owned(),
        since: UnixNanos::new(time),
        seen: UnixNanos::new(time),
    })
}

fn registration(time: u64) -> SeriesRecord {
    SeriesRecord::Registry(Box::new(RegistryEntry {
        service: "cart".to_owned(),
        instance: "a".to_owned(),
        time: UnixNanos::new(time),
        event: RegistryEvent::Left,
        detail: String::new(),
        by: String::new(),
        reason: "it was replaced".to_owned(),
        state: None,
    }))
}

fn one_of_each(second: u64) -> Vec<SeriesRecord> {
    let time = T0 + second * SECOND;
    let transition = CircuitTransition {
        key: key("inventory"),
        instance: "a".to_owned(),
        time: UnixNanos::new(time + 123_456_789),
        from: EffectiveState::Closed,
        to: EffectiveState::Open,
        reason: "52 % of 118 calls failed in 10 s (limit 50 %)".to_owned(),
        provenance: Provenance::Reported,
        open_until: Some(UnixNanos::new(time + 5 * SECOND)),
        trace_id: Some(TraceId::from_bytes([7; 16])),
        span_id: Some(SpanId::from_bytes([8; 8])),
    };
    let settings = SettingsRecord {
        key: key("inventory"),
        instance: "a".to_owned(),
        time: UnixNanos::new(time),
        settings: CircuitSettings {
            group: "stock".to_owned(),
            window_ms: Some(10_000),
            failure_rate_percent: Some(50.0),
            ..CircuitSettings::default()
        },
        forced: Some(OverrideView {
            kind: OverrideKind::ForcedOpen,
            reason: "outage".to_owned(),
            expires: None,
        }),
    };
    let [rollup, red, dependency] = minutes(time);
    vec![
        sample("inventory", second),
        SeriesRecord::Transition(transition),
        SeriesRecord::Settings(settings),
        SeriesRecord::Standing(standing(second, time)),
        rollup,
        red,
        dependency,
        SeriesRecord::Instance(InstanceRecord {
            service: "cart".to_owned(),
            id: "cart-1".to_owned(),
            first_seen: UnixNanos::new(T0),
            last_seen: UnixNanos::new(time),
        }),
        SeriesRecord::Control(ControlRecord::Change(OperatorChange {
            subject: Default::default(),
            id: second,
            key: key("inventory"),
            action: Action::ForceOpen,
            reason: "the disk is full".to_owned(),
            by: "Ada".to_owned(),
            time: UnixNanos::new(time),
            expires: Some(UnixNanos::new(time + 5 * SECOND)),
            instances: vec!["a".to_owned()],
            settings: None,
            stored: None,
        })),
        registration(time),
        SeriesRecord::Policy(Box::new(PolicyRecord {
            key: key("warehouse"),
            kind: "pool".to_owned(),
            instance: "a".to_owned(),
            time: UnixNanos::new(time),
            last_seen: UnixNanos::new(time - 3),
            values: [("active".to_owned(), PolicyValue { now: 2, peak: 7 })].into(),
            counts: [("executed".to_owned(), count(second))].into(),
            callers: [("stock".to_owned(), count(1))].into(),
        })),
        address(time),
    ]
}

fn count(total: u64) -> PolicyCount {
    PolicyCount {
        start: UnixNanos::new(T0),
        total,
        last_10_s: 1,
    }
}

fn minutes(time: u64) -> [SeriesRecord; 3] {
    let rollup = Rollup {
        key: key("inventory"),
        hour: UnixNanos::new(time),
        minutes: vec![RollupMinute {
            minute: 59,
            calls: CircuitCalls::default(),
            state: EffectiveState::HalfOpen,
        }],
    };
    let red = RedMinute {
        service: "cart".to_owned(),
        operation: "GET /cart".to_owned(),
        minute: UnixNanos::new(time),
        calls: 5,
        errors: 1,
        latency_buckets: vec![(-240, 2), (135, 3)],
    };
    let dependency = DependencyMinute {
        parent: "cart".to_owned(),
        child: "price".to_owned(),
        child_is_virtual: true,
        minute: UnixNanos::new(time),
        calls: 5,
        errors: 1,
        circuits: vec![key("price"), key("inventory")],
    };
    [
        SeriesRecord::Rollup(rollup),
        SeriesRecord::Red(red),
        SeriesRecord::Dependency(dependency),
    ]
}

fn all(log: &SeriesLog, kind: SeriesKind, only: Option<&CircuitKey>) -> Vec<SeriesRecord> {
    let mut records = Vec::new();
    log.scan(kind, TimeRange::ALL, only, &mut |record| {
        records.push(record)
    })
    .unwrap();
    records
}

fn file(dir: &TempDir, kind: SeriesKind) -> PathBuf {
    file_path(
        &dir.path().join("series"),
        Day::of(UnixNanos::new(T0)),
        kind,
    )
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_record_comes_back_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let written: Vec<Vec<SeriesRecord>> = (0..200).step_by(40).map(one_of_each).collect();
    let (log, _) = open(dir.path());
    for records in &written {
        log.append(records.clone()).await.unwrap();
    }
    for _ in 0..2 {
        let (log, counters) = open(dir.path());
        for (at, kind) in SeriesKind::ALL.into_iter().enumerate() {
            let expected: Vec<_> = written.iter().map(|records| records[at].clone()).collect();
            assert_eq!(all(&log, kind, None), expected, "{kind:?}");
        }
        assert!(counters.incidents.all().is_empty());
    }
}

/// Returns the records in the files of `fixtures/positional`.
fn fixture_records() -> Vec<SeriesRecord> {
    let run = |run: u64| {
        let time = T0 + (run * 120 + 90) * SECOND;
        let derived = CircuitTransition {
            key: key("inventory"),
            instance: "b".to_owned(),
            time: UnixNanos::new(time),
            from: EffectiveState::Open,
            to: EffectiveState::HalfOpen,
            reason: "reported by fusebox".to_owned(),
            provenance: Provenance::Derived,
            open_until: None,
            trace_id: None,
            span_id: None,
        };
        let standing = |instance: &str, reason: &str| {
            SeriesRecord::Standing(Standing {
                key: key("inventory"),
                instance: instance.to_owned(),
                time: UnixNanos::new(time),
                source: Source::Fusebox,
                target: String::new(),
                state: EffectiveState::HalfOpen,
                since: UnixNanos::new(time),
                retry_at: Some(UnixNanos::new(time + SECOND)),
                reason: reason.to_owned(),
                provenance: Provenance::Derived,
                opened_by: Some(TraceId::from_bytes([9; 16])),
                opened_at: None,
                outage: None,
                in_flight: 2,
                first_seen: UnixNanos::new(T0),
                last_seen: UnixNanos::new(time),
                interval_ms: 10_000,
                own_window: None,
                totals: None,
            })
        };
        let settings = SettingsRecord {
            key: key("price"),
            instance: "b".to_owned(),
            time: UnixNanos::new(time),
            settings: count_settings(),
            forced: None,
        };
        let mut records = one_of_each(run * 120);
        records.extend(one_of_each(run * 120 + 61));
        records.push(SeriesRecord::Transition(derived));
        records.push(standing("b", "reported by fusebox"));
        records.push(standing("c", ""));
        records.push(SeriesRecord::Settings(settings));
        records
    };
    [run(0), run(1)].concat()
}

fn count_settings() -> CircuitSettings {
    CircuitSettings {
        window_calls: Some(100),
        minimum_calls: Some(20),
        failure_rate_percent: Some(33.5),
        slow_call_rate_percent: Some(75.0),
        slow_call_duration_ms: Some(800),
        open_duration_ms: Some(5_000),
        half_open_probes: Some(3),
        timeout_ms: Some(1_000),
        max_concurrent: Some(10),
        ..CircuitSettings::default()
    }
}

/// Copies the journal of an earlier build.
fn journal_of(fixture: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/series/fixtures");
    let day = dir.path().join("series/2026-11-23");
    fs::create_dir_all(&day).unwrap();
    for file in fs::read_dir(fixtures.join(fixture)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), day.join(file.file_name())).unwrap();
    }
    dir
}

/// Returns the records of `fixtures/positional`, written before there was JSON.
fn positional_records() -> Vec<SeriesRecord> {
    use SeriesKind::{Address, Control, Policy, Registry};
    let mut records = fixture_records();
    for record in &mut records {
        if let SeriesRecord::Standing(standing) = record {
            (standing.own_window, standing.totals) = (None, None);
        }
    }
    records.retain(|record| !matches!(record.kind(), Control | Registry | Policy | Address));
    records
}

/// Checks that a journal has these records, also after this build appended to its files.
async fn reads_and_appends(dir: &TempDir, mut records: Vec<SeriesRecord>) {
    for _ in 0..2 {
        let (log, counters) = open(dir.path());
        for kind in SeriesKind::ALL {
            let of_kind = records.iter().filter(|record| record.kind() == kind);
            let expected: Vec<_> = of_kind.cloned().collect();
            assert_eq!(all(&log, kind, None), expected, "{kind:?}");
        }
        assert!(counters.incidents.all().is_empty());
        let later = one_of_each(records.len() as u64 * 10);
        log.append(later.clone()).await.unwrap();
        records.extend(later);
    }
}

/// Scenario: transitions, settings and standings of a journal have the format of builds before JSON.
/// Guarantees: every record is read; fields that were not stored then are zero, and the provenance is derived
/// from the reason.
#[tokio::test(start_paused = true)]
async fn a_journal_of_an_earlier_build_is_read() {
    reads_and_appends(&journal_of("positional"), positional_records()).await;
}

/// Scenario: a journal that the build before this one wrote, which stored neither policies nor addresses.
#[tokio::test(start_paused = true)]
async fn a_journal_without_policies_is_read() {
    let mut records = positional_records();
    for _ in 0..2 {
        let mut later = one_of_each(records.len() as u64 * 10);
        let is_newer = |kind| matches!(kind, SeriesKind::Policy | SeriesKind::Address);
        later.retain(|record| !is_newer(record.kind()));
        records.extend(later);
    }
    reads_and_appends(&journal_of("without_policies"), records).await;
}

/// Guarantees: this build reads records of later builds with an additional setting, and of earlier ones with
/// a setting less.
#[test]
fn settings_with_a_field_more_or_less_are_read() {
    let settings = SettingsRecord {
        key: key("inventory"),
        instance: "a".to_owned(),
        time: UnixNanos::new(T0),
        settings: count_settings(),
        forced: None,
    };
    let mut json = serde_json::to_value(&settings).unwrap();
    json["settings"]["added_later"] = serde_json::json!({"secs": 1});
    json["added_later"] = serde_json::json!([1, 2]);
    json["settings"]
        .as_object_mut()
        .unwrap()
        .remove("fallback_max_concurrent");
    let mut strings = HashMap::new();
    let mut encoder = encode::Encoder::new(&mut strings, UnixNanos::new(T0));
    encoder.json(&settings.key, &json);
    encoder.json(&settings.key, &settings);
    let bytes = encoder.finish();
    let mut strings = Vec::new();
    let mut decoder = decode::Decoder::new(&bytes, &mut strings, T0, None).unwrap();
    for _ in 0..2 {
        match decoder.record(SeriesKind::Settings, true) {
            Some(decode::Decoded::Record(record)) => {
                assert_eq!(record, SeriesRecord::Settings(settings.clone()));
            }
            _ => panic!("no record"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_finds_its_range_and_its_breaker_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    for second in 0..300 {
        let records = vec![sample("inventory", second), sample("price", second)];
        log.append(records).await.unwrap();
    }
    let range = TimeRange {
        start: UnixNanos::new(T0 + 100 * SECOND),
        end: UnixNanos::new(T0 + 220 * SECOND),
    };
    let mut found = Vec::new();
    let keep = &mut |record| found.push(record);
    log.scan(SeriesKind::Sample, range, Some(&key("price")), keep)
        .unwrap();
    let expected: Vec<_> = (100..220).map(|second| sample("price", second)).collect();
    assert_eq!(found, expected);
    let latest = log.latest(SeriesKind::Sample).unwrap();
    assert_eq!(latest, Some(UnixNanos::new(T0 + 299 * SECOND)));
    assert!(log.stats().extents < 8, "an extent lasts a minute");
}

#[tokio::test(start_paused = true)]
async fn appends_that_wait_together_share_a_block() {
    let dir = tempfile::tempdir().unwrap();
    let counters = Arc::new(Counters::default());
    let linger = Duration::from_millis(200);
    let log = SeriesLog::open_with(dir.path(), WEEK, linger, counters).unwrap();
    let names: Vec<String> = (0..20).map(|name| name.to_string()).collect();
    let appends = names.iter().map(|name| log.append(vec![sample(name, 1)]));
    for result in futures_util::future::join_all(appends).await {
        result.unwrap();
    }
    let bytes = fs::read(file(&dir, SeriesKind::Sample)).unwrap();
    let first = block::Header::read(&bytes).unwrap();
    assert_eq!(first.block_bytes(), bytes.len() as u64);
    assert_eq!(all(&log, SeriesKind::Sample, None).len(), 20);
}

/// Scenario: the hint beside a file is complete, truncated at any byte, of another file, or missing.
/// Guarantees: every record is found, also after the next append.
#[tokio::test(start_paused = true)]
async fn the_hint_is_only_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    for minute in 0..5 {
        log.append(vec![sample("inventory", minute * 70)])
            .await
            .unwrap();
    }
    drop(log);
    let hint = file(&dir, SeriesKind::Sample).with_extension("idx");
    let whole = fs::read(&hint).unwrap();
    assert_eq!(whole.len(), 4 * 44);
    let mut expected = 5;
    for end in (0..=whole.len()).step_by(11) {
        fs::write(&hint, &whole[..end]).unwrap();
        let (log, counters) = open(dir.path());
        assert_eq!(all(&log, SeriesKind::Sample, None).len(), expected, "{end}");
        log.append(vec![sample("inventory", 350)]).await.unwrap();
        expected += 1;
        assert_eq!(all(&log, SeriesKind::Sample, None).len(), expected);
        assert!(counters.incidents.all().is_empty());
    }
    fs::write(&hint, vec![3; 500]).unwrap();
    let (log, _) = open(dir.path());
    assert_eq!(all(&log, SeriesKind::Sample, None).len(), expected);
    drop(log);
    // The file is shorter than its hint says.
    let path = file(&dir, SeriesKind::Sample);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (log, _) = open(dir.path());
    assert!(all(&log, SeriesKind::Sample, None).len() >= 4);
    fs::remove_file(&hint).unwrap();
    let (log, _) = open(dir.path());
    assert!(all(&log, SeriesKind::Sample, None).len() >= 4);
}

#[tokio::test(start_paused = true)]
async fn damage_in_the_middle_costs_its_block_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    for second in 0..6 {
        log.append(vec![sample("inventory", second)]).await.unwrap();
    }
    drop(log);
    let path = file(&dir, SeriesKind::Sample);
    let bytes = fs::read(&path).unwrap();
    let first = block::Header::read(&bytes).unwrap().block_bytes() as usize;
    let len = block::Header::read(&bytes[first..]).unwrap().block_bytes() as usize;
    for at in first..first + len {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        fs::write(&path, &damaged).unwrap();
        let (log, counters) = open(dir.path());
        let found = all(&log, SeriesKind::Sample, None);
        // The second block introduced `instance-1`, which the fifth uses too.
        let kept = [0, 2, 3, 5].map(|second| sample("inventory", second));
        assert_eq!(found, kept, "byte {at}");
        assert!(!counters.incidents.all().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn whole_days_leave_after_the_retention() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    for day in 0..9 {
        log.append(one_of_each(day * 86_400)).await.unwrap();
    }
    log.enforce_retention(UnixNanos::new(T0 + 8 * 86_400 * SECOND))
        .unwrap();
    let folders = fs::read_dir(dir.path().join("series")).unwrap().count();
    assert_eq!(
        (folders, all(&log, SeriesKind::Standing, None).len()),
        (8, 8)
    );
    let (log, _) = open(dir.path());
    assert_eq!(all(&log, SeriesKind::Sample, None).len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_refuses_is_an_error_for_all_who_wait() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    fs::remove_dir_all(dir.path().join("series")).unwrap();
    fs::write(dir.path().join("series"), "a file in the way").unwrap();
    let error = log.append(one_of_each(1)).await.unwrap_err();
    assert!(error.to_string().starts_with("could not create"), "{error}");
    fs::remove_file(dir.path().join("series")).unwrap();
    log.append(one_of_each(1)).await.unwrap();
    assert_eq!(all(&log, SeriesKind::Red, None).len(), 1);
}

proptest! {
    #[test]
    fn any_payload_is_decoded_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        kind in 0..9_usize,
        is_json in any::<bool>(),
    ) {
        let mut strings = Vec::new();
        if let Some(mut decoder) = decode::Decoder::new(&bytes, &mut strings, T0, None) {
            while decoder.record(SeriesKind::ALL[kind], is_json).is_some() {}
        }
    }
}

/// Reads everything after a position, in steps.
fn drain(log: &SeriesLog, kind: SeriesKind, position: &mut Position) -> Vec<SeriesRecord> {
    let mut found = Vec::new();
    loop {
        let tail = log.tail(kind, position, 2).unwrap();
        *position = tail.position;
        if tail.items.is_empty() {
            return found;
        }
        found.extend(tail.items);
    }
}

/// Scenario: records arrive block by block, some late and thus in yesterday's file; the position is saved as
/// JSON.
/// Guarantees: each is read once, in order of arrival within its file, with the strings of earlier blocks.
#[tokio::test(start_paused = true)]
async fn a_tail_reads_each_record_once_however_late_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let mut position = Position::default();
    let mut found = Vec::new();
    let mut written = Vec::new();
    let day = 86_400;
    for second in [5, 6, day + 1, 7, day + 2, 3, day + 60, 8] {
        let records = vec![sample("inventory", second), sample("price", second)];
        log.append(records.clone()).await.unwrap();
        written.extend(records);
        if second % 2 == 0 {
            found.extend(drain(&log, SeriesKind::Sample, &mut position));
            let json = serde_json::to_string(&position).unwrap();
            position = serde_json::from_str(&json).unwrap();
        }
    }
    found.extend(drain(&log, SeriesKind::Sample, &mut position));
    let sort = |mut records: Vec<SeriesRecord>| {
        records.sort_by_key(SeriesRecord::time);
        records
    };
    assert_eq!(found.len(), written.len());
    assert_eq!(sort(found), sort(written));
    let (log, _) = open(dir.path());
    assert!(drain(&log, SeriesKind::Sample, &mut position).is_empty());
    log.enforce_retention(UnixNanos::new(T0 + 9 * day * SECOND))
        .unwrap();
    let tail = log.tail(SeriesKind::Sample, &position, 1).unwrap();
    assert_eq!(tail.position, Position::default());
}

#[tokio::test(start_paused = true)]
async fn a_tail_passes_over_damage_and_counts_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    for second in 0..6 {
        log.append(vec![sample("inventory", second)]).await.unwrap();
    }
    let first = log.tail(SeriesKind::Sample, &Position::default(), 1);
    let position = first.unwrap().position;
    let path = file(&dir, SeriesKind::Sample);
    let mut bytes = fs::read(&path).unwrap();
    let block = block::Header::read(&bytes).unwrap().block_bytes() as usize;
    bytes[block + 60] ^= 0x55;
    fs::write(&path, &bytes).unwrap();
    let (log, counters) = open(dir.path());
    let tail = log.tail(SeriesKind::Sample, &position, 100).unwrap();
    // The second block is damaged; it introduced `instance-1`, which the fifth uses too.
    assert_eq!(
        tail.items,
        [2, 3, 5].map(|second| sample("inventory", second))
    );
    let incidents = counters.incidents.all();
    assert_eq!(incidents.get("unreadable_record"), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn a_tail_tells_which_times_got_something_new() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.append(vec![sample("inventory", 1), sample("inventory", 4)])
        .await
        .unwrap();
    let ranges = log.tail_ranges(SeriesKind::Sample, &Position::default(), 10);
    let ranges = ranges.unwrap();
    let range = |from: u64, to: u64| TimeRange {
        start: UnixNanos::new(T0 + from * SECOND),
        end: UnixNanos::new(T0 + to * SECOND + 1),
    };
    assert_eq!(ranges.items, [range(1, 4)]);
    log.append(vec![sample("inventory", 2)]).await.unwrap();
    let ranges = log.tail_ranges(SeriesKind::Sample, &ranges.position, 10);
    assert_eq!(ranges.unwrap().items, [range(2, 2)]);
}

#[test]
fn the_journal_keeps_the_contract_of_readers() {
    use crate::store::contract::series::{check, check_circuits};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (log, counters) = open(dir.path());
    let scene = check(&log, |records| {
        runtime.block_on(log.append(records)).unwrap();
    });
    let now = crate::model::UnixNanos::now().get();
    let circuits = crate::live::circuits::Circuits::with_reader(
        log.clone(),
        Arc::new(log),
        counters,
        UnixNanos::new(now),
    );
    check_circuits(&circuits.unwrap(), &scene, &runtime);
}

/// Scenario: the folder was removed, the position kept.
#[tokio::test(start_paused = true)]
async fn a_position_of_another_file_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    for second in 0..9 {
        log.append(vec![sample("inventory", second)]).await.unwrap();
    }
    let mut position = Position::default();
    assert_eq!(drain(&log, SeriesKind::Sample, &mut position).len(), 9);
    let other = tempfile::tempdir().unwrap();
    let (log, _) = open(other.path());
    log.append(vec![sample("inventory", 10)]).await.unwrap();
    assert_eq!(drain(&log, SeriesKind::Sample, &mut position).len(), 1);
}
