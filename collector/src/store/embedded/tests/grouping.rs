//! Filters of groups of segments rule out segments, and never a trace that is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::{EmbeddedStore, ShardWriter, SpanLog};
use super::support::*;
use crate::model::{TimeRange, TraceQuery, UnixNanos};
use crate::store::TraceReader;

/// Seals a segment for each of those traces, each with a trace that all of them share.
fn seal_each(writer: &mut ShardWriter, traces: impl IntoIterator<Item = u64>) {
    for trace in traces {
        write(writer, &[span(trace, 1, "shop"), span(999, trace, "cart")]);
        writer.seal().unwrap();
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("spans/groups")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Returns how many segments may have a trace.
fn listed(store: &EmbeddedStore, trace: u64) -> usize {
    let shortlist = store.catalog.shortlist(&[trace.into()]).unwrap();
    let segments = store.catalog.snapshot();
    segments.iter().filter(|s| shortlist.may_have(s, 0)).count()
}

/// Expects each of those traces to be found by its id, by half of it and by a search.
fn assert_found(store: &EmbeddedStore, traces: std::ops::RangeInclusive<u64>) {
    for trace in traces.clone() {
        let id = span(trace, 1, "shop").trace_id;
        assert_eq!(wait(store.trace(id)).unwrap().unwrap().spans.len(), 1);
        assert_eq!(wait(store.trace_ids_by_low_half(trace)).unwrap(), [id]);
    }
    let shared = wait(store.trace(span(999, 1, "cart").trace_id)).unwrap();
    let count = traces.clone().count();
    assert_eq!(shared.unwrap().spans.len(), count);
    let rows = search_all(store, &TraceQuery::in_range(TimeRange::ALL));
    assert_eq!(rows.len(), count + 1);
    assert_eq!(rows[0].span_count as usize, count);
}

/// *Guarantees*: a lookup asks one segment instead of all, before and after a restart, and finds every trace, also in
/// segments that are in no group yet.
#[test]
fn a_group_rules_out_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    seal_each(&mut writers[0], 1..=8);
    assert_eq!(listed(&store, 3), 8);
    store.group_segments().unwrap();
    seal_each(&mut writers[0], [9]);
    store.group_segments().unwrap();
    assert_eq!(files(dir.path()).len(), 2);
    assert_eq!(listed(&store, 3), 2, "its own and the one in no group");
    assert_eq!(listed(&store, 999), 9);
    assert_found(&store, 1..=9);
    drop((store, writers));
    let (store, _, counters) = open_store(dir.path(), 1);
    assert_eq!(listed(&store, 3), 2);
    assert_found(&store, 1..=9);
    assert!(store.stats().bytes > 2 * 4_096);
    assert!(counters.incidents.all().is_empty());
}

/// *Guarantees*: damage anywhere in a group costs no trace, and the group is written anew.
#[test]
fn a_damaged_group_is_written_anew() {
    for byte in [2, 9, 20, 30, 70, 300, 4_095] {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut writers, _) = open_store(dir.path(), 1);
        seal_each(&mut writers[0], 1..=4);
        store.group_segments().unwrap();
        let file = files(dir.path()).remove(0);
        let mut bytes = fs::read(&file).unwrap();
        bytes[byte] ^= 4;
        fs::write(&file, bytes).unwrap();
        assert_found(&store, 1..=4);
        drop((store, writers));
        let (store, _, _) = open_store(dir.path(), 1);
        assert_found(&store, 1..=4);
        store.group_segments().unwrap();
        assert_eq!(listed(&store, 3), 1, "{byte}");
        assert_found(&store, 1..=4);
    }
}

/// *Guarantees*: neither a group that was cut or extended nor one that is gone hides a trace; it is written anew.
#[test]
fn a_group_of_another_length_is_written_anew() {
    for pages in [-1, 0, 1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut writers, _) = open_store(dir.path(), 1);
        seal_each(&mut writers[0], 1..=4);
        store.group_segments().unwrap();
        let file = files(dir.path()).remove(0);
        let mut bytes = fs::read(&file).unwrap();
        let head = bytes.len() - 4_096;
        match pages {
            -1 => fs::remove_file(&file).unwrap(),
            pages => {
                bytes.resize(head + 4_096 * pages as usize - usize::from(pages == 1), 0);
                fs::write(&file, bytes).unwrap();
            }
        }
        for _ in 0..2 {
            assert_found(&store, 1..=4);
        }
        drop((store, writers));
        let (store, _, _) = open_store(dir.path(), 1);
        assert_found(&store, 1..=4);
        store.group_segments().unwrap();
        assert_eq!(listed(&store, 3), 1, "{pages}");
        assert_found(&store, 1..=4);
        assert_eq!(files(dir.path()).len(), 1);
    }
}

/// *Guarantees*: groups go with their segments. Before that, no new segment gets the number of a deleted one, which its
/// group would rule out.
#[test]
fn groups_are_deleted_with_their_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    seal_each(&mut writers[0], 1..=4);
    store.group_segments().unwrap();
    let late = UnixNanos::now() + Duration::from_secs(8 * 86_400);
    store.enforce_retention(late).unwrap();
    drop((store, writers));
    let (store, mut writers, _) = open_store(dir.path(), 1);
    seal_each(&mut writers[0], 5..=6);
    assert_found(&store, 5..=6);
    store.group_segments().unwrap();
    assert_eq!(files(dir.path()), Vec::<PathBuf>::new());
    assert_found(&store, 5..=6);
}

/// *Guarantees*: a group that a crash left unfinished is deleted.
#[test]
fn unfinished_groups_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    seal_each(&mut writers[0], 1..=4);
    store.group_segments().unwrap();
    let file = files(dir.path()).remove(0);
    drop((store, writers));
    fs::rename(&file, file.with_extension("tmp")).unwrap();
    let (store, _, _) = open_store(dir.path(), 1);
    assert_eq!(files(dir.path()), Vec::<PathBuf>::new());
    assert_found(&store, 1..=4);
}
