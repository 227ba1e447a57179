//! A journal that cannot be read everywhere: what can be is sent, what cannot is skipped and counted once.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::model::{TimeRange, UnixNanos};
use crate::store::SeriesReader;
use crate::store::series::{InstanceRecord, SeriesKind};

/// A journal with a record of every kind, and its file of one kind.
fn journal_and_file(kind: SeriesKind) -> (Journal, PathBuf) {
    let journal = Journal::new();
    let scene = contract::Scene::new("shop").records();
    let runtime = Runtime::new().unwrap();
    for record in scene {
        runtime.block_on(journal.log.append(vec![record])).unwrap();
    }
    let day = fs::read_dir(journal.dir.path().join("series")).unwrap();
    let folders = day.map(|day| day.unwrap().path());
    let file = folders.map(|day| day.join(format!("{}.log", kind.file_stem())));
    let file = file.filter(|file| file.exists()).max().unwrap();
    (journal, file)
}

/// Returns all lines of a lane, and how often it failed on the way.
fn lines(lane: &mut SeriesLane) -> (Vec<String>, u32) {
    let (mut lines, mut failures) = (Vec::new(), 0);
    while failures < 20 {
        match lane.next(UnixNanos::new(UnixNanos::now().get())) {
            Ok(Some(batch)) => {
                let of_journal = |line: &&str| !line.starts_with("collector,");
                lines.extend(batch.lines.lines().filter(of_journal).map(str::to_owned));
            }
            Ok(None) => break,
            Err(_) => failures += 1,
        }
    }
    lines.sort();
    (lines, failures)
}

fn unreadable(journal: &Journal) -> Option<u64> {
    let incidents = journal.counters.incidents.all();
    incidents.get("unreadable_series").copied()
}

/// Scenario: the file of one kind becomes unreadable.
/// Guarantees: the other kinds are sent at once; after a while that file is given up and counted once, and
/// later records are sent.
#[test]
fn a_file_that_cannot_be_read_holds_up_nothing() {
    let cases: [(SeriesKind, &[&str]); 5] = [
        (
            SeriesKind::Transition,
            &["circuit_event,", "circuit_state,"],
        ),
        (SeriesKind::Standing, &["circuit_state,"]),
        (SeriesKind::Dependency, &["dep,"]),
        (SeriesKind::Red, &["red,", "red_"]),
        (
            SeriesKind::Sample,
            &["circuit,", "circuit_10s,", "circuit_5m,"],
        ),
    ];
    for (kind, lost) in cases {
        let (journal, file) = journal_and_file(kind);
        let (whole, _) = lines(&mut journal.lane("abc123"));
        take_away(&file);
        let mut lane = journal.lane("abc123");
        let (first, failures) = lines(&mut lane);
        assert_eq!((failures, unreadable(&journal)), (20, None), "{kind:?}");
        let others = |lines: &[String]| -> Vec<String> {
            let is_other = |line: &&String| !lost.iter().any(|name| line.starts_with(name));
            lines.iter().filter(is_other).cloned().collect()
        };
        assert!(others(&first) == others(&whole), "{kind:?}");
        journal.log.give_up_after(Duration::ZERO);
        assert!(lines(&mut lane).1 < 20, "{kind:?}: it is given up");
        let given_up = unreadable(&journal);
        assert!(given_up.is_some_and(|places| places > 0), "{kind:?}");
        assert_eq!(lines(&mut lane), (Vec::new(), 0), "{kind:?}");
        let read = journal.log.scan(kind, TimeRange::ALL, None, &mut |_| {});
        assert!(read.is_ok() && unreadable(&journal) == given_up);
    }
}

/// Replaces a file by a folder, which cannot be read; returns where the file is.
fn take_away(file: &Path) -> PathBuf {
    let aside = file.with_extension("aside");
    fs::rename(file, &aside).unwrap();
    fs::create_dir(file).unwrap();
    aside
}

/// Scenario: a file is temporarily unreadable.
/// Guarantees: nothing of it is skipped.
#[test]
fn a_passing_failure_costs_nothing() {
    let (journal, file) = journal_and_file(SeriesKind::Transition);
    let (whole, _) = lines(&mut journal.lane("abc123"));
    let aside = take_away(&file);
    let mut lane = journal.lane("abc123");
    let (mut sent, failures) = lines(&mut lane);
    assert!(failures > 0);
    fs::remove_dir(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    let (rest, failures) = lines(&mut lane);
    sent.extend(rest);
    sent.sort();
    assert!(sent == whole && failures == 0);
    assert_eq!(unreadable(&journal), None);
}

/// Scenario: the end of a file is missing, or a byte of it changed.
/// Guarantees: the readable part is sent, and the damage is counted once.
#[test]
fn what_can_be_read_of_a_damaged_file_is_sent() {
    type Damage = fn(&mut Vec<u8>);
    let truncated: Damage = |bytes| bytes.truncate(bytes.len() - 1);
    let header: Damage = |bytes| bytes[0] ^= 0xff;
    let payload: Damage = |bytes| *bytes.last_mut().unwrap() ^= 0xff;
    for (damage, left) in [(truncated, 0..8), (header, 1..9), (payload, 0..8)] {
        let (journal, file) = journal_and_file(SeriesKind::Instance);
        let mut lane = journal.lane("abc123");
        lines(&mut lane);
        let begin = fs::metadata(&file).unwrap().len() as usize;
        // Of the scene's day, so that they go into its file.
        let day = contract::Scene::new("shop").at(4);
        (0..9).for_each(|number| add(&journal, number, day + number));
        let mut bytes = fs::read(&file).unwrap();
        let mut fresh = bytes.split_off(begin);
        damage(&mut fresh);
        bytes.extend(fresh);
        fs::write(&file, &bytes).unwrap();
        journal.log.give_up_after(Duration::ZERO);
        let sent = lines(&mut lane).0;
        let wanted: Vec<_> = left.map(|number| format!("inst=pod-{number},")).collect();
        assert_eq!(sent.len(), wanted.len(), "{sent:?}");
        assert!(
            sent.iter()
                .zip(&wanted)
                .all(|(line, name)| line.contains(name))
        );
        assert_eq!(lines(&mut lane), (Vec::new(), 0));
        assert_eq!(unreadable(&journal), Some(1));
    }
}

fn add(journal: &Journal, number: u64, at: u64) {
    let record = SeriesRecord::Instance(InstanceRecord {
        service: format!("service-{number}"),
        id: format!("pod-{number}"),
        first_seen: UnixNanos::new(at),
        last_seen: UnixNanos::new(at),
    });
    let runtime = Runtime::new().unwrap();
    runtime.block_on(journal.log.append(vec![record])).unwrap();
}

/// Scenario: several places of a file were given up; then the file is readable again, and later fails once.
/// Guarantees: that failure is retried like a first one.
#[test]
fn a_file_that_can_be_read_again_is_trusted_again() {
    let (journal, file) = journal_and_file(SeriesKind::Instance);
    let mut lane = journal.lane("abc123");
    lines(&mut lane);
    let base = contract::Scene::new("shop").at(4);
    let minutes = |number: u64| base + number * 61_000_000_000;
    (0..4).for_each(|number| add(&journal, number, minutes(number)));
    let aside = take_away(&file);
    journal.log.give_up_after(Duration::ZERO);
    lines(&mut lane);
    assert!(unreadable(&journal).is_some_and(|places| places >= 3));
    let given_back = || {
        fs::remove_dir(&file).unwrap();
        fs::rename(&aside, &file).unwrap();
    };
    given_back();
    journal.log.give_up_after(Duration::from_secs(30));
    add(&journal, 4, minutes(4));
    assert_eq!(lines(&mut lane).0.len(), 1);
    add(&journal, 5, minutes(5));
    take_away(&file);
    // Every ten seconds the collector's own point goes first.
    while let Ok(batch) = lane.next(UnixNanos::new(UnixNanos::now().get())) {
        let batch = batch.expect("the file cannot be read");
        assert!(batch.lines.starts_with("collector,"), "{}", batch.lines);
    }
    given_back();
    let (sent, failures) = lines(&mut lane);
    assert_eq!((sent.len(), failures), (1, 0));
}
