//! The registry over a real journal.

use std::time::Duration;

use tempfile::TempDir;
use tokio::time::advance;

use super::*;
use crate::counters::Counters;
use crate::model::{DAY, HOUR, Lease, MINUTE, SECOND};

const NOW: UnixNanos = UnixNanos::new(1_795_397_400_000_000_000);
const RETENTION: Duration = Duration::from_secs(7 * 86_400);

fn open(dir: &TempDir, now: UnixNanos) -> Registry {
    let log = SeriesLog::open(dir.path(), RETENTION, Arc::new(Counters::default())).unwrap();
    Registry::open(log, now).unwrap()
}

fn registration(service: &str, instance: &str) -> Registration {
    Registration {
        service: service.to_owned(),
        instance: instance.to_owned(),
        status: InstanceStatus::Up,
        ..Registration::default()
    }
}

fn ids(registry: &Registry) -> Vec<String> {
    let all = registry.all().into_iter();
    all.map(|one| one.registered.registration.instance.clone())
        .collect()
}

async fn with_instances(registry: &Registry, count: usize) {
    for n in 0..count {
        let new = registration("shop", &format!("pod-{n:02}"));
        registry.register(new, NOW).await.unwrap();
    }
}

fn by(name: &str) -> ChangedBy {
    ChangedBy {
        name: name.to_owned(),
        reason: "it misbehaves".to_owned(),
    }
}

/// Guarantees: what was answered is known after a restart, also a status set by hand.
#[tokio::test]
async fn the_registry_comes_back_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    with_instances(&registry, 3).await;
    registry.leave("SHOP", "pod-01", NOW).await.unwrap();
    let status = Some(InstanceStatus::OutOfService);
    let forced = registry.order_status("shop", "pod-02", status, by("kim"), NOW);
    forced.await.unwrap();
    let values = vec![("zone".to_owned(), "b".to_owned())];
    registry
        .add_metadata("shop", "pod-00", values, NOW)
        .await
        .unwrap();
    drop(registry);
    let registry = open(&dir, NOW + HOUR / 2);
    assert_eq!(ids(&registry), ["pod-00", "pod-02"]);
    let first = registry.find("Shop", "pod-00").unwrap();
    assert_eq!(first.registered.registration.metadata["zone"], "b");
    let second = registry.find("shop", "pod-02").unwrap().registered;
    assert_eq!(second.status(), InstanceStatus::OutOfService);
    assert_eq!(second.forced.as_ref().unwrap().by, "kim");
    assert!(registry.gone()[0].has_left);
}

/// Scenario: the wall clock is set forward and back by a day.
/// Guarantees: a lease is over once its time has passed, no sooner and no later, whatever the wall clock says.
#[tokio::test(start_paused = true)]
async fn an_instance_expires_once_its_lease_is_over_and_no_later() {
    for wall in [NOW, NOW + DAY, NOW - DAY] {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&dir, NOW);
        with_instances(&registry, 2).await;
        advance(SECOND * 30).await;
        registry.renew("shop", "pod-01", None).unwrap();
        advance(SECOND * 60).await;
        registry.maintain(wall).await.unwrap();
        assert_eq!(ids(&registry).len(), 2);
        advance(SECOND).await;
        registry.maintain(wall).await.unwrap();
        assert_eq!(ids(&registry), ["pod-01"]);
        let gone = registry.gone();
        // Never before the registration, which would be read as its successor.
        let earliest = wall.max(NOW);
        let latest = earliest + Duration::from_micros(1);
        assert!(!gone[0].has_left, "{gone:?}");
        assert!((earliest..=latest).contains(&gone[0].at), "{gone:?}");
        let unknown = registry.renew("shop", "pod-00", None);
        assert!(matches!(unknown, Err(RegistryError::Unknown)));
        advance(HOUR).await;
        registry.renew("shop", "pod-01", None).unwrap();
        registry.maintain(wall).await.unwrap();
        assert!(registry.gone().is_empty());
    }
}

/// Scenario: one instance has been silent for 80 s and one has just renewed when the collector crashes. It does not run for an
/// hour, and its clock is wrong afterwards.
/// Guarantees: leases go on from where they stood, with time for one renewal: none is new, and no instance is removed at
/// once.
#[tokio::test(start_paused = true)]
async fn a_lease_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    with_instances(&registry, 2).await;
    advance(SECOND * 80).await;
    registry.renew("shop", "pod-01", None).unwrap();
    registry.maintain(NOW).await.unwrap();
    drop(registry);
    advance(HOUR).await;
    let registry = open(&dir, NOW - DAY);
    advance(SECOND * 35).await;
    registry.maintain(NOW - DAY).await.unwrap();
    assert_eq!(ids(&registry).len(), 2);
    advance(SECOND).await;
    registry.maintain(NOW - DAY).await.unwrap();
    assert_eq!(ids(&registry), ["pod-01"]);
    // Written whenever the collector is about to stop, and at last without any instance.
    registry.leave("shop", "pod-01", NOW).await.unwrap();
    registry.keep_leases().await.unwrap();
    let file = leases::path(&registry.inner.log);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{}");
    std::fs::write(&file, "no JSON").unwrap();
    drop(registry);
    assert!(ids(&open(&dir, NOW)).is_empty());
}

/// Guarantees: nothing is removed while many stopped reporting at once, at most for an hour, and then in shares.
#[tokio::test(start_paused = true)]
async fn many_that_fall_silent_at_once_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    with_instances(&registry, 20).await;
    for id in &ids(&registry) {
        registry.renew("shop", id, None).unwrap();
    }
    advance(MINUTE * 10).await;
    registry.maintain(NOW).await.unwrap();
    assert_eq!((ids(&registry).len(), registry.preserved()), (20, 20));
    advance(MINUTE * 50 + SECOND).await;
    registry.maintain(NOW).await.unwrap();
    assert_eq!(ids(&registry).len(), 17);
    // Those that return make the others single cases.
    for id in &ids(&registry)[1..] {
        registry.renew("shop", id, None).unwrap();
    }
    assert_eq!(registry.preserved(), 0);
    registry.maintain(NOW).await.unwrap();
    assert_eq!(ids(&registry).len(), 16);
}

/// Guarantees: instances that ended while the collector did not run are removed, not kept as if the network had failed.
#[tokio::test(start_paused = true)]
async fn ends_during_a_restart_are_no_outage() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    with_instances(&registry, 10).await;
    drop(registry);
    let registry = open(&dir, NOW + MINUTE);
    advance(MINUTE * 5).await;
    for id in &ids(&registry)[5..] {
        registry.renew("shop", id, None).unwrap();
    }
    assert_eq!(registry.preserved(), 0);
    for _ in 0..5 {
        registry.maintain(NOW).await.unwrap();
    }
    assert_eq!(ids(&registry).len(), 5);
}

/// Guarantees: what an instance says about itself when it is not up counts before what was set from outside.
#[tokio::test]
async fn a_status_set_from_outside_holds_while_the_instance_is_up() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    with_instances(&registry, 1).await;
    let status = || registry.find("shop", "pod-00").unwrap().registered.status();
    let force = |status| registry.force_status("shop", "pod-00", status, by("kim"), NOW);
    force(Some(InstanceStatus::OutOfService)).await.unwrap();
    assert_eq!(status(), InstanceStatus::OutOfService);
    let again = registration("shop", "pod-00");
    registry.register(again, NOW + SECOND).await.unwrap();
    assert_eq!(status(), InstanceStatus::OutOfService);
    for (reported, expected) in [
        (InstanceStatus::Down, InstanceStatus::Down),
        (InstanceStatus::Up, InstanceStatus::OutOfService),
    ] {
        let change = registry.report_status("shop", "pod-00", (reported, ""), NOW);
        change.await.unwrap();
        assert_eq!(status(), expected);
    }
    force(None).await.unwrap();
    assert_eq!(status(), InstanceStatus::Up);
    let nameless = registry.order_status("shop", "pod-00", None, ChangedBy::default(), NOW);
    let nameless = nameless.await.unwrap_err().to_string();
    assert_eq!(nameless, "reason: is missing");
}

/// Guarantees: an instance that was cut off returns out of service; one that left starts anew.
#[tokio::test(start_paused = true)]
async fn only_the_end_of_an_instance_ends_its_forced_status() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    let now = NOW;
    for (leaves, expected) in [
        (false, InstanceStatus::OutOfService),
        (true, InstanceStatus::Up),
    ] {
        let register = |now| registry.register(registration("shop", "a"), now);
        register(now).await.unwrap();
        let status = Some(InstanceStatus::OutOfService);
        let forced = registry.force_status("shop", "a", status, by("kim"), now);
        forced.await.unwrap();
        match leaves {
            true => registry.leave("shop", "a", now).await.unwrap(),
            false => {
                advance(MINUTE * 5).await;
                registry.maintain(now).await.unwrap();
            }
        }
        assert!(registry.find("shop", "a").is_none());
        register(now).await.unwrap();
        let found = registry.find("shop", "a").unwrap().registered;
        assert_eq!(found.status(), expected);
    }
}

#[tokio::test]
async fn a_stale_registration_changes_nothing_and_a_newer_one_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    let revised = |revised_ms, status| Registration {
        revised_ms,
        status,
        ..registration("shop", "a")
    };
    let up = revised(20, InstanceStatus::Up);
    registry.register(up, NOW).await.unwrap();
    let stale = revised(10, InstanceStatus::Starting);
    registry.register(stale, NOW).await.unwrap();
    let known = registry.find("shop", "a").unwrap().registered;
    assert_eq!(known.status(), InstanceStatus::Up);
    assert!(registry.renew("shop", "a", Some(20)).is_ok());
    assert!(registry.renew("shop", "a", Some(21)).is_err());
}

#[tokio::test]
async fn registrations_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    let mut large = registration("shop", "a");
    large.links.home = "x".repeat(17 << 10);
    let mut many = registration("shop", "a");
    many.metadata = (0..101).map(|n| (n.to_string(), String::new())).collect();
    let unnamed = registration("", "a");
    let mut reserved = registration("shop", "a");
    reserved.metadata.insert(String::new(), "x".to_owned());
    for refused in [large, many, unnamed, reserved, registration("shop", "a\nb")] {
        let refused = registry.register(refused, NOW).await;
        assert!(matches!(refused, Err(RegistryError::Invalid { .. })));
    }
    let mut state = State::new(now());
    for n in 0..=bounds::SERVICES_MAX {
        let service = format!("service-{n}");
        let key = InstanceKey::of(&service, "a");
        let draft = state.registration(&key, registration(&service, "a"), Sender::default(), now());
        match n < bounds::SERVICES_MAX {
            true => state.apply(draft.unwrap().unwrap().entry(NOW), now()),
            false => assert!(matches!(draft, Err(RegistryError::Full(_)))),
        }
    }
}

async fn entries(registry: &Registry) -> Vec<RegistryEntry> {
    let entries = registry.entries_of(RegistrySource::Fusebox, TimeRange::ALL, 10);
    entries.await.unwrap()
}

/// Scenario: one sender registers as much as it can; then others register.
/// Guarantees: a fifth of the registry is left for senders with few instances.
#[test]
fn one_sender_leaves_room_for_others() {
    let sender = |last| Sender(Some([192, 0, 2, last].into()));
    let mut state = State::new(now());
    let mut register = |id: String, sender| {
        let key = InstanceKey::of("shop", &id);
        let draft = state.registration(&key, registration("shop", &id), sender, now())?;
        if let Some(draft) = draft {
            state.apply(draft.entry(NOW), now());
        }
        state.sent_by(&key, sender);
        Ok::<_, RegistryError>(())
    };
    let greedy = (0..).take_while(|n| register(format!("a-{n}"), sender(1)).is_ok());
    assert_eq!(greedy.count(), 8_000);
    for other in 2..22 {
        let few = (0..).take_while(|n| register(format!("{other}-{n}"), sender(other)).is_ok());
        assert_eq!(few.count(), 100, "{other}");
    }
    assert!(register("a-7".to_owned(), sender(1)).is_ok(), "it is known");
    assert!(
        register("late".to_owned(), sender(30)).is_err(),
        "it is full"
    );
}

/// Guarantees: the journal has each change once, in order, with the registration as it was then.
#[tokio::test]
async fn the_journal_lists_every_change() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    let mut new = registration("shop", "a");
    for (status, port) in [
        (InstanceStatus::Starting, 1),
        (InstanceStatus::Up, 1),
        (InstanceStatus::Up, 2),
    ] {
        (new.status, new.port.number) = (status, port);
        for _ in 0..2 {
            registry.register(new.clone(), NOW).await.unwrap();
        }
    }
    let status = Some(InstanceStatus::OutOfService);
    let forced = registry.order_status("shop", "a", status, by("kim"), NOW);
    forced.await.unwrap();
    registry.leave("shop", "a", NOW).await.unwrap();
    let all = entries(&registry).await;
    let listed: Vec<_> = all.iter().map(|e| (e.event, e.detail.as_str())).collect();
    assert_eq!(
        listed,
        [
            (RegistryEvent::Registered, ""),
            (RegistryEvent::StatusChanged, "STARTING to UP"),
            (RegistryEvent::Updated, "address"),
            (RegistryEvent::StatusForced, "OUT_OF_SERVICE"),
            (RegistryEvent::Left, ""),
        ]
    );
    let port = |entry: &RegistryEntry| entry.state.as_ref().unwrap().registration.port.number;
    assert_eq!(all.iter().map(port).collect::<Vec<_>>(), [1, 1, 2, 2, 2]);
    assert!(all.is_sorted_by(|a, b| a.time < b.time));
}

#[tokio::test]
async fn a_status_of_the_past_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    with_instances(&registry, 2).await;
    let order = async |status, at| {
        let order = registry.order_status("Shop", "pod-01", status, by("kim"), at);
        order.await.unwrap();
    };
    order(Some(InstanceStatus::OutOfService), NOW + HOUR).await;
    let down = (InstanceStatus::Down, "");
    let reported = registry.report_status("shop", "pod-01", down, NOW + HOUR * 2);
    reported.await.unwrap();
    order(None, NOW + HOUR * 3).await;
    for (at, expected) in [
        (HOUR / 2, 0),
        (HOUR * 3 / 2, 1),
        (HOUR * 5 / 2, 1),
        (HOUR * 4, 0),
    ] {
        let forced = registry.forced_at(NOW + at).await.unwrap();
        assert_eq!(forced.len(), expected, "{at:?}");
        for one in forced {
            assert_eq!(one.registration.instance, "pod-01");
        }
    }
}

/// Guarantees: an instance that runs for longer than the retention is still known after a restart.
#[tokio::test]
async fn a_registration_outlives_the_retention() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    with_instances(&registry, 1).await;
    let mut now = NOW;
    for _ in 0..9 {
        now = now + DAY;
        registry.renew("shop", "pod-00", None).unwrap();
        registry.maintain(now).await.unwrap();
    }
    registry.inner.log.enforce_retention(now).unwrap();
    assert_eq!(entries(&registry).await, [], "repetitions are not listed");
    drop(registry);
    let registry = open(&dir, now);
    let found = registry.find("shop", "pod-00").unwrap().registered;
    assert_eq!(
        (found.since, found.registration.lease),
        (NOW, Lease::default())
    );
}

/// Scenario: a sender registers what is no instance, so many that they look like an outage when they do not renew, and for as
/// long as it may.
/// Guarantees: they preserve no other, and are gone once a renewal is missing; a lease that was renewed lasts as it was asked for.
#[tokio::test(start_paused = true)]
async fn what_never_renewed_takes_no_room_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    let long = Lease {
        renewal_s: 3_600,
        duration_s: 36_000,
    };
    for (id, lease) in [("a", long), ("b", long), ("c", Lease::default())] {
        let lease = lease.bounded();
        let one = Registration {
            lease,
            ..registration("shop", id)
        };
        registry.register(one, NOW).await.unwrap();
    }
    registry.renew("shop", "a", None).unwrap();
    for n in 0..4 {
        let hasty = Lease {
            renewal_s: 1,
            duration_s: 1,
        };
        let fake = Registration {
            lease: hasty,
            ..registration("fake", &n.to_string())
        };
        registry.register(fake, NOW).await.unwrap();
    }
    advance(SECOND * 91).await;
    assert_eq!(registry.preserved(), 0);
    for _ in 0..5 {
        registry.maintain(NOW).await.unwrap();
    }
    assert_eq!(ids(&registry), ["a", "b"]);
    advance(SECOND * 515).await;
    registry.maintain(NOW).await.unwrap();
    assert_eq!(ids(&registry), ["a"]);
    advance(SECOND * 5_000).await;
    registry.maintain(NOW).await.unwrap();
    assert_eq!(ids(&registry), ["a"]);
}

/// Scenario: a change of one instance waits for the disk.
/// Guarantees: that of another one does not wait for it.
#[tokio::test]
async fn changes_of_instances_wait_for_their_own_only() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    let key = InstanceKey::of("shop", "a");
    let held = registry.order(&key).await;
    let waiting = registry.clone();
    let waiting =
        tokio::spawn(async move { waiting.register(registration("shop", "a"), NOW).await });
    let mut ids = (0..1_000).map(|n| format!("pod-{n}"));
    let elsewhere =
        |id: &String| registry.place(&InstanceKey::of("shop", id)) != registry.place(&key);
    let other = ids.find(elsewhere).unwrap();
    let other = registry.register(registration("shop", &other), NOW);
    other.await.unwrap();
    assert!(!waiting.is_finished());
    drop(held);
    waiting.await.unwrap().unwrap();
    assert_eq!(registry.all().len(), 2);
}

/// Guarantees: an instance cannot fill the disk with changes; others are not concerned, and later it may change again.
#[tokio::test(start_paused = true)]
async fn one_instance_writes_no_more_than_its_budget() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    with_instances(&registry, 2).await;
    let change = async |id: &str, n: usize| {
        let large = vec![("x".to_owned(), format!("{n:015000}"))];
        registry.add_metadata("shop", id, large, NOW).await
    };
    let mut taken = 0;
    while change("pod-00", taken).await.is_ok() {
        taken += 1;
    }
    assert!((40..100).contains(&taken), "{taken}");
    let refused = change("pod-00", 0).await;
    assert!(matches!(refused, Err(RegistryError::Full(_))));
    // Neither by ending and beginning again.
    registry.leave("shop", "pod-00", NOW).await.unwrap();
    assert!(change("pod-00", 0).await.is_err());
    change("pod-01", 0).await.unwrap();
    registry.renew("shop", "pod-01", None).unwrap();
    advance(MINUTE * 5).await;
    change("pod-01", 1).await.unwrap();
    let again = registry.register(registration("shop", "pod-00"), NOW);
    again.await.unwrap();
    change("pod-00", taken).await.unwrap();
}

/// Scenario: a heartbeat arrives while the end of its instance is being stored.
/// Guarantees: it is answered that it must register again; where the end cannot be stored, it renews.
#[tokio::test(start_paused = true)]
async fn no_instance_renews_while_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    with_instances(&registry, 1).await;
    advance(SECOND * 91).await;
    assert_eq!(registry.state().expired(now()).len(), 1);
    let renewed = || registry.renew("shop", "pod-00", None);
    assert!(matches!(renewed(), Err(RegistryError::Unknown)));
    registry.state().end_none();
    renewed().unwrap();
}

/// Guarantees: what services watch is written once after each change of the service, and not after those of others.
#[tokio::test]
async fn what_is_watched_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    with_instances(&registry, 2).await;
    let live = |service: &str| registry.state().live(service);
    let before = live("shop");
    let other = registration("stock", "a");
    registry.register(other, NOW).await.unwrap();
    assert!(Arc::ptr_eq(&before, &live("shop")));
    registry.leave("shop", "pod-00", NOW).await.unwrap();
    assert!(!Arc::ptr_eq(&before, &live("shop")));
    let names = BTreeSet::from(["shop".to_owned(), "stock".to_owned()]);
    assert_eq!(registry.watched(&names).listing().instances.len(), 2);
}

/// Guarantees: a change of the protocol, the data center or the case of the name is a change like others.
#[tokio::test]
async fn every_change_is_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    with_instances(&registry, 1).await;
    let changed = Registration {
        source: RegistrySource::Eureka,
        data_center: "Amazon".to_owned(),
        ..registration("SHOP", "pod-00")
    };
    registry.register(changed, NOW + SECOND).await.unwrap();
    let all = registry.entries_of(RegistrySource::Eureka, TimeRange::ALL, 10);
    let latest = all.await.unwrap().remove(0);
    assert_eq!(latest.event, RegistryEvent::Updated);
    assert_eq!(latest.detail, "name, protocol, data center");
}

/// Scenario: an actuator says much, again and again.
/// Guarantees: what it says is stored and back after a restart; it does not take the room of changes of the registration, nor
/// is it a change that clients of the registry hear of.
#[tokio::test(start_paused = true)]
async fn what_an_actuator_says_is_stored_as_far_as_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(&dir, NOW);
    with_instances(&registry, 1).await;
    let details = |version: usize| Details {
        info: Details::read_object(&serde_json::json!({
            "build": {"version": version.to_string()},
            "notes": "x".repeat(8_000),
        })),
        ..Details::default()
    };
    let say = |version| {
        let (event, new) = (RegistryEvent::InfoChanged, details(version));
        registry.report_details("shop", "pod-00", |details| *details = new, event)
    };
    let mut stored = 0;
    while say(stored).await.is_ok() {
        say(stored).await.unwrap();
        stored += 1;
    }
    assert!((50..80).contains(&stored), "half of 1 MiB: {stored}");
    let known = || registry.find("shop", "pod-00").unwrap().registered;
    assert_eq!(known().details, details(stored - 1));
    assert_eq!(known().changed, known().since);
    let mut moved = registration("shop", "pod-00");
    moved.port.number = 2;
    registry.register(moved, NOW).await.unwrap();
    drop(registry);
    let registry = open(&dir, NOW);
    let known = registry.find("shop", "pod-00").unwrap().registered;
    assert_eq!(known.details, details(stored - 1));
    assert_eq!(known.registration.port.number, 2);
}
