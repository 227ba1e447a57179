//! Names stay what they were, are bounded, and make room in the end.

use super::*;
use crate::model::{DAY, UnixNanos, nanos};
use crate::store::influxdb::folder;

const WEEK: Duration = Duration::from_secs(7 * 86_400);
const NOW: u64 = 20_000 * nanos(DAY);

fn open(dir: &tempfile::TempDir, now: u64) -> Names {
    Names::open(dir.path(), WEEK, UnixNanos::new(now)).unwrap()
}

/// Returns which of the services, numbered from one, get no tag of their own.
fn others(names: &Names, services: std::ops::Range<usize>) -> Vec<usize> {
    let is_other = |n: &usize| names.service(&format!("s{n}")) == OTHER;
    services.filter(is_other).collect()
}

#[test]
fn names_past_the_bound_become_one_and_are_counted() {
    let names = Names::default();
    let operation = |number: usize| {
        let name = format!("GET /{number}");
        names.owned(Owned::Operation, "shop", &name) == name
    };
    assert_eq!(
        (0..1_500).filter(|n| operation(*n)).count(),
        OPERATIONS_PER_SERVICE_MAX
    );
    assert!(operation(0), "what was admitted stays");
    assert_eq!(names.capped(), 500);
    assert_eq!(names.owned(Owned::Operation, "shop", OTHER), OTHER);
    assert_eq!(names.owned(Owned::Operation, "cart", "GET /"), "GET /");
}

#[test]
fn names_of_all_services_together_are_bounded() {
    let names = Names::default();
    let breaker = |n: usize| {
        let (service, name) = (format!("s{}", n % 700), format!("b{n}"));
        names.owned(Owned::Breaker, &service, &name) == name
    };
    assert_eq!((0..6_000).filter(|n| breaker(*n)).count(), BREAKERS_MAX);
    assert!((0..BREAKERS_MAX).all(breaker) && !breaker(BREAKERS_MAX));
    assert_eq!(names.owned(Owned::Breaker, "another", "b"), OTHER);
    assert_eq!(names.owned(Owned::Breaker, "another", OTHER), OTHER);
}

#[test]
fn what_the_server_knows_fills_the_table() {
    let names = Names::default();
    (0..SERVICES_MAX).for_each(|n| names.learn_service(&format!("s{n}")));
    assert_eq!(names.service("s7"), "s7");
    assert_eq!(names.service("new"), OTHER);
}

/// *Scenario*: the table is full and the collector restarts; the server knows other names, or cannot be
/// queried.
/// *Guarantees*: exactly the names admitted before are admitted.
#[test]
fn a_restart_admits_the_same_names() {
    let dir = tempfile::tempdir().unwrap();
    let names = open(&dir, NOW);
    let first = others(&names, 0..SERVICES_MAX + 50);
    assert_eq!(first, (SERVICES_MAX..SERVICES_MAX + 50).collect::<Vec<_>>());
    let kinds = [Owned::Operation, Owned::Breaker, Owned::Instance];
    for kind in kinds {
        (0..5_000).for_each(|n| {
            names.owned(kind, "s1", &format!("first {n}"));
        });
    }
    names.save(UnixNanos::new(NOW)).unwrap();
    let names = open(&dir, NOW + nanos(HOUR));
    (0..SERVICES_MAX).for_each(|n| names.learn_service(&format!("a{n}")));
    assert_eq!(names.service("new"), OTHER);
    assert_eq!(others(&names, 0..SERVICES_MAX + 50), first);
    for kind in kinds {
        assert_eq!(names.owned(kind, "s1", "first 7"), "first 7");
        assert_eq!(names.owned(kind, "s1", "first 4999"), OTHER);
    }
}

/// *Guarantees*: a name that has expired on the server is removed, at a restart and while running; one in use
/// stays, and nothing is removed from a table that was never full.
#[test]
fn an_expired_name_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut names = open(&dir, NOW);
    others(&names, 0..SERVICES_MAX);
    for day in 1..=9 {
        names.save(UnixNanos::new(NOW + day * nanos(DAY))).unwrap();
        assert_eq!(names.service("s3"), "s3");
        if day == 4 {
            let later = NOW + day * nanos(DAY) + nanos(HOUR);
            names.save(UnixNanos::new(later)).unwrap();
            names = open(&dir, later);
        }
        let is_full = day < 9;
        let mut tables = names.tables();
        let has_room = tables.service("new");
        assert_ne!(has_room, is_full, "day {day}");
        // It is only looked whether there is room.
        tables.short = (false, false);
    }
    names.save(UnixNanos::new(NOW + 10 * nanos(DAY))).unwrap();
    let names = open(&dir, NOW + 10 * nanos(DAY));
    let left = others(&names, 0..SERVICES_MAX);
    assert_eq!(left, [SERVICES_MAX - 1], "s3 and new are there");
    let names = open(&dir, NOW + 30 * nanos(DAY));
    assert!(others(&names, 2_000..2_000 + SERVICES_MAX).is_empty());
}

/// *Scenario*: a sender makes up names until the tables are full; later names are real.
/// *Guarantees*: the longest idle names are evicted within hours, an eighth of the table in each; those in
/// use stay.
#[test]
fn idle_names_make_room_for_those_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let names = open(&dir, NOW);
    let at = |hours: u64| UnixNanos::new(NOW + hours * nanos(HOUR));
    let operation = |name: &str| names.owned(Owned::Operation, "s3", name) == name;
    others(&names, 0..SERVICES_MAX);
    assert!((0..OPERATIONS_PER_SERVICE_MAX).all(|n| operation(&format!("GET /{n}"))));
    names.save(at(3)).unwrap();
    assert_eq!(names.service("s3"), "s3");
    assert!(operation("GET /7"));
    assert_eq!(names.service("new"), OTHER);
    assert!(!operation("new"));
    names.save(at(4)).unwrap();
    assert_eq!((names.service("new"), names.service("s3")), ("new", "s3"));
    assert!(operation("new") && operation("GET /7"));
    let known = names.tables().services.len();
    assert_eq!(known, SERVICES_MAX - SERVICES_MAX / 8 + 1);
    names.save(at(5)).unwrap();
    assert_eq!(names.tables().services.len(), known, "none found no room");
}

/// *Scenario*: the server knows a name as written in a tag: cut, without backslashes.
/// *Guarantees*: it is recognised when its original arrives.
#[test]
fn a_name_is_known_as_it_stands_in_its_tag() {
    let names = Names::default();
    let long = "x".repeat(1_000);
    let odd = "a\\b\n";
    for name in [long.as_str(), odd] {
        names.learn_service(&tag_value(name));
        names.learn_peer(&tag_value(name));
        names.learn_owned(Owned::Operation, &tag_value(name), &tag_value(name));
    }
    (0..PEERS_MAX).for_each(|n| {
        let filler = format!("filler {n}");
        let _ = (names.service(&filler), names.peer(&filler));
        for service in [&long, odd] {
            names.owned(Owned::Operation, service, &filler);
        }
    });
    for name in [long.as_str(), odd] {
        assert_eq!(names.service(name), name);
        assert_eq!(names.peer(name), name);
        assert_eq!(names.owned(Owned::Operation, name, name), name);
    }
}

/// *Guarantees*: a file with too many names, or garbage, exceeds no limit and does not prevent the start.
#[test]
fn a_spoilt_file_breaks_no_bound() {
    let dir = tempfile::tempdir().unwrap();
    let path = folder(dir.path()).join(FILE);
    let many = |count: usize| -> serde_json::Map<_, _> {
        let name = |n| (format!("n{n}"), (NOW / nanos(HOUR)).into());
        (0..count).map(name).collect()
    };
    let services: serde_json::Map<_, _> = (0..20)
        .map(|n| (format!("s{n}"), many(2_000).into()))
        .collect();
    let text = serde_json::json!({ "services": many(5_000), "operations": services }).to_string();
    for (text, room) in [
        (text.as_str(), false),
        ("{", true),
        ("[1]", true),
        ("{\"services\":3}", true),
    ] {
        durable::write(&path, text.as_bytes()).unwrap();
        let names = open(&dir, NOW);
        assert_eq!(names.service("new") == "new", room, "{text:.20}");
        assert_eq!(names.owned(Owned::Operation, "new", "x") == "x", room);
    }
}

/// Scenario: the clock was ten years ahead when the tables filled up.
/// Guarantees: names are evicted in time nevertheless.
#[test]
fn names_of_a_clock_that_was_ahead_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let names = open(&dir, NOW);
    assert_eq!(names.service("old"), "old");
    names
        .save(UnixNanos::new(NOW + 4_000 * nanos(DAY)))
        .unwrap();
    others(&names, 0..SERVICES_MAX);
    names.save(UnixNanos::new(NOW)).unwrap();
    let names = open(&dir, NOW + 60 * nanos(DAY));
    assert_eq!(names.service("new"), "new");
}
