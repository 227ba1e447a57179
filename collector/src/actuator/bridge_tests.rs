//! Changes passed on to an actuator.

use axum::http::StatusCode;
use fusebox::control::{Action, Level};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::super::fixture::{self, jvm, registration, start, until};
use super::*;
use crate::live::circuits::{ChangeOrder, Control, ControlError, Delivery};
use crate::model::{CircuitKey, Registration};

struct Fixture {
    circuits: Circuits,
    actuators: Actuators,
    passing: JoinHandle<()>,
}

impl Fixture {
    /// Opens the collector's part, and registers the service.
    async fn open(dir: &TempDir, url: &str) -> Self {
        Self::with(dir, registration(url)).await
    }

    async fn with(dir: &TempDir, registration: Registration) -> Self {
        let (circuits, actuators) = fixture::open(dir, registration).await;
        let passing = tokio::spawn(pass_on(actuators.clone(), circuits.clone()));
        Self {
            circuits,
            actuators,
            passing,
        }
    }

    /// Waits until the levels of the service can be changed.
    async fn until_changeable(self) -> Self {
        until("it can be changed", || {
            !self.control().with_levels("shop").is_empty()
        })
        .await;
        self
    }

    /// Ends the collector's part as a kill does.
    async fn end(self) {
        self.passing.abort();
        let _ = self.passing.await;
        // Then its tasks are gone too.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    fn control(&self) -> &Control {
        self.circuits.control()
    }

    async fn level(&self, action: Action, lifetime_s: u64) {
        let change = self.control().request_level(
            key("shop.Orders"),
            order(action, lifetime_s),
            UnixNanos::now(),
        );
        change.await.unwrap();
    }

    async fn switch(
        &self,
        name: &str,
        action: Action,
        lifetime_s: u64,
    ) -> Result<(), ControlError> {
        let order = order(action, lifetime_s);
        let change = self
            .control()
            .request_through_actuator(key(name), order, UnixNanos::now());
        change.await.map(drop)
    }

    /// Returns the stage of the latest change of a level.
    fn level_delivery(&self) -> Option<Delivery> {
        let changes = self.control().level_changes("shop", UnixNanos::now());
        let latest = changes.into_iter().next()?;
        Some(latest.deliveries.into_iter().next()?.state)
    }

    /// Returns the outcome of the latest change of a circuit breaker, and why it was refused.
    fn outcome(&self, name: &str) -> Option<(String, String)> {
        let changes = self.control().breaker_changes("shop", UnixNanos::now());
        let change = changes
            .into_iter()
            .find(|change| change.change.key.name == name)?;
        let delivery = change.deliveries.into_iter().next()?;
        Some((format!("{:?}", delivery.state), delivery.problem))
    }
}

fn key(name: &str) -> CircuitKey {
    CircuitKey {
        service: "shop".to_owned(),
        name: name.to_owned(),
    }
}

fn order(action: Action, lifetime_s: u64) -> ChangeOrder {
    ChangeOrder {
        action,
        reason: "the store is slow".to_owned(),
        by: "kim".to_owned(),
        lifetime: Some(Duration::from_secs(lifetime_s)),
        instances: vec!["a".to_owned()],
    }
}

/// *Scenario*: a level is changed for two seconds, and another for long, which is then reset.
/// *Guarantees*: each time, the configured level comes back.
#[tokio::test]
async fn a_level_is_set_and_put_back() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(json!("WARN")));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let fixture = Fixture::open(&dir, &url).await.until_changeable().await;
    let level = |level: &str| jvm.lock().levels["shop.Orders"] == level;
    fixture.level(Action::Level(Level::Debug), 2).await;
    until("the level is set", || level("DEBUG")).await;
    until("the level expires", || level("WARN")).await;
    fixture.level(Action::Level(Level::Trace), 600).await;
    until("the level is set", || level("TRACE")).await;
    fixture.level(Action::Reset, 600).await;
    until("the level is reset", || level("WARN")).await;
    let changes = fixture.control().level_changes("shop", UnixNanos::now());
    assert_eq!(changes[0].change.by, "kim");
}

/// *Scenario*: a circuit breaker is forced open and expires; one that does not exist is switched, and so is one to a state
/// that the actuator does not know.
/// *Guarantees*: the answers are shown; none is created.
#[tokio::test]
async fn a_breaker_is_switched_and_the_answer_is_known() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(Value::Null));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let fixture = Fixture::open(&dir, &url).await.until_changeable().await;
    fixture.switch("stock", Action::ForceOpen, 2).await.unwrap();
    until("it is forced open", || jvm.lock().state == "FORCED_OPEN").await;
    let applied = || {
        fixture
            .outcome("stock")
            .is_some_and(|(state, _)| state == "Applied")
    };
    until("it is acknowledged", applied).await;
    until("it is closed again", || jvm.lock().state == "CLOSED").await;
    let posts = jvm.lock().posts;
    for (name, action, problem) in [
        ("none", Action::ForceOpen, "no circuit breaker of this name"),
        (
            "stock",
            Action::MetricsOnly,
            "forced open, disabled or closed",
        ),
    ] {
        fixture.switch(name, action, 60).await.unwrap();
        let refused = || {
            fixture
                .outcome(name)
                .is_some_and(|(state, why)| state == "Refused" && why.contains(problem))
        };
        until("it is refused", refused).await;
    }
    assert_eq!(jvm.lock().posts, posts);
    let unknown = fixture.control().request_through_actuator(
        CircuitKey {
            service: "review".to_owned(),
            ..key("stock")
        },
        order(Action::ForceOpen, 60),
        UnixNanos::now(),
    );
    assert!(matches!(unknown.await, Err(ControlError::NotSwitchable(_))));
}

/// *Scenario*: the collector is restarted while a level and a circuit breaker are changed: the changes of the first expire
/// while it does not run, those of the second do not.
/// *Guarantees*: what expired is ended after the restart, and the rest stays and is ended in time.
#[tokio::test]
async fn changes_end_even_if_the_collector_was_away() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(Value::Null));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let fixture = Fixture::open(&dir, &url).await.until_changeable().await;
    fixture.level(Action::Level(Level::Debug), 2).await;
    fixture.switch("stock", Action::ForceOpen, 6).await.unwrap();
    let is_changed = || {
        let jvm = jvm.lock();
        jvm.state == "FORCED_OPEN" && jvm.levels["shop.Orders"] == "DEBUG"
    };
    until("both are changed", is_changed).await;
    let acknowledged = || {
        let changes = fixture.control().level_changes("shop", UnixNanos::now());
        let all = changes.iter().flat_map(|change| &change.deliveries);
        let applied = all.filter(|delivery| delivery.time.is_some()).count();
        applied == 1
            && fixture
                .outcome("stock")
                .is_some_and(|(state, _)| state == "Applied")
    };
    until("both are acknowledged", acknowledged).await;
    fixture.end().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(is_changed());
    let fixture = Fixture::open(&dir, &url).await.until_changeable().await;
    until("the level is put back", || {
        jvm.lock().levels["shop.Orders"].is_null()
    })
    .await;
    until("the breaker is closed", || jvm.lock().state == "CLOSED").await;
    fixture.passing.abort();
}

/// *Scenario*: a service is started again while a level is changed; it registers with another time of its start.
/// *Guarantees*: the new process gets the level too.
#[tokio::test]
async fn a_process_that_starts_gets_what_is_in_force() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(Value::Null));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let fixture = Fixture::open(&dir, &url).await.until_changeable().await;
    fixture.level(Action::Level(Level::Debug), 600).await;
    let is_set = || jvm.lock().levels["shop.Orders"] == "DEBUG";
    until("the level is set", is_set).await;
    let registry = fixture.circuits.registry();
    let mut again = registry
        .find("shop", "a")
        .unwrap()
        .registered
        .registration
        .clone();
    again
        .metadata
        .insert("startup".to_owned(), "2026-12-01T00:17:00Z".to_owned());
    jvm.lock()
        .levels
        .insert("shop.Orders".to_owned(), Value::Null);
    registry.register(again, UnixNanos::now()).await.unwrap();
    until("the level is set again", is_set).await;
}

/// *Scenario*: a level that was configured is changed; the collector is restarted; then the level is reset.
/// *Guarantees*: it is what was configured, which the collector kept.
#[tokio::test]
async fn what_was_configured_is_known_after_a_restart() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(json!("WARN")));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let level = |level: &str| jvm.lock().levels["shop.Orders"] == level;
    let fixture = Fixture::open(&dir, &url).await.until_changeable().await;
    fixture.level(Action::Level(Level::Debug), 600).await;
    until("the level is set", || level("DEBUG")).await;
    fixture.end().await;
    let fixture = Fixture::open(&dir, &url).await.until_changeable().await;
    fixture.level(Action::Reset, 600).await;
    until("the level is reset", || level("WARN")).await;
}

/// *Scenario*: a level and a circuit breaker are changed; the service takes nothing while both are reset and the collector is
/// restarted.
/// *Guarantees*: once the service takes changes, both are as they were.
#[tokio::test]
async fn a_reset_is_passed_on_after_a_restart() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(json!("WARN")));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let is = |level: &str, state: &str| {
        let jvm = jvm.lock();
        jvm.levels["shop.Orders"] == level && jvm.state == state
    };
    let fixture = Fixture::open(&dir, &url).await.until_changeable().await;
    fixture.level(Action::Level(Level::Debug), 600).await;
    fixture
        .switch("stock", Action::ForceOpen, 600)
        .await
        .unwrap();
    until("both are changed", || is("DEBUG", "FORCED_OPEN")).await;
    jvm.lock().refuses = Some(StatusCode::SERVICE_UNAVAILABLE);
    fixture.level(Action::Reset, 600).await;
    fixture.switch("stock", Action::Reset, 600).await.unwrap();
    fixture.end().await;
    let fixture = Fixture::open(&dir, &url).await.until_changeable().await;
    jvm.lock().refuses = None;
    until("both are reset", || is("WARN", "CLOSED")).await;
    fixture.passing.abort();
}

/// *Scenario*: a process that has just started, to which a level has to be passed on, cannot list its loggers for a moment.
/// *Guarantees*: it gets the level once it can.
#[tokio::test]
async fn a_level_waits_for_the_list_of_loggers() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(Value::Null));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let is_set = || jvm.lock().levels["shop.Orders"] == "DEBUG";
    let fixture = Fixture::open(&dir, &url).await.until_changeable().await;
    fixture.level(Action::Level(Level::Debug), 600).await;
    until("the level is set", is_set).await;
    fixture.end().await;
    let asked = {
        let mut jvm = jvm.lock();
        jvm.levels.insert("shop.Orders".to_owned(), Value::Null);
        jvm.hides_loggers = true;
        jvm.requests
    };
    let fixture = Fixture::open(&dir, &url).await;
    until("it was asked for its loggers", || {
        jvm.lock().requests > asked + 2
    })
    .await;
    jvm.lock().hides_loggers = false;
    until("the level is set again", is_set).await;
    fixture.passing.abort();
}

/// *Scenario*: a level and a circuit breaker are changed for a moment; the registration ends and begins anew, as after a cut; or
/// somebody else changes them meanwhile.
/// *Guarantees*: they are put back where they are as they were left, and only there.
#[tokio::test]
async fn a_lapse_of_the_registration_forgets_nothing() {
    for is_changed_by_others in [false, true] {
        let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(json!("WARN")));
        let (url, _served) = start(Arc::clone(&jvm)).await;
        let fixture = Fixture::open(&dir, &url).await.until_changeable().await;
        fixture.level(Action::Level(Level::Debug), 3).await;
        fixture.switch("stock", Action::ForceOpen, 3).await.unwrap();
        until("both are changed", || {
            let jvm = jvm.lock();
            jvm.state == "FORCED_OPEN" && jvm.levels["shop.Orders"] == "DEBUG"
        })
        .await;
        let registry = fixture.circuits.registry();
        registry.leave("shop", "a", UnixNanos::now()).await.unwrap();
        let is_over = || fixture.level_delivery().is_none() && fixture.outcome("stock").is_none();
        until("they have expired", is_over).await;
        if is_changed_by_others {
            let mut jvm = jvm.lock();
            jvm.state = "DISABLED".to_owned();
            jvm.levels.insert("shop.Orders".to_owned(), json!("TRACE"));
        }
        let again = registry.register(registration(&url), UnixNanos::now());
        again.await.unwrap();
        let held = dir.path().join(HELD_FILE);
        until("nothing is held", || {
            std::fs::read_to_string(&held).unwrap() == "{}"
        })
        .await;
        let now = {
            let jvm = jvm.lock();
            (jvm.state.clone(), jvm.levels["shop.Orders"].clone())
        };
        let expected = match is_changed_by_others {
            false => ("CLOSED", "WARN"),
            true => ("DISABLED", "TRACE"),
        };
        assert_eq!(now, (expected.0.to_owned(), json!(expected.1)));
    }
}

/// *Scenario*: the service refuses to be changed; it is then switched by somebody else.
/// *Guarantees*: the change is refused, and what others did stays when it would have expired.
#[tokio::test]
async fn what_the_service_refused_is_not_ended() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(json!("WARN")));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let fixture = Fixture::open(&dir, &url).await.until_changeable().await;
    jvm.lock().refuses = Some(StatusCode::FORBIDDEN);
    fixture.switch("stock", Action::ForceOpen, 2).await.unwrap();
    let refused = || {
        let outcome = fixture.outcome("stock");
        outcome.is_some_and(|(state, why)| state == "Refused" && why.contains("403"))
    };
    until("it is refused", refused).await;
    let held = std::fs::read_to_string(dir.path().join(HELD_FILE)).unwrap();
    assert_eq!(held, "{}");
    {
        let mut jvm = jvm.lock();
        (jvm.state, jvm.refuses) = ("FORCED_OPEN".to_owned(), None);
    }
    until("it has expired", || fixture.outcome("stock").is_none()).await;
    // The next level is set in a later round than the one that would have closed it.
    fixture.level(Action::Level(Level::Debug), 600).await;
    until("a later change", || {
        jvm.lock().levels["shop.Orders"] == "DEBUG"
    })
    .await;
    assert_eq!(jvm.lock().state, "FORCED_OPEN");
}

/// *Scenario*: an actuator wants a user; the collector is restarted, and the client has not registered since; then it does.
/// *Guarantees*: until then a change is pending, and the instance keeps its status; then it is applied.
#[tokio::test]
async fn a_change_waits_for_the_user_of_an_instance() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(json!("WARN")));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let user = crate::model::Credentials {
        name: "ada".to_owned(),
        password: "pw".into(),
    };
    let with_user = Registration {
        credentials: Some(user),
        ..registration(&url)
    };
    let fixture = Fixture::with(&dir, with_user.clone()).await;
    let fixture = fixture.until_changeable().await;
    fixture.end().await;
    jvm.lock().is_closed = true;
    let day = Duration::from_secs(86_400);
    let counters = Arc::new(crate::counters::Counters::default());
    let circuits = Circuits::open(dir.path(), 7 * day, counters).unwrap();
    let registry = circuits.registry().clone();
    let actuators = Actuators::new(
        registry.clone(),
        vec!["127.0.0.1".parse().unwrap()],
        Vec::new(),
    );
    actuators.check_all().await;
    let passing = tokio::spawn(pass_on(actuators.clone(), circuits.clone()));
    let fixture = Fixture {
        circuits,
        actuators,
        passing,
    };
    let polls = || fixture.control().channels().iter().any(|it| it.is_open);
    until("changes are passed on", polls).await;
    fixture
        .switch("stock", Action::ForceOpen, 600)
        .await
        .unwrap();
    let requests = jvm.lock().requests;
    until("it is tried", || jvm.lock().requests > requests + 2).await;
    let pending = Some(("Pending".to_owned(), String::new()));
    assert_eq!(fixture.outcome("stock"), pending);
    registry
        .register(with_user, UnixNanos::now())
        .await
        .unwrap();
    until("it is switched", || jvm.lock().state == "FORCED_OPEN").await;
}

/// *Scenario*: a service with the library, which polls itself, is also registered as a client of Spring Boot Admin.
/// *Guarantees*: nothing goes through its actuator.
#[tokio::test]
async fn a_library_that_polls_is_not_changed_twice() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(json!("WARN")));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let mut registered = registration(&url);
    let id = ("service.instance.id".to_owned(), "6f1c".to_owned());
    registered.metadata.extend([id]);
    let (circuits, actuators) = fixture::open(&dir, registered).await;
    let poll = |after| Poll {
        service: "shop".to_owned(),
        instance: "6f1c".to_owned(),
        after,
        wait_ms: 0,
        acknowledged: Vec::new(),
        loggers: vec![LoggerLevel {
            name: "ROOT".to_owned(),
            level: Level::Info,
            expires_in_ms: None,
        }],
        takes_settings: true,
    };
    let control = circuits.control().clone();
    let first = control.poll(poll(None), Instant::now()).await.unwrap();
    let passing = tokio::spawn(pass_on(actuators.clone(), circuits.clone()));
    let other = start(fixture::jvm(Value::Null)).await;
    let another = Registration {
        instance: "b".to_owned(),
        ..registration(&other.0)
    };
    let registry = circuits.registry();
    registry.register(another, UnixNanos::now()).await.unwrap();
    actuators.check_all().await;
    let asked = jvm.lock().requests;
    let fixture = Fixture {
        circuits,
        actuators,
        passing,
    };
    until("the other instance takes changes", || {
        fixture
            .control()
            .with_levels("shop")
            .contains(&"b".to_owned())
    })
    .await;
    let everywhere = ChangeOrder {
        instances: Vec::new(),
        ..order(Action::Level(Level::Debug), 600)
    };
    let change = fixture
        .control()
        .request_level(key("ROOT"), everywhere, UnixNanos::now());
    change.await.unwrap();
    let next = poll(Some(first.after));
    let given = control.poll(next, Instant::now()).await.unwrap();
    assert_eq!(given.changes.len(), 1);
    until("the other instance has it", || {
        let changes = fixture.control().level_changes("shop", UnixNanos::now());
        let mut all = changes.iter().flat_map(|it| &it.deliveries);
        all.any(|it| it.instance == "b" && it.state == Delivery::Applied)
    })
    .await;
    assert_eq!(jvm.lock().requests, asked);
}

/// *Scenario*: as many services as requests may wait for answer all but their health checks after a long time; the levels of all
/// of them and of another one are changed.
/// *Guarantees*: the other one has its change while theirs are under way.
#[tokio::test]
async fn slow_instances_do_not_delay_changes_of_others() {
    let (dir, prompt) = (tempfile::tempdir().unwrap(), jvm(json!("WARN")));
    let (url, _served) = start(Arc::clone(&prompt)).await;
    let fixture = Fixture::open(&dir, &url).await.until_changeable().await;
    let slow = jvm(Value::Null);
    slow.lock().delay = Duration::from_secs(4);
    let registry = fixture.circuits.registry();
    let mut servers = Vec::new();
    for n in 0..30 {
        let (url, server) = start(Arc::clone(&slow)).await;
        servers.push(server);
        let one = Registration {
            instance: format!("slow-{n}"),
            ..registration(&url)
        };
        registry.register(one, UnixNanos::now()).await.unwrap();
    }
    fixture.actuators.check_all().await;
    until("they are asked", || slow.lock().requests > 40).await;
    fixture.level(Action::Level(Level::Debug), 600).await;
    until("the level is set", || {
        prompt.lock().levels["shop.Orders"] == "DEBUG"
    })
    .await;
}
