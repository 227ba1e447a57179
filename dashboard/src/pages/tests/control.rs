//! The pages of switches, changes and instances: friendly, empty, and with texts that try every trick.

use fusebox::control::{Action, Outcome};
use fusebox_collector::live::circuits::{JournalEntry, JournalFilter};
use fusebox_collector::query::{InstanceView, Instances, Liveness};

use super::*;
use crate::pages::instances::InstancesPage;
use crate::pages::journal::JournalPage;
use crate::pages::switch::form;

/// Returns every page: its name and its HTML.
pub(super) fn pages() -> Vec<(&'static str, String)> {
    let friendly = ["shop", "stock", "Ada", "the disk is full", "stock-1"];
    let nasty_text = nasty();
    let hostile = [nasty_text.as_str(); 5];
    let circuit = fixtures::wall().circuits[0].clone();
    let filter = |text: &str| JournalFilter {
        service: text.to_owned(),
        circuit: text.to_owned(),
        text: text.to_owned(),
    };
    vec![
        ("changes", journal(&[entry(friendly)], filter(""))),
        (
            "changes hostile",
            journal(&[entry(hostile)], filter(HOSTILE)),
        ),
        ("changes empty", journal(&[], filter(""))),
        ("changes none found", journal(&[], filter("x"))),
        ("instances", list(friendly, Some(3), "")),
        ("instances hostile", list(hostile, None, HOSTILE)),
        (
            "instances empty",
            html(InstancesPage::new(Instances::default(), "", NOW)),
        ),
        ("switch", switch(circuit, "the disk is full")),
        ("switch hostile", switch(nasty_circuit(), &nasty())),
    ]
}

fn journal(entries: &[JournalEntry], filter: JournalFilter) -> String {
    html(JournalPage::new(entries, filter, NOW))
}

fn entry([service, name, by, reason, instance]: [&str; 5]) -> JournalEntry {
    let key = CircuitKey {
        service: service.to_owned(),
        name: name.to_owned(),
    };
    let outcome = ChangeOutcome {
        key: key.clone(),
        change: 1,
        instance: instance.to_owned(),
        time: UnixNanos::new(NOW),
        outcome: Outcome::Applied,
    };
    JournalEntry {
        change: OperatorChange {
            id: 1,
            key,
            action: Action::ForceOpen,
            reason: reason.to_owned(),
            by: by.to_owned(),
            time: UnixNanos::new(NOW - HOUR),
            expires: UnixNanos::new(NOW),
            instances: vec![instance.to_owned()],
        },
        outcomes: vec![outcome],
    }
}

fn list([service, _, _, _, id]: [&str; 5], silent: Option<usize>, filter: &str) -> String {
    let instance = |liveness| InstanceView {
        service: service.to_owned(),
        id: id.to_owned(),
        liveness,
        since: (liveness != Liveness::Down).then(|| UnixNanos::new(NOW - HOUR)),
        last_heard: UnixNanos::new(NOW - MINUTE),
        has_channel: liveness == Liveness::Live,
        breakers: 2,
        not_closed: 1,
        calls_per_second: 12.5,
        error_percent: Some(3.0),
    };
    let states = [
        Liveness::Down,
        Liveness::Late,
        Liveness::Silent,
        Liveness::Live,
    ];
    let found = Instances {
        instances: states.map(instance).to_vec(),
        silent_at_once: silent,
    };
    html(InstancesPage::new(found, filter, NOW))
}

fn switch(circuit: CircuitView, reason: &str) -> String {
    let params = Params::from(&[("action", "force_open"), ("reason", reason), ("by", reason)][..]);
    let entered = form::Entered::read(&params, None);
    html(form::SwitchPage::new(circuit, entered, None))
}
