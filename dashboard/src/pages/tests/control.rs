//! Tests of the pages of changes and instances: with friendly, empty and hostile data.

use fusebox::control::{Action, Level, LoggerLevel, Outcome, Subject};
use fusebox_collector::live::circuits::{
    ChangeStatus, ControlError, Delivery, InstanceDelivery, JournalEntry, JournalFilter,
    JournalKind, Recorded,
};
use fusebox_collector::notify::{Mute, MuteError, MuteOrder, Overview, TargetReport};
use fusebox_collector::query::{InstanceView, Instances, Liveness, RegistrationView};
use serde_json::json;

use super::*;
use crate::pages::instances::InstancesPage;
use crate::pages::instances::one::{self, Found, InstancePage};
use crate::pages::journal::JournalPage;
use crate::pages::notifications::{Entered, NotificationsPage};
use crate::pages::switch::form;

/// Returns every page: its name and its HTML.
pub(super) fn pages() -> Vec<(&'static str, String)> {
    let friendly = ["shop", "stock", "Ada", "the disk is full", "stock-1"];
    let readable = ["shop", "stock", "Ada", "incident 7", "stock-1"];
    let nasty_text = nasty();
    let hostile = [nasty_text.as_str(); 5];
    let circuit = fixtures::wall().circuits[0].clone();
    let filter = |text: &str| JournalFilter {
        service: text.to_owned(),
        circuit: text.to_owned(),
        instance: text.to_owned(),
        text: text.to_owned(),
        kind: None,
        by: text.to_owned(),
        without_registry: false,
    };
    vec![
        ("changes", journal(&entries(friendly), filter(""))),
        (
            "changes hostile",
            journal(&entries(hostile), filter(HOSTILE)),
        ),
        ("changes empty", journal(&[], filter(""))),
        ("changes none found", journal(&[], filter("x"))),
        ("instances", list(friendly, Some(3), "")),
        ("instances hostile", list(hostile, None, HOSTILE)),
        (
            "instances empty",
            html(InstancesPage::new(Instances::default(), "", NOW)),
        ),
        ("instance", instance(readable, true)),
        ("instance hostile", instance(hostile, true)),
        ("instance without levels", instance(readable, false)),
        ("notifications", notifications(friendly, "")),
        ("notifications hostile", notifications(hostile, HOSTILE)),
        (
            "notifications empty",
            html(NotificationsPage::new(
                Overview::default(),
                Entered::new(MuteOrder::default(), None),
                None,
                NOW,
            )),
        ),
        ("switch", switch(circuit, "the disk is full")),
        ("switch hostile", switch(nasty_circuit(), &nasty())),
    ]
}

fn journal(entries: &[JournalEntry], filter: JournalFilter) -> String {
    html(JournalPage::new(entries, filter, None, NOW))
}

fn entry([service, name, by, reason, instance]: [&str; 5]) -> JournalEntry {
    let key = CircuitKey {
        service: service.to_owned(),
        name: name.to_owned(),
    };
    let outcome = ChangeOutcome {
        subject: Subject::Breaker,
        key: key.clone(),
        change: 1,
        instance: instance.to_owned(),
        time: UnixNanos::new(NOW),
        outcome: Outcome::Applied,
        problem: String::new(),
        stored: None,
    };
    JournalEntry {
        kind: JournalKind::Switch,
        recorded: Recorded::Change(OperatorChange {
            subject: Subject::Breaker,
            id: 1,
            key,
            action: Action::ForceOpen,
            reason: reason.to_owned(),
            by: by.to_owned(),
            time: UnixNanos::new(NOW - HOUR),
            expires: Some(UnixNanos::new(NOW)),
            instances: vec![instance.to_owned()],
            settings: None,
            stored: None,
        }),
        outcomes: vec![outcome],
    }
}

fn notifications([service, circuit, by, reason, instance]: [&str; 5], typed: &str) -> String {
    let incident = |subject: serde_json::Value, ended: Option<u64>| {
        let mut json = json!({
            "since_unix_nanos": NOW - HOUR, "ended_unix_nanos": ended, "reason": reason,
            "opened_by": "4bf92f3577b34da6a3ce929d0e0e4736", "is_flapping": false, "is_gone": false,
            "is_muted": false, "is_present": true, "openings": [], "round": 0, "sent": {},
        });
        let fields = subject.as_object().into_iter().flatten();
        fields.for_each(|(key, value)| json[key] = value.clone());
        serde_json::from_value(json).expect("an incident")
    };
    let mute = |service: &str, circuit: &str| Mute {
        id: 7,
        service: service.to_owned(),
        circuit: circuit.to_owned(),
        until: UnixNanos::new(NOW + HOUR),
        by: by.to_owned(),
        reason: reason.to_owned(),
    };
    let target = |problem: Option<&str>| TargetReport {
        name: service.to_owned(),
        channel: "slack",
        host: "hooks.slack.example".to_owned(),
        sent: 1_234,
        failed: 2,
        sent_at: problem.map(|_| UnixNanos::new(NOW - MINUTE)),
        problem: problem.map(str::to_owned),
        ..TargetReport::default()
    };
    let found = Overview {
        problem: (!typed.is_empty()).then(|| reason.to_owned()),
        targets: vec![target(None), target(Some(reason))],
        incidents: vec![
            incident(
                json!({"subject": "circuit", "service": service, "name": circuit}),
                None,
            ),
            incident(
                json!({"subject": "instance", "service": service, "id": instance}),
                Some(NOW),
            ),
            incident(json!({"subject": "influxdb"}), None),
        ],
        mutes: vec![mute("", ""), mute(service, ""), mute(service, circuit)],
        not_kept: 0,
    };
    let order = MuteOrder {
        service: typed.to_owned(),
        circuit: typed.to_owned(),
        reason: typed.to_owned(),
        by: by.to_owned(),
        for_s: 1,
    };
    let error = MuteError::Invalid {
        parameter: "for_s",
        problem: "must be 60 s to 86400 s (24 h)".to_owned(),
    };
    let user = typed.is_empty().then(|| by.to_owned());
    let entered = Entered::new(order, user);
    html(NotificationsPage::new(found, entered, Some(error), NOW))
}

/// Returns a change, and what happens to instances.
fn entries(texts: [&str; 5]) -> Vec<JournalEntry> {
    let of_registry = registered(texts).into_iter().map(|entry| JournalEntry {
        kind: JournalKind::Registration,
        recorded: Recorded::Registry(entry),
        outcomes: Vec::new(),
    });
    [entry(texts)].into_iter().chain(of_registry).collect()
}

fn registered([service, _, by, reason, id]: [&str; 5]) -> Vec<RegistryEntry> {
    let entry = |event| RegistryEntry {
        service: service.to_owned(),
        instance: id.to_owned(),
        time: UnixNanos::new(NOW - MINUTE),
        event,
        detail: reason.to_owned(),
        by: by.to_owned(),
        reason: reason.to_owned(),
        state: None,
    };
    RegistryEvent::LISTED.map(entry).to_vec()
}

pub(crate) fn view(service: &str, id: &str, liveness: Liveness) -> InstanceView {
    InstanceView {
        service: service.to_owned(),
        id: id.to_owned(),
        liveness,
        since: (liveness != Liveness::Down).then(|| UnixNanos::new(NOW - HOUR)),
        started: Some(UnixNanos::new(NOW - HOUR)),
        last_heard: UnixNanos::new(NOW - MINUTE),
        has_channel: liveness == Liveness::Live,
        way: None,
        channel: (service.to_owned(), id.to_owned()),
        breakers: 2,
        not_closed: 1,
        calls_per_second: 12.5,
        error_percent: Some(3.0),
        registration: Some(RegistrationView {
            service: service.to_owned(),
            id: id.to_owned(),
            source: RegistrySource::Eureka,
            address: format!("http://{id}"),
            version: id.to_owned(),
            reported: InstanceStatus::Up,
            forced: Some(ForcedStatus {
                status: InstanceStatus::OutOfService,
                by: id.to_owned(),
                reason: service.to_owned(),
                since: UnixNanos::new(NOW - MINUTE),
            }),
            health: None,
        }),
    }
}

fn list([service, _, _, _, id]: [&str; 5], silent: Option<usize>, filter: &str) -> String {
    let instance = |liveness| view(service, id, liveness);
    let states = [
        Liveness::Down,
        Liveness::Late,
        Liveness::Silent,
        Liveness::Live,
    ];
    let found = Instances {
        instances: states.map(instance).to_vec(),
        silent_at_once: silent,
        preserved: silent.unwrap_or(0),
    };
    html(InstancesPage::new(found, filter, NOW))
}

/// Returns the page of an instance with a pending change and a refused form.
fn instance([service, name, by, reason, id]: [&str; 5], takes_levels: bool) -> String {
    let Recorded::Change(mut change) = entry([service, name, by, reason, id]).recorded else {
        panic!("the entry of a change");
    };
    (change.subject, change.action) = (Subject::Logger, Action::Level(Level::Debug));
    let delivery = |state| InstanceDelivery {
        instance: id.to_owned(),
        state,
        time: None,
        problem: String::new(),
    };
    let logger = LoggerLevel {
        name: name.to_owned(),
        level: Level::Warn,
        expires_in_ms: Some(90_000),
    };
    let found = Found {
        view: view(service, id, Liveness::Live),
        circuits: vec![(
            change.key.clone(),
            "open",
            state::title(EffectiveState::Open),
        )],
        loggers: takes_levels.then(|| vec![logger]),
        changes: vec![ChangeStatus {
            change,
            deliveries: vec![delivery(Delivery::Pending), delivery(Delivery::Refused)],
        }],
    };
    let typed = [
        ("logger", name),
        ("reason", reason),
        ("by", by),
        ("where", "all"),
    ];
    let entered = one::Entered::read(&Params::from(&typed[..]), None);
    let error = ControlError::Invalid {
        parameter: "logger",
        problem: "must not".to_owned(),
    };
    html(InstancePage::new(found, entered, Some(error), NOW))
}

fn switch(circuit: CircuitView, reason: &str) -> String {
    let params = Params::from(&[("action", "force_open"), ("reason", reason), ("by", reason)][..]);
    let entered = form::Entered::read(&params, None);
    html(form::SwitchPage::new(circuit, entered, None))
}
