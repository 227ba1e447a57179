//! When something is sent, to whom, and how often.

use std::time::Duration;

use super::super::incident::FLAPPING_WITHIN;
use super::super::settings;
use super::*;
use crate::model::{CircuitKey, HOUR, MINUTE, SECOND};

const START: UnixNanos = UnixNanos::new(1_760_000_000_000_000_000);

/// The state with its targets, at a time.
struct World {
    state: State,
    targets: Vec<Arc<Target>>,
    now: UnixNanos,
}

impl World {
    fn new(more: &str) -> Self {
        let targets = targets(&[("a", more)]);
        let mut state = State::default();
        state.set_targets(&targets, START);
        let now = START + SECOND;
        Self {
            state,
            targets,
            now,
        }
    }

    fn find(&mut self, is_open: bool) -> Noted {
        let problem = is_open.then(|| Problem {
            since: self.now,
            reason: "too many errors".to_owned(),
            opened_by: None,
        });
        let subject = circuit("stock");
        let noted = self
            .state
            .observe(vec![Finding { subject, problem }], self.now);
        self.state.prune(&self.targets, self.now);
        noted
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Sends what is due and returns it.
    fn send(&mut self) -> Vec<&'static str> {
        self.send_to(0)
    }

    fn send_to(&mut self, target: usize) -> Vec<&'static str> {
        let target = Arc::clone(&self.targets[target]);
        let due = self.state.due(&target, self.now, 100);
        for notice in &due {
            self.state.settle(&target.name, notice, self.now);
        }
        let words = due
            .iter()
            .map(|notice| match (notice.stage, notice.is_reminder) {
                (_, true) => "reminder",
                (stage, _) => stage.word(),
            });
        words.collect()
    }

    /// Simulates a restart from the written state.
    fn restart(&mut self) {
        let json = serde_json::to_vec(&self.state).unwrap();
        self.state = serde_json::from_slice(&json).unwrap();
        self.state.set_targets(&self.targets, self.now);
    }

    fn mute(&mut self, service: &str, time: Duration) -> u64 {
        let order = MuteOrder {
            service: service.to_owned(),
            for_s: time.as_secs(),
            by: "Ada".to_owned(),
            reason: "we deploy".to_owned(),
            ..MuteOrder::default()
        };
        self.state.mute(order, self.now).unwrap().id
    }
}

impl super::super::incident::Stage {
    fn word(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Flapping => "flapping",
            Self::Ended => "ended",
        }
    }
}

fn targets(named: &[(&str, &str)]) -> Vec<Arc<Target>> {
    let target = |(name, more): &(&str, &str)| {
        format!(r#"{{"name":"{name}","slack":{{"url":"https://a.example/"}}{more}}}"#)
    };
    let all: Vec<_> = named.iter().map(target).collect();
    settings::tests::read(&format!(r#"{{"targets":[{}]}}"#, all.join(",")))
        .unwrap()
        .targets
}

fn circuit(name: &str) -> Subject {
    Subject::Circuit(CircuitKey {
        service: "shop".to_owned(),
        name: name.to_owned(),
    })
}

#[test]
fn an_incident_is_one_message_and_its_end() {
    let mut world = World::new("");
    assert_eq!(world.find(false), Noted::default());
    assert!(world.find(true).is_changed);
    assert_eq!(world.send(), ["begun"]);
    world.pass(HOUR);
    assert!(!world.find(true).is_changed);
    assert_eq!(world.send(), [""; 0]);
    world.find(false);
    assert_eq!(world.send(), ["ended"]);
    assert_eq!(world.send(), [""; 0]);
    world.pass(HOUR);
    world.find(false);
    assert_eq!(world.state.incidents(), []);
}

/// Scenario: the collector restarts before and after a message is sent, at each stage of the incident.
/// Guarantees: sent messages are not repeated, unsent ones are sent.
#[test]
fn nothing_is_sent_twice_and_nothing_is_lost_over_a_restart() {
    let mut world = World::new("");
    world.find(true);
    world.restart();
    assert_eq!(world.send(), ["begun"]);
    world.restart();
    world.find(true);
    assert_eq!(world.send(), [""; 0]);
    world.find(false);
    world.restart();
    assert_eq!(world.send(), ["ended"]);
    world.restart();
    world.find(false);
    assert_eq!(world.send(), [""; 0]);
}

#[test]
fn what_ended_before_it_was_sent_is_one_message() {
    let mut world = World::new("");
    world.find(true);
    world.pass(MINUTE);
    world.find(false);
    assert_eq!(world.send(), ["ended"]);
    // Where the end is not wanted, that it was is.
    let mut world = World::new(r#","ends":false"#);
    world.find(true);
    world.find(false);
    assert_eq!(world.send(), ["ended"]);
    let mut world = World::new(r#","ends":false"#);
    world.find(true);
    assert_eq!(world.send(), ["begun"]);
    world.find(false);
    assert_eq!(world.send(), [""; 0]);
}

#[test]
fn reminders_come_while_it_goes_on() {
    let mut world = World::new(r#","remind":"30m""#);
    world.find(true);
    assert_eq!(world.send(), ["begun"]);
    for _ in 0..3 {
        world.pass(MINUTE * 29);
        assert_eq!(world.send(), [""; 0]);
        world.pass(MINUTE);
        assert_eq!(world.send(), ["reminder"]);
    }
    world.find(false);
    assert_eq!(world.send(), ["ended"]);
    world.pass(HOUR);
    assert_eq!(world.send(), [""; 0]);
}

#[test]
fn short_incidents_are_not_sent_where_that_is_not_wanted() {
    let mut world = World::new(r#","after":"2m""#);
    world.find(true);
    world.pass(MINUTE);
    assert_eq!(world.send(), [""; 0]);
    world.find(false);
    assert_eq!(world.send(), [""; 0]);
    world.find(true);
    world.pass(MINUTE * 2);
    assert_eq!(world.send(), ["begun"]);
}

/// Scenario: a circuit opens and closes every half minute, and finally stays closed.
/// Guarantees: the third opening is the last message until the circuit was closed for ten minutes.
#[test]
fn a_flapping_circuit_is_one_message() {
    let mut world = World::new("");
    let mut sent = Vec::new();
    for _ in 0..20 {
        world.find(true);
        sent.extend(world.send());
        world.pass(SECOND * 15);
        world.find(false);
        sent.extend(world.send());
        world.pass(SECOND * 15);
        world.restart();
    }
    assert_eq!(sent, ["begun", "ended", "begun", "ended", "flapping"]);
    world.pass(FLAPPING_WITHIN - MINUTE);
    world.find(false);
    assert_eq!(world.send(), [""; 0]);
    world.pass(MINUTE * 2);
    world.find(false);
    assert_eq!(world.send(), ["ended"]);
}

/// Scenario: a circuit opens during a mute and closes within it, or after it.
/// Guarantees: the first incident is not sent at all, the second when the period ends; the end of one sent
/// earlier is sent at once.
#[test]
fn a_mute_holds_back_what_begins() {
    let mut world = World::new("");
    world.mute("shop", MINUTE * 10);
    world.find(true);
    assert_eq!(world.send(), [""; 0]);
    world.find(false);
    assert_eq!(world.send(), [""; 0]);
    world.pass(MINUTE * 11);
    assert_eq!(world.send(), [""; 0]);

    let mut world = World::new("");
    world.mute("shop", MINUTE * 10);
    world.restart();
    world.find(true);
    assert_eq!(world.send(), [""; 0]);
    world.pass(MINUTE * 11);
    assert_eq!(world.send(), ["begun"]);
    let id = world.mute("", HOUR);
    world.find(false);
    assert_eq!(world.send(), ["ended"]);
    world.pass(MINUTE);
    world.find(true);
    assert_eq!(world.send(), [""; 0]);
    assert!(world.state.unmute(id).is_some() && world.state.unmute(id).is_none());
    assert_eq!(world.send(), ["begun"]);

    let mut world = World::new("");
    world.mute("other", HOUR);
    world.find(true);
    assert_eq!(world.send(), ["begun"]);
}

/// Guarantees: a posted alert is posted again during a mute, since Alertmanager would otherwise resolve
/// it.
#[test]
fn an_alert_is_kept_alive_while_it_is_muted() {
    let mut world = World::new("");
    let file = r#"{"targets":[{"name":"a","alertmanager":{"url":"http://a.example"}}]}"#;
    world.targets = settings::tests::read(file).unwrap().targets;
    world.find(true);
    assert_eq!(world.send(), ["begun"]);
    world.mute("", HOUR);
    world.pass(MINUTE);
    assert_eq!(world.send(), ["reminder"]);
    world.find(false);
    assert_eq!(world.send(), ["ended"]);
    world.find(true);
    assert_eq!(world.send(), [""; 0]);
}

#[test]
fn an_invalid_mute_names_the_field() {
    let good = MuteOrder {
        for_s: 900,
        by: "Ada".to_owned(),
        reason: "we deploy".to_owned(),
        ..MuteOrder::default()
    };
    let wrong = [
        (
            "for_s",
            MuteOrder {
                for_s: 0,
                ..good.clone()
            },
        ),
        (
            "for_s",
            MuteOrder {
                for_s: u64::MAX,
                ..good.clone()
            },
        ),
        (
            "by",
            MuteOrder {
                by: " ".to_owned(),
                ..good.clone()
            },
        ),
        (
            "reason",
            MuteOrder {
                reason: "a\nb".to_owned(),
                ..good.clone()
            },
        ),
        (
            "service",
            MuteOrder {
                service: "é".repeat(501),
                ..good.clone()
            },
        ),
    ];
    let mut state = State::default();
    for (part, order) in wrong {
        match state.mute(order, START) {
            Err(MuteError::Invalid { parameter, .. }) => assert_eq!(parameter, part),
            other => panic!("{part}: {other:?}"),
        }
    }
    let taken = (0..200).filter(|_| state.mute(good.clone(), START).is_ok());
    assert_eq!(taken.count(), MUTES_MAX);
    assert!(state.mute(good, START + HOUR).is_ok());
}

/// Scenario: a target is added to the file while one incident is open and another has just ended.
/// Guarantees: it gets only the open one; a target that is removed and added again gets it again.
#[test]
fn a_new_target_is_sent_what_goes_on() {
    let mut world = World::new("");
    world.find(true);
    world.find(false);
    world.targets = targets(&[("a", ""), ("b", "")]);
    world.pass(MINUTE);
    world.state.set_targets(&world.targets.clone(), world.now);
    assert_eq!(
        (world.send_to(1), world.send_to(0)),
        (Vec::new(), vec!["ended"])
    );
    world.find(true);
    assert_eq!(
        (world.send_to(1), world.send_to(0)),
        (vec!["begun"], vec!["begun"])
    );
}

/// Scenario: a service is removed while its circuit is open.
/// Guarantees: the incident ends and says why.
#[test]
fn what_is_no_longer_listed_ends() {
    let mut world = World::new("");
    world.find(true);
    assert_eq!(world.send(), ["begun"]);
    let mut listed = BTreeSet::from([circuit("stock")]);
    assert!(!world.state.end_unlisted(&listed, world.now));
    listed.clear();
    assert!(world.state.end_unlisted(&listed, world.now));
    assert!(!world.state.end_unlisted(&listed, world.now));
    assert!(world.state.incidents()[0].is_gone);
    assert_eq!(world.send(), ["ended"]);
    world.find(true);
    assert!(!world.state.incidents()[0].is_gone);
    assert_eq!(world.send(), ["begun"]);
}

/// Scenario: the clock of a service is an hour ahead.
/// Guarantees: its incident is sent at once, and does not end before it begins.
#[test]
fn an_incident_does_not_begin_ahead() {
    let mut world = World::new("");
    world.pass(HOUR);
    let ahead = world.now;
    let problem = Problem {
        since: ahead,
        reason: String::new(),
        opened_by: None,
    };
    world.now = START + SECOND;
    for _ in 0..2 {
        let finding = Finding {
            subject: circuit("stock"),
            problem: Some(problem.clone()),
        };
        world.state.observe(vec![finding], world.now);
        assert_eq!(world.send(), ["begun"]);
        world.find(false);
        assert_eq!(world.send(), ["ended"]);
        let incident = &world.state.incidents()[0];
        assert!(Some(incident.since) <= incident.ended);
    }
}

#[test]
fn incidents_are_bounded() {
    let mut state = State::default();
    let finding = |n: usize| Finding {
        subject: circuit(&format!("c{n}")),
        problem: Some(Problem {
            since: START,
            reason: String::new(),
            opened_by: None,
        }),
    };
    let noted = state.observe((0..INCIDENTS_MAX + 7).map(finding).collect(), START);
    assert_eq!(
        (state.incidents().len(), noted.not_kept),
        (INCIDENTS_MAX, 7)
    );
    // One that ended makes room; those that go on stay.
    let ends = |n: usize| Finding {
        problem: None,
        ..finding(n)
    };
    state.observe(vec![ends(5)], START + MINUTE);
    state.observe(vec![ends(3)], START + SECOND);
    let new = finding(INCIDENTS_MAX + 7);
    let noted = state.observe(vec![new.clone(), new], START + MINUTE);
    assert_eq!(
        (state.incidents().len(), noted.not_kept),
        (INCIDENTS_MAX, 0)
    );
    let names: BTreeSet<_> = state.incidents().iter().map(|one| &one.subject).collect();
    assert!(names.contains(&circuit("c5")) && !names.contains(&circuit("c3")));
}

/// *Guarantees*: mutes, and the journal's entries about them, are read as earlier builds wrote them.
#[test]
fn mutes_of_an_earlier_build_stay_in_force() {
    use crate::model::EventKind;
    let json = r#"{"quiets": [{"id": 7, "service": "shop", "circuit": "", "until_unix_nanos": 1760000600000000000,
        "by": "Ada", "reason": "we deploy"}], "last_quiet": 7}"#;
    let mut state: State = serde_json::from_str(json).unwrap();
    assert_eq!(state.mutes(START).len(), 1);
    let order = MuteOrder {
        for_s: 900,
        by: "Ada".to_owned(),
        reason: "we deploy".to_owned(),
        ..MuteOrder::default()
    };
    assert_eq!(state.mute(order, START).unwrap().id, 8);
    let kinds: [EventKind; 2] = serde_json::from_str(r#"["begin_quiet", "end_quiet"]"#).unwrap();
    assert_eq!(kinds, [EventKind::Mute, EventKind::Unmute]);
}

/// Scenario: a service reports more open circuits than there is room for, then another one's opens.
/// Guarantees: the first incident of the other service has a place, and those of the first stay as they are.
#[test]
fn one_service_does_not_take_the_room_of_all() {
    let finding = |service: &str, name: String| Finding {
        subject: Subject::Circuit(CircuitKey {
            service: service.to_owned(),
            name,
        }),
        problem: Some(Problem {
            since: START,
            reason: String::new(),
            opened_by: None,
        }),
    };
    let flood = || (0..=INCIDENTS_MAX).map(|n| finding("fake", n.to_string()));
    let mut state = State::default();
    assert_eq!(state.observe(flood().collect(), START).not_kept, 1);
    let all = || flood().chain([finding("shop", "stock".to_owned())]);
    for _ in 0..2 {
        assert!(state.observe(all().collect(), START).not_kept > 0);
        let of_shop = state
            .incidents
            .iter()
            .filter(|one| one.subject == circuit("stock"));
        assert_eq!((of_shop.count(), state.incidents.len()), (1, INCIDENTS_MAX));
    }
}
