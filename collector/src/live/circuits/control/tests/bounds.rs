//! What is held is bounded, whatever operators and senders do.

use fusebox::control::{Level, LoggerLevel};

use super::*;

#[tokio::test]
async fn changes_of_single_instances_are_bounded() {
    let world = World::new().await;
    let ids: Vec<&'static str> = (0..40).map(|n| &*format!("pod-{n}").leak()).collect();
    for id in &ids {
        world.report(id).await;
    }
    let mut taken = 0;
    for id in &ids {
        match world.order(order(Action::ForceOpen, &[*id])).await {
            Ok(_) => taken += 1,
            Err(error) => assert!(matches!(error, ControlError::TooMany(_)), "{error}"),
        }
    }
    assert_eq!((taken, world.deliveries().len()), (32, 32));
    // The latest of an instance replaces the one before, and one for all replaces them all.
    world.force(&["pod-0"]).await;
    world.force(&[]).await;
    assert_eq!(world.deliveries().len(), 1);
    world.force(&["pod-39"]).await;
}

/// Scenario: one sender polls once for each of ten thousand names.
/// Guarantees: polling instances are kept, and a new one finds room.
#[test]
fn many_names_leave_room_for_new_instances() {
    let mut state = State::default();
    let now = UnixNanos::now();
    let id = |n: usize| ("product-page".to_owned(), format!("pod-{n}"));
    state.channels.connect(&id(0), Way::Channel, now).unwrap();
    for n in 1..20_000 {
        state.channels.connect(&id(n), Way::Channel, now).unwrap();
        state.channels.disconnect(&id(n));
    }
    let channels = state.channels.all(now);
    assert!(channels.iter().any(|channel| channel.instance == "pod-0"));
    assert!(channels.len() <= 10_000);
}

/// Scenario: one sender acknowledges the changes of a hundred circuits in the names of a thousand instances.
/// Guarantees: the number of stored outcomes is bounded, and replacing the changes makes room again.
#[tokio::test]
async fn outcomes_are_bounded() {
    let world = World::new().await;
    let now = UnixNanos::now();
    let checked = {
        let order = order(Action::ForceOpen, &[]);
        order.checked(Subject::Breaker, world.circuit().key, &[], now)
    };
    let one = checked.unwrap();
    let mut state = State::default();
    let force = |state: &mut State, n: usize| {
        let mut change = one.clone();
        change.key.name = format!("circuit-{n}");
        let change = state.number(change, now).unwrap();
        state.insert(change.clone());
        change.id
    };
    let ids: Vec<u64> = (0..100).map(|n| force(&mut state, n)).collect();
    let acknowledge = |state: &mut State, instance: &str| {
        let all = ids.iter().flat_map(|id| applied(*id)).collect();
        let new = state.new_outcomes(&poll(instance, None, all), now);
        new.iter().for_each(|one| state.settle(one.clone()));
        new.len()
    };
    let kept: usize = (0..1_000)
        .map(|n| acknowledge(&mut state, &format!("pod-{n}")))
        .sum();
    assert_eq!(kept, 50_000);
    let last = force(&mut state, 0);
    let acknowledged = poll("pod-0", None, applied(last));
    assert_eq!(state.new_outcomes(&acknowledged, now).len(), 1);
}

/// Scenario: a thousand instances list more loggers than they may, with names that are too long among them.
/// Guarantees: few of each are kept, and of all of them no more than there is room for; those of an instance that comes again
/// are counted once.
#[test]
fn loggers_are_bounded() {
    let mut state = State::default();
    let now = UnixNanos::now();
    let logger = |n: usize| LoggerLevel {
        name: if n == 0 {
            "x".repeat(300)
        } else {
            format!("logger-{n}")
        },
        level: Level::Info,
        expires_in_ms: None,
    };
    let loggers: Vec<_> = (0..100).map(logger).collect();
    for instance in (0..1_000).map(|n| format!("pod-{}", n / 2)) {
        let id = ("shop".to_owned(), instance);
        state.channels.connect(&id, Way::Channel, now).unwrap();
        state.channels.note(&id, loggers.clone(), false);
    }
    let kept = |n: usize| state.channels.loggers("shop", &format!("pod-{n}")).unwrap();
    assert_eq!((kept(0).len(), kept(0)[0].name.as_str()), (64, "logger-1"));
    assert_eq!((0..500).map(|n| kept(n).len()).sum::<usize>(), 500 * 64);
    for n in 500..2_000 {
        let id = ("shop".to_owned(), format!("pod-{n}"));
        state.channels.connect(&id, Way::Channel, now).unwrap();
        state.channels.note(&id, loggers.clone(), false);
    }
    let kept = |n: usize| state.channels.loggers("shop", &format!("pod-{n}")).unwrap();
    assert_eq!((0..2_000).map(|n| kept(n).len()).sum::<usize>(), 50_000);
}
