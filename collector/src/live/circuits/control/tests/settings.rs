//! Changes of settings: what instances get over restarts and expiry, their versions, and their renewal.

use fusebox::circuit_breaker::{SettingOrigin, SettingValues};

use tokio::time::advance;

use super::*;
use crate::live::circuits::Origin;
use crate::model::{DAY, SECOND};

fn values(pairs: &[(&str, &str)]) -> SettingValues {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    pairs.iter().map(owned).collect()
}

impl World {
    async fn set(
        &self,
        pairs: &[(&str, &str)],
        lifetime: Option<Duration>,
    ) -> Result<OperatorChange, ControlError> {
        self.set_for(&[], pairs, lifetime).await
    }

    async fn set_for(
        &self,
        instances: &[&str],
        pairs: &[(&str, &str)],
        lifetime: Option<Duration>,
    ) -> Result<OperatorChange, ControlError> {
        let order = ChangeOrder {
            lifetime,
            ..order(Action::Settings, instances)
        };
        let control = self.circuits.control();
        let (circuit, now) = (self.circuit(), UnixNanos::now());
        control
            .request_settings(&circuit, order, values(pairs), None, now)
            .await
    }

    /// Returns what a process that has just started gets: values, those after the expiry, and whether it expires.
    async fn given(&self) -> Option<(SettingValues, SettingValues, bool)> {
        let (_, changes) = self.poll("a", None).await;
        let change = changes.into_iter().next()?;
        let settings = change.settings.unwrap();
        Some((
            settings.values,
            settings.then,
            change.remaining_ms.is_some(),
        ))
    }
}

/// Scenario: settings are changed for good, then others for an hour, and the collector crashes.
/// Guarantees: a process that starts gets the latest change, with what is in force after it; the state of the breaker is
/// changed beside it; every change is a version with its values before and after.
#[tokio::test]
async fn a_change_is_given_to_every_new_process() {
    let world = World::new().await;
    let lasting = world.set(&[("minimum_calls", "9")], None).await.unwrap();
    assert_eq!(
        world.given().await,
        Some((values(&[("minimum_calls", "9")]), values(&[]), false))
    );
    let force = world.force(&[]).await;
    let brief = world.set(&[("timeout", "2s")], Some(HOUR)).await.unwrap();
    let world = world.restarted().await;
    let (_, changes) = world.poll("b", None).await;
    assert_eq!(ids(&changes), [force, brief.id]);
    assert_eq!(
        changes[1].remaining_ms.map(|left| left > 3_500_000),
        Some(true)
    );
    let settings = changes[1].settings.clone().unwrap();
    assert_eq!(settings.values, values(&[("timeout", "2s")]));
    assert_eq!(settings.then, values(&[("minimum_calls", "9")]));

    let control = world.circuits.control();
    let key = world.circuit().key;
    let versions = control.versions(&key, UnixNanos::now()).await.unwrap();
    let listed: Vec<_> = versions.iter().map(|change| change.id).collect();
    assert_eq!(listed, [brief.id, lasting.id]);
    let settings = brief.settings.unwrap();
    let differences = [("minimum_calls", "9", "20"), ("timeout", "1s", "2s")];
    assert_eq!(settings.differences(), differences);
    let back = control.version(&key, lasting.id, UnixNanos::now()).await;
    assert_eq!(back.unwrap(), values(&[("minimum_calls", "9")]));
    let none = control
        .version(&key, 5, UnixNanos::now())
        .await
        .unwrap_err();
    assert!(
        none.to_string().contains("none of the latest 100"),
        "{none}"
    );
}

#[tokio::test]
async fn the_librarys_sentence_refuses_what_cannot_work() {
    let world = World::new().await;
    for (name, text) in [
        ("minimum_calls", "many"),
        ("timeout", "0s"),
        ("no_such", "1"),
    ] {
        let library = fusebox::circuit_breaker::Settings::default();
        let sentence = library.with_values(&values(&[(name, text)])).unwrap_err();
        let refused = world.set(&[(name, text)], None).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("settings: {sentence}"));
    }
    assert_eq!(world.given().await, None);
}

/// Guarantees: a library that does not know settings is not given them, and the page says that it takes none.
#[tokio::test]
async fn older_libraries_get_no_settings() {
    let world = World::new().await;
    world.set(&[("minimum_calls", "9")], None).await.unwrap();
    let control = world.circuits.control();
    let older = Poll {
        takes_settings: false,
        ..poll("a", None, Vec::new())
    };
    let answer = control.poll(older, Instant::now()).await.unwrap();
    assert_eq!(answer.changes, []);
    let statuses = control.settings_changes(&world.circuit(), UnixNanos::now());
    assert_eq!(statuses[0].deliveries[0].state, Delivery::NoChannel);
}

#[tokio::test]
async fn each_instance_says_why_it_refused() {
    let world = World::new().await;
    let change = world.set(&[("minimum_calls", "9")], None).await.unwrap();
    let refused = Acknowledgement {
        change: change.id,
        outcome: Outcome::Refused,
        problem: format!("circuit breaker setting minimum_calls{}", "!".repeat(5_000)),
    };
    world.poll_with("a", Some(change.id), vec![refused]).await;
    let world = world.restarted().await;
    let control = world.circuits.control();
    let statuses = control.settings_changes(&world.circuit(), UnixNanos::now());
    let first = &statuses[0].deliveries[0];
    assert_eq!(
        (first.instance.as_str(), first.state),
        ("a", Delivery::Refused)
    );
    assert!(
        first
            .problem
            .starts_with("circuit breaker setting minimum_calls!")
    );
    assert_eq!(first.problem.chars().count(), 500);
}

#[tokio::test]
async fn the_origin_of_each_value_is_known() {
    let world = World::new().await;
    world.set(&[("minimum_calls", "9")], None).await.unwrap();
    let control = world.circuits.control();
    let settings = control.settings(&world.circuit(), UnixNanos::now());
    let of = |name: &str| settings.iter().find(|it| it.name == name).unwrap();
    let pending = of("minimum_calls");
    assert_eq!(
        (pending.value.as_str(), pending.origin),
        ("20", Origin::Default)
    );
    assert_eq!(pending.changed.as_deref(), Some("9"));
    assert_eq!(of("timeout").origin, Origin::Default);
    let mut circuit = world.circuit();
    let reported = [
        ("timeout", SettingOrigin::Code),
        ("open_duration", SettingOrigin::Properties),
        ("half_open_probes", SettingOrigin::CommonProperties),
        ("minimum_calls", SettingOrigin::Code),
    ];
    let reported = reported.map(|(name, origin)| (name.to_owned(), origin));
    circuit.settings.origins = Some(reported.into());
    // As the instance reports it once it has the change.
    circuit.settings.minimum_calls = Some(9);
    circuit.settings.open_duration_ms = Some(7_000);
    let settings = control.settings(&circuit, UnixNanos::now());
    let of = |name: &str| settings.iter().find(|it| it.name == name).unwrap().origin;
    let names = [
        "timeout",
        "open_duration",
        "half_open_probes",
        "minimum_calls",
        "probe_lease",
    ];
    let expected = [
        Origin::Code,
        Origin::Properties,
        Origin::CommonProperties,
        Origin::Collector,
        Origin::Default,
    ];
    assert_eq!(names.map(of), expected);
    let back = world.set(&[], None).await.unwrap();
    assert_eq!(back.action, Action::Reset);
    let settings = control.settings(&world.circuit(), UnixNanos::now());
    assert!(settings.iter().all(|it| it.changed.is_none()));
}

/// Scenario: a change for all and a later one for a picked instance get as old as half the retention; the collector starts
/// again with what was stored again alone.
/// Guarantees: both are stored again, once, in their order and with their outcomes; no instance is given anything.
#[tokio::test]
async fn what_lasts_is_stored_again_and_changes_nothing() {
    let world = World::new().await;
    let (after, _) = world.poll("a", None).await;
    let all = world.set(&[("minimum_calls", "9")], None).await.unwrap();
    let (after, _) = world.poll_with("a", after, applied(all.id)).await;
    let picked = world.set_for(&["a"], &[("minimum_calls", "3")], None);
    let picked = picked.await.unwrap();
    let (after, _) = world.poll("a", after).await;
    let control = world.circuits.control();
    let now = UnixNanos::now();
    assert_eq!(control.renew(now + DAY).await.unwrap(), 0);
    let later = now + DAY * 4;
    assert_eq!(control.renew(later).await.unwrap(), 3);
    assert_eq!(control.renew(later + HOUR).await.unwrap(), 0);
    let held = |circuits: &Circuits| {
        let held = circuits.control().state().of_settings(&all.key);
        held.iter()
            .map(|it| (it.id, it.time, it.stored))
            .collect::<Vec<_>>()
    };
    let expected = [
        (all.id, all.time, Some(later)),
        (picked.id, picked.time, Some(later)),
    ];
    assert_eq!(held(&world.circuits), expected);
    assert_eq!(world.poll("a", after).await.1, []);
    let world = world.restarted().await;
    assert_eq!(held(&world.circuits), expected);
    assert_eq!(world.poll("a", after).await.1, []);
    assert_eq!(ids(&world.poll("a", None).await.1), [picked.id]);
    let control = world.circuits.control();
    let statuses = control.settings_changes(&world.circuit(), UnixNanos::now());
    let applied = |status: &ChangeStatus| {
        status
            .deliveries
            .iter()
            .map(|it| it.state)
            .collect::<Vec<_>>()
    };
    assert_eq!(applied(&statuses[0]), [Delivery::Pending]);
}

/// Guarantees: what was stored again and is read after a later change keeps its place before it.
#[test]
fn a_change_that_is_read_late_keeps_its_place() {
    let now = UnixNanos::now();
    let change = |id: u64, instances: &[&str]| OperatorChange {
        id,
        subject: Subject::Settings,
        key: CircuitKey {
            service: "shop".to_owned(),
            name: "stock".to_owned(),
        },
        action: Action::Settings,
        reason: "too late".to_owned(),
        by: "Ada".to_owned(),
        time: now + Duration::from_secs(id),
        expires: None,
        instances: instances.iter().map(|id| (*id).to_owned()).collect(),
        settings: Some(crate::model::OperatorSettings {
            values: values(&[("minimum_calls", "9")]),
            ..Default::default()
        }),
        stored: None,
    };
    let mut state = State::default();
    for (id, instances) in [
        (3, &["a"][..]),
        (5, &[]),
        (7, &["b"]),
        (6, &["b"]),
        (4, &["a", "b"]),
    ] {
        state.insert(change(id, instances));
    }
    let key = change(1, &[]).key;
    let held: Vec<_> = state.of_settings(&key).iter().map(|it| it.id).collect();
    assert_eq!(held, [5, 7]);
}

/// Scenario: an instance is tried with other settings, then all get some for an hour.
/// Guarantees: after the hour all have what was for all before, not what was tried.
#[tokio::test]
async fn what_one_instance_tried_does_not_spread() {
    let world = World::new().await;
    world.set(&[("minimum_calls", "9")], None).await.unwrap();
    let tried = world.set_for(&["a"], &[("minimum_calls", "3")], None);
    tried.await.unwrap();
    let control = world.circuits.control();
    let settings = control.settings(&world.circuit(), UnixNanos::now());
    let minimum = settings
        .iter()
        .find(|it| it.name == "minimum_calls")
        .unwrap();
    assert_eq!(minimum.changed.as_deref(), Some("9"));
    let both = world.set_for(&["a", "b"], &[("timeout", "2s")], Some(HOUR));
    let refused = both.await.unwrap_err().to_string();
    assert!(refused.contains("different settings now"), "{refused}");
    let brief = world.set(&[("timeout", "2s")], Some(HOUR)).await.unwrap();
    let settings = brief.settings.unwrap();
    assert_eq!(settings.then, values(&[("minimum_calls", "9")]));
    assert_eq!(settings.before, settings.then);
}

#[tokio::test]
async fn values_are_kept_as_breakers_report_them() {
    let world = World::new().await;
    let pairs = [
        ("timeout", " 2000ms "),
        ("failure_rate_percent", "40.0"),
        ("slow_call_duration", "NONE"),
    ];
    let change = world.set(&pairs, None).await.unwrap();
    let normal = [
        ("timeout", "2s"),
        ("failure_rate_percent", "40"),
        ("slow_call_duration", "none"),
    ];
    assert_eq!(change.settings.unwrap().values, values(&normal));
    for fine in [("timeout", "1500us"), ("window", "1s1ns in 10 buckets")] {
        let refused = world.set(&[fine], None).await.unwrap_err().to_string();
        assert!(refused.contains("must be whole milliseconds"), "{refused}");
    }
}

/// Scenario: two operators look at the settings and change them one after the other.
/// Guarantees: the second is refused, with the name of the first.
#[tokio::test]
async fn no_change_replaces_one_that_was_not_seen() {
    let world = World::new().await;
    let first = world.set(&[("minimum_calls", "9")], None).await.unwrap();
    let (control, circuit) = (world.circuits.control(), world.circuit());
    let change = async |seen| {
        let order = ChangeOrder {
            lifetime: None,
            ..order(Action::Settings, &[])
        };
        let values = values(&[("timeout", "2s")]);
        let change =
            control.request_settings(&circuit, order, values, Some(seen), UnixNanos::now());
        change.await.map(|change| change.id)
    };
    let refused = change(0).await.unwrap_err().to_string();
    assert!(
        refused.starts_with("Ada changed these settings meanwhile"),
        "{refused}"
    );
    let second = change(first.id).await.unwrap();
    assert!(second > first.id);
}

/// Scenario: an instance is disconnected for two days while a change without an end is taken back.
/// Guarantees: it gets the service's own settings when it returns.
#[tokio::test]
async fn an_instance_that_was_away_returns_to_its_own_settings() {
    let world = World::new().await;
    let (now, key) = (UnixNanos::now(), world.circuit().key);
    let mut state = State::default();
    let id = ("product-page".to_owned(), "a".to_owned());
    state.channels.connect(&id, Way::Channel, now).unwrap();
    state.channels.note(&id, Vec::new(), true);
    let mut take = |action| {
        let order = ChangeOrder {
            lifetime: None,
            ..order(action, &[])
        };
        let mut change = order
            .checked(Subject::Settings, key.clone(), &[], now)
            .unwrap();
        change.settings = Some(crate::model::OperatorSettings {
            values: match action {
                Action::Reset => values(&[]),
                _ => values(&[("minimum_calls", "9")]),
            },
            ..Default::default()
        });
        let change = state.number(change, now).unwrap();
        state.insert(change.clone());
        change.id
    };
    let set = take(Action::Settings);
    let reset = take(Action::Reset);
    let later = now + DAY * 2;
    state.prune(later);
    let given = |after| {
        let answer = state.changes_for(&poll("a", after, Vec::new()), later, 1_000);
        ids(&answer.changes)
    };
    assert_eq!(given(Some(set)), [reset]);
    assert_eq!(given(Some(reset)), Vec::<u64>::new());
    assert_eq!(given(None), Vec::<u64>::new());
}

/// Scenario: settings are tried on 32 instances, one after the other; all but one are replaced by new ones.
/// Guarantees: those that are gone make room for a change of a new instance, and after a day go by themselves; the journal says
/// so, and they are not back after a restart. The one that polls keeps its settings.
#[tokio::test(start_paused = true)]
async fn changes_of_instances_that_are_gone_are_ended() {
    let world = World::new().await;
    let ids: Vec<&'static str> = (0..34).map(|n| &*format!("pod-{n}").leak()).collect();
    for id in &ids {
        world.report(id).await;
    }
    let set = async |world: &World, id: &str| {
        let set = world.set_for(&[id], &[("minimum_calls", "9")], None).await;
        set.map(|change| change.id)
    };
    let stays = set(&world, "pod-0").await.unwrap();
    for id in &ids[1..32] {
        set(&world, id).await.unwrap();
    }
    advance(MINUTE * 10).await;
    let full = set(&world, "pod-32").await;
    assert!(matches!(full, Err(ControlError::TooMany(_))));
    world.poll("pod-0", None).await;
    advance(SECOND).await;
    let new = set(&world, "pod-32").await.unwrap();
    let held = |world: &World| {
        let held = world
            .circuits
            .control()
            .state()
            .of_settings(&world.circuit().key);
        held.iter().map(|it| it.id).collect::<Vec<_>>()
    };
    assert_eq!(held(&world), [stays, new]);
    let world = world.restarted().await;
    assert_eq!(held(&world), [stays, new]);
    advance(DAY).await;
    world.poll("pod-0", None).await;
    advance(SECOND).await;
    let control = world.circuits.control();
    control.renew(UnixNanos::now()).await.unwrap();
    assert_eq!(held(&world), [stays]);
    let kind = JournalFilter {
        kind: Some(JournalKind::Settings),
        text: "has polled for 24 h: pod-32".to_owned(),
        ..JournalFilter::default()
    };
    let journal = control.journal(TimeRange::ALL, kind, 10).await.unwrap();
    let Recorded::Event(end) = &journal[0].recorded else {
        panic!("{journal:?}");
    };
    assert_eq!((end.object.clone(), end.by.as_str()), (new.to_string(), ""));
}
