//! Changes of settings: what instances get over restarts and expiry, their versions, and their renewal.

use fusebox::circuit_breaker::SettingValues;

use super::*;
use crate::live::circuits::Origin;
use crate::model::DAY;

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
        let order = ChangeOrder {
            lifetime,
            ..order(Action::Settings, &[])
        };
        let control = self.circuits.control();
        let (circuit, now) = (self.circuit(), UnixNanos::now());
        control
            .request_settings(&circuit, order, values(pairs), now)
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
    assert!(none.to_string().contains("no such version"), "{none}");
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
    let back = world.set(&[], None).await.unwrap();
    assert_eq!(back.action, Action::Reset);
    let settings = control.settings(&world.circuit(), UnixNanos::now());
    assert!(settings.iter().all(|it| it.changed.is_none()));
}

/// Scenario: a change without an end gets as old as half the retention; another one that expired left an earlier one.
/// Guarantees: what lasts is stored again, once, so that it outlives the retention.
#[tokio::test]
async fn what_lasts_is_renewed_before_it_is_deleted() {
    let world = World::new().await;
    let lasting = world.set(&[("minimum_calls", "9")], None).await.unwrap();
    let brief = world.set(&[("timeout", "2s")], Some(HOUR)).await.unwrap();
    let control = world.circuits.control();
    let now = UnixNanos::now();
    assert_eq!(control.renew(now + DAY).await.unwrap(), 0);
    let later = now + DAY * 4;
    assert_eq!(control.renew(later).await.unwrap(), 1);
    assert_eq!(control.renew(later + HOUR).await.unwrap(), 0);
    let latest = control.state().of_settings(&lasting.key).pop().unwrap();
    assert_eq!((latest.time, latest.expires), (later, None));
    let settings = latest.settings.unwrap();
    assert_eq!(settings.renews, Some(brief.id));
    assert_eq!(settings.values, values(&[("minimum_calls", "9")]));
    assert_eq!(settings.differences(), []);
}

/// Scenario: an instance is disconnected for two days while a change without an end is taken back.
/// Guarantees: it gets the service's own settings when it returns.
#[tokio::test]
async fn an_instance_that_was_away_returns_to_its_own_settings() {
    let world = World::new().await;
    let (now, key) = (UnixNanos::now(), world.circuit().key);
    let mut state = State::default();
    let id = ("product-page".to_owned(), "a".to_owned());
    state.channels.connect(&id, now).unwrap();
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
