//! Changes from the operator to the instances, over restarts, and their bounds.

mod bounds;
mod settings;

use std::time::Duration;

use fusebox::control::{Acknowledgement, Action, Change, Outcome};
use tempfile::TempDir;

use super::*;
use crate::codec::circuits::request::{FakeBreaker, micrometer, observed};
use crate::counters::Counters;
use crate::live::circuits::{CircuitSink, Circuits};
use crate::live::registry::ChangedBy;
use crate::model::{HOUR, InstanceStatus, MINUTE, Registration};

/// A collector to which two instances of a service report a breaker.
struct World {
    dir: TempDir,
    circuits: Circuits,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let circuits = open(&dir);
        let world = Self { dir, circuits };
        world.report("a").await;
        world.report("b").await;
        world
    }

    async fn report(&self, instance: &'static str) {
        let now = UnixNanos::now();
        let breaker = FakeBreaker::new(instance, now.get());
        let request = breaker.metrics(now.get());
        self.circuits
            .ingest_metrics(observed(&request), now)
            .await
            .unwrap();
    }

    /// Simulates a crash: nothing is closed, the log is opened again.
    async fn restarted(self) -> Self {
        let circuits = open(&self.dir);
        let world = Self { circuits, ..self };
        world.report("a").await;
        world.report("b").await;
        world
    }

    fn circuit(&self) -> CircuitView {
        let wall = self.circuits.wall_now(UnixNanos::now());
        wall.circuits.into_iter().next().unwrap()
    }

    async fn order(&self, order: ChangeOrder) -> Result<OperatorChange, ControlError> {
        let control = self.circuits.control();
        control
            .request(&self.circuit(), order, UnixNanos::now())
            .await
    }

    async fn force(&self, instances: &[&str]) -> u64 {
        self.order(order(Action::ForceOpen, instances))
            .await
            .unwrap()
            .id
    }

    /// Polls without waiting, as an instance that has the changes up to `after`.
    async fn poll(&self, instance: &str, after: Option<u64>) -> (Option<u64>, Vec<Change>) {
        self.poll_with(instance, after, Vec::new()).await
    }

    async fn poll_with(
        &self,
        instance: &str,
        after: Option<u64>,
        acknowledged: Vec<Acknowledgement>,
    ) -> (Option<u64>, Vec<Change>) {
        let poll = poll(instance, after, acknowledged);
        let control = self.circuits.control();
        let answer = control.poll(poll, Instant::now()).await.unwrap();
        (Some(answer.after), answer.changes)
    }

    fn deliveries(&self) -> Vec<(u64, Vec<(String, Delivery)>)> {
        let statuses = self
            .circuits
            .control()
            .changes(&self.circuit(), UnixNanos::now());
        let pair = |delivery: InstanceDelivery| (delivery.instance, delivery.state);
        let statuses = statuses.into_iter();
        statuses
            .map(|status| {
                let deliveries = status.deliveries.into_iter().map(pair);
                (status.change.id, deliveries.collect())
            })
            .collect()
    }
}

fn open(dir: &TempDir) -> Circuits {
    Circuits::open(dir.path(), HOUR * 24 * 7, Arc::<Counters>::default()).unwrap()
}

fn poll(instance: &str, after: Option<u64>, acknowledged: Vec<Acknowledgement>) -> Poll {
    Poll {
        service: "product-page".to_owned(),
        instance: instance.to_owned(),
        after,
        wait_ms: 0,
        acknowledged,
        loggers: Vec::new(),
        takes_settings: true,
    }
}

fn order(action: Action, instances: &[&str]) -> ChangeOrder {
    ChangeOrder {
        action,
        reason: "the disk is full".to_owned(),
        by: "Ada".to_owned(),
        lifetime: Some(HOUR),
        instances: instances.iter().map(|id| (*id).to_owned()).collect(),
    }
}

fn ids(changes: &[Change]) -> Vec<u64> {
    changes.iter().map(|change| change.id).collect()
}

fn applied(change: u64) -> Vec<Acknowledgement> {
    let outcome = Outcome::Applied;
    vec![Acknowledgement {
        change,
        outcome,
        problem: String::new(),
    }]
}

fn owned<const N: usize>(pairs: [(&str, Delivery); N]) -> Vec<(String, Delivery)> {
    pairs.map(|(id, state)| (id.to_owned(), state)).to_vec()
}

/// Scenario: the collector crashes while a change is pending for one instance, and again when it is not.
/// Guarantees: each instance gets the change once, and acknowledgements are restored.
#[tokio::test]
async fn a_pending_change_survives_a_crash() {
    let world = World::new().await;
    let (after, none) = world.poll("a", None).await;
    assert_eq!(none, []);
    let id = world.force(&[]).await;
    let (after, changes) = world.poll("a", after).await;
    assert_eq!((ids(&changes), after), (vec![id], Some(id)));
    assert_eq!(changes[0].reason, "Ada: the disk is full");
    let left = Duration::from_millis(changes[0].remaining_ms.unwrap());
    assert!(left <= HOUR && left > HOUR - MINUTE, "{left:?}");
    world.poll_with("a", after, applied(id)).await;
    let expected = owned([("a", Delivery::Applied), ("b", Delivery::NoChannel)]);
    assert_eq!(world.deliveries(), [(id, expected)]);

    let world = world.restarted().await;
    assert_eq!(world.poll("a", after).await, (after, Vec::new()));
    assert_eq!(ids(&world.poll("b", Some(0)).await.1), [id]);
    let expected = owned([("a", Delivery::Applied), ("b", Delivery::Pending)]);
    assert_eq!(world.deliveries(), [(id, expected)]);
    world.poll_with("b", Some(id), applied(id)).await;
    let world = world.restarted().await;
    let expected = owned([("a", Delivery::Applied), ("b", Delivery::Applied)]);
    assert_eq!(world.deliveries(), [(id, expected)]);
    // A process that starts anew gets what is still in force.
    assert_eq!(ids(&world.poll("a", None).await.1), [id]);
}

/// Scenario: an instance ends and is started again at once, under the same id; a late report of the first process comes.
/// Guarantees: it has ended until the new process polls for the first time, or reports calls counted since its start.
#[tokio::test]
async fn an_instance_that_is_started_again_has_not_ended() {
    let world = World::new().await;
    let control = world.circuits.control();
    let report = async |start: UnixNanos| {
        let now = UnixNanos::now();
        let mut breaker = FakeBreaker::new("a", start.get());
        breaker.count("success", 0, 1);
        let metrics = observed(&breaker.metrics(now.get()));
        world.circuits.ingest_metrics(metrics, now).await.unwrap();
    };
    let end = async || {
        let id = InstanceId {
            service: "product-page".to_owned(),
            instance: "a".to_owned(),
        };
        let time = UnixNanos::now();
        let announced = vec![EndReport { id, time }];
        control.end(announced, time).await.unwrap();
        time
    };
    let ended = || control.ended(UnixNanos::now()).len();
    let time = end().await;
    report(time - MINUTE).await;
    world.poll("a", Some(7)).await;
    world.poll("b", None).await;
    assert_eq!(ended(), 1);
    report(time + Duration::from_millis(1)).await;
    assert_eq!(ended(), 0);
    end().await;
    assert_eq!(ended(), 1);
    world.poll("a", None).await;
    assert_eq!(ended(), 0);
}

/// Scenario: an answer is lost in transit.
/// Guarantees: the next poll, with the same last change, gets it again.
#[tokio::test]
async fn a_lost_answer_is_given_again() {
    let world = World::new().await;
    let id = world.force(&[]).await;
    for _ in 0..2 {
        assert_eq!(ids(&world.poll("a", Some(0)).await.1), [id]);
    }
}

/// Scenario: an instance polls while a change has its number, but is not stored yet.
/// Guarantees: the instance does not count as having it.
#[tokio::test]
async fn a_change_that_is_being_stored_is_not_passed_over() {
    let world = World::new().await;
    let now = UnixNanos::now();
    let checked =
        order(Action::ForceOpen, &[]).checked(Subject::Breaker, world.circuit().key, &[], now);
    let mut state = State::default();
    let change = state.number(checked.unwrap(), now).unwrap();
    let before = state.changes_for(&poll("a", Some(0), Vec::new()), now, 1_000);
    assert!(before.changes.is_empty() && before.after < change.id);
    state.insert(change.clone());
    let next = poll("a", Some(before.after), Vec::new());
    let found = state.changes_for(&next, now, 1_000);
    assert_eq!(ids(&found.changes), [change.id]);
}

/// Scenario: the client that ordered a change disconnects while it is being stored.
/// Guarantees: the change is in force at once, not only after the next start.
#[tokio::test]
async fn a_change_whose_sender_leaves_is_in_force() {
    let world = World::new().await;
    let control = world.circuits.control();
    let circuit = world.circuit();
    let now = UnixNanos::now();
    let request = control.request(&circuit, order(Action::ForceOpen, &["a"]), now);
    let mut request = Box::pin(request);
    let polled =
        std::future::poll_fn(|context| std::task::Poll::Ready(request.as_mut().poll(context)));
    assert!(polled.await.is_pending());
    drop(request);
    let poll = poll("a", Some(0), Vec::new());
    let given = control.poll(poll, Instant::now() + MINUTE).await.unwrap();
    assert_eq!(given.changes.len(), 1);
}

/// Scenario: the collector's clock goes back by an hour after a change.
/// Guarantees: the change is in force no longer than requested.
#[tokio::test]
async fn a_clock_that_goes_back_prolongs_nothing() {
    let world = World::new().await;
    let now = UnixNanos::now();
    let checked =
        order(Action::ForceOpen, &[]).checked(Subject::Breaker, world.circuit().key, &[], now);
    let mut state = State::default();
    let change = state.number(checked.unwrap(), now).unwrap();
    state.insert(change);
    let asked = poll("a", None, Vec::new());
    let given = state.changes_for(&asked, now - HOUR, 1_000).changes;
    assert_eq!(given[0].remaining_ms.map(Duration::from_millis), Some(HOUR));
}

#[tokio::test]
async fn a_later_change_replaces_earlier_ones() {
    let world = World::new().await;
    let (after, _) = world.poll("a", None).await;
    let first = world.force(&[]).await;
    let picked = world.force(&["a"]).await;
    let reset = world.order(order(Action::Reset, &["a"])).await.unwrap();
    assert!(first < picked && picked < reset.id);
    assert_eq!(reset.expires, Some(reset.time + MINUTE * 10));
    assert_eq!(ids(&world.poll("a", after).await.1), [reset.id]);
    assert_eq!(ids(&world.poll("b", after).await.1), [first]);
    // A process that has just started is as after a reset, but not as before it.
    assert_eq!(world.poll("a", None).await.1, []);
    let pending = |id| owned([(id, Delivery::Pending)]);
    let expected = [(reset.id, pending("a")), (first, pending("b"))];
    assert_eq!(world.deliveries(), expected);
    let last = world.force(&[]).await;
    assert_eq!(ids(&world.poll("a", after).await.1), [last]);
    assert_eq!(world.deliveries().len(), 1);
}

/// Scenario: an instance is away for an hour while the change it follows is reset, or replaced for a minute.
/// Guarantees: it still gets the new one, since otherwise it would follow the earlier change for the rest of
/// the day; an instance that did not follow it does not, and neither does a new process.
#[tokio::test]
async fn an_instance_that_was_away_is_freed() {
    let world = World::new().await;
    let now = UnixNanos::now();
    for (action, lifetime) in [(Action::Reset, HOUR), (Action::MetricsOnly, MINUTE)] {
        let mut state = State::default();
        let mut take = |action, lifetime| {
            let order = ChangeOrder {
                lifetime: Some(lifetime),
                ..order(action, &[])
            };
            let change = order
                .checked(Subject::Breaker, world.circuit().key, &[], now)
                .unwrap();
            let change = state.number(change, now).unwrap();
            state.insert(change.clone());
            change.id
        };
        let forced = take(Action::ForceOpen, 20 * HOUR);
        // One more between them: what it replaced is not forgotten.
        take(Action::Reset, HOUR);
        let freed = take(action, lifetime);
        let given = |after, later| {
            let poll = poll("a", after, Vec::new());
            let found = state.changes_for(&poll, now + later, 1_000).changes;
            let given = found.first();
            given.map(|change| (change.id, change.remaining_ms))
        };
        assert_eq!(given(Some(forced), HOUR), Some((freed, Some(0))));
        assert_eq!(given(Some(freed), HOUR), None);
        assert_eq!(given(Some(forced - 1), HOUR), None);
        assert_eq!(given(None, HOUR), None);
        assert_eq!(given(Some(forced), 21 * HOUR), None);
    }
}

#[tokio::test]
async fn what_has_expired_is_not_given() {
    let world = World::new().await;
    let brief = ChangeOrder {
        lifetime: Some(Duration::from_secs(1)),
        ..order(Action::Disable, &[])
    };
    let past = UnixNanos::now() - MINUTE;
    let control = world.circuits.control();
    let change = control.request(&world.circuit(), brief, past).await;
    assert!(change.unwrap().expires < Some(UnixNanos::now()));
    assert_eq!(world.poll("a", Some(0)).await.1, []);
    assert_eq!(world.deliveries(), []);
}

/// Scenario: two instances wait an hour for a change; one arrives for the first, then the collector stops.
/// Guarantees: each is answered at that moment.
#[tokio::test]
async fn a_poll_that_waits_is_answered_at_once() {
    let world = World::new().await;
    let control = world.circuits.control().clone();
    let waits = |instance: &'static str| {
        let control = control.clone();
        tokio::spawn(async move {
            let poll = poll(instance, Some(0), Vec::new());
            let answer = control.poll(poll, Instant::now() + HOUR).await;
            answer.unwrap().changes.len()
        })
    };
    let (a, b) = (waits("a"), waits("b"));
    tokio::task::yield_now().await;
    world.force(&["a"]).await;
    assert_eq!(tokio::time::timeout(MINUTE, a).await.unwrap().unwrap(), 1);
    control.close();
    assert_eq!(tokio::time::timeout(MINUTE, b).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_wrong_order_names_what_is_wrong() {
    let world = World::new().await;
    let good = || order(Action::ForceOpen, &[]);
    let wrong = [
        (
            "reason",
            ChangeOrder {
                reason: "  ".to_owned(),
                ..good()
            },
        ),
        (
            "reason",
            ChangeOrder {
                reason: "é".repeat(501),
                ..good()
            },
        ),
        (
            "reason",
            ChangeOrder {
                reason: "a\u{1b}[2J".to_owned(),
                ..good()
            },
        ),
        (
            "by",
            ChangeOrder {
                by: String::new(),
                ..good()
            },
        ),
        (
            "expires_in_s",
            ChangeOrder {
                lifetime: Some(Duration::ZERO),
                ..good()
            },
        ),
        (
            "expires_in_s",
            ChangeOrder {
                lifetime: Some(HOUR * 25),
                ..good()
            },
        ),
        ("instances", order(Action::ForceOpen, &["a", "unknown"])),
    ];
    for (part, order) in wrong {
        match world.order(order).await {
            Err(ControlError::Invalid { parameter, .. }) => assert_eq!(parameter, part),
            other => panic!("{part}: {other:?}"),
        }
    }
    assert_eq!(world.deliveries(), []);
}

#[tokio::test]
async fn a_circuit_of_another_library_is_not_switched() {
    let world = World::new().await;
    let now = UnixNanos::now();
    let request = micrometer("closed", (1, 0, 0.0), now.get(), now.get());
    world
        .circuits
        .ingest_metrics(observed(&request), now)
        .await
        .unwrap();
    let wall = world.circuits.wall_now(now);
    let other = wall.circuits.iter().find(|c| c.source != Source::Fusebox);
    let control = world.circuits.control();
    let order = order(Action::ForceOpen, &[]);
    let refused = control.request(other.unwrap(), order, now).await;
    assert!(matches!(refused, Err(ControlError::NotSwitchable(_))));
}

/// Scenario: acknowledgements of changes that are not for the instance, are unknown, or were acknowledged
/// before.
/// Guarantees: none of them is stored.
#[tokio::test]
async fn only_new_outcomes_of_own_changes_are_stored() {
    let world = World::new().await;
    let id = world.force(&["a"]).await;
    world.poll_with("b", Some(0), applied(id)).await;
    world.poll_with("a", Some(0), applied(id + 1)).await;
    for _ in 0..3 {
        world.poll_with("a", Some(0), applied(id)).await;
    }
    let control = world.circuits.control();
    let journal = control.journal(TimeRange::ALL, JournalFilter::default(), 10);
    let journal = journal.await.unwrap();
    let outcomes = journal[0]
        .outcomes
        .iter()
        .map(|o| (o.instance.as_str(), o.change));
    assert_eq!(outcomes.collect::<Vec<_>>(), [("a", id)]);
}

#[tokio::test]
async fn the_journal_is_filtered_and_bounded() {
    let world = World::new().await;
    let first = world.force(&[]).await;
    let by_grace = ChangeOrder {
        by: "Grace".to_owned(),
        ..order(Action::Reset, &[])
    };
    let second = world.order(by_grace).await.unwrap().id;
    let world = world.restarted().await;
    let read = async |filter: JournalFilter, limit| {
        let control = world.circuits.control();
        let entries = control
            .journal(TimeRange::ALL, filter, limit)
            .await
            .unwrap();
        entries
            .iter()
            .map(|entry| entry.recorded.id())
            .collect::<Vec<_>>()
    };
    let all = JournalFilter::default();
    assert_eq!(read(all.clone(), 10).await, [second, first]);
    assert_eq!(read(all.clone(), 1).await, [second]);
    let text = |text: &str| JournalFilter {
        text: text.to_owned(),
        ..all.clone()
    };
    assert_eq!(read(text("gRACE"), 10).await, [second]);
    assert_eq!(read(text("disk"), 10).await, [second, first]);
    let other = JournalFilter {
        service: "cart".to_owned(),
        ..all.clone()
    };
    assert_eq!(read(other, 10).await, Vec::<u64>::new());
}

/// Scenario: a circuit is switched on one instance; an instance registers, reports that it is up, is taken out of service
/// and leaves.
/// Guarantees: one journal has all of it, latest first, by kind, by instance and by service, without metadata.
#[tokio::test]
async fn the_journal_has_switches_and_registrations() {
    let world = World::new().await;
    world.force(&["a"]).await;
    let (registry, now) = (world.circuits.registry(), UnixNanos::now);
    let mut shop = Registration {
        service: "Product-Page".to_owned(),
        instance: "a".to_owned(),
        ..Registration::default()
    };
    registry.register(shop.clone(), now()).await.unwrap();
    shop.status = InstanceStatus::Up;
    registry.register(shop, now()).await.unwrap();
    let by = ChangedBy {
        name: "kim".to_owned(),
        reason: "it misbehaves".to_owned(),
    };
    let status = Some(InstanceStatus::OutOfService);
    let ordered = registry.order_status("product-page", "a", status, by, now());
    ordered.await.unwrap();
    registry.leave("product-page", "a", now()).await.unwrap();
    let read = async |filter: JournalFilter, limit| {
        let control = world.circuits.control();
        let entries = control.journal(TimeRange::ALL, filter, limit).await;
        let entry = |entry: JournalEntry| match entry.recorded {
            Recorded::Registry(it) => {
                assert_eq!(it.state, None);
                it.event.as_str()
            }
            _ => entry.kind.as_str(),
        };
        entries.unwrap().into_iter().map(entry).collect::<Vec<_>>()
    };
    let all = JournalFilter::default();
    let kind = |kind| JournalFilter {
        kind: Some(kind),
        ..all.clone()
    };
    let everything = [
        "left",
        "status_forced",
        "status_changed",
        "registered",
        "switch",
    ];
    assert_eq!(read(all.clone(), 10).await, everything);
    assert_eq!(read(all.clone(), 2).await, everything[..2]);
    let statuses = read(kind(JournalKind::Status), 10).await;
    assert_eq!(statuses, everything[1..3]);
    let registrations = read(kind(JournalKind::Registration), 10).await;
    assert_eq!(registrations, ["left", "registered"]);
    assert_eq!(read(kind(JournalKind::Switch), 10).await, ["switch"]);
    for (instance, count) in [("a", 5), ("b", 0)] {
        let of_instance = JournalFilter {
            service: "product-page".to_owned(),
            instance: instance.to_owned(),
            ..all.clone()
        };
        assert_eq!(read(of_instance, 10).await, everything[..count]);
    }
    let text = JournalFilter {
        text: "MISBEHAVES".to_owned(),
        ..all.clone()
    };
    assert_eq!(read(text, 10).await, ["status_forced"]);
}
