//! Pages of the settings of a circuit, and the wallboard.

use std::time::Duration;

use fusebox::circuit_breaker::{EffectiveState, SettingValues, Settings};
use fusebox::control::{Action, Subject};
use fusebox_collector::live::circuits::{
    ControlError, Course, InstancePreview, Origin, Preview, SettingInForce, Turn,
};
use fusebox_collector::model::{
    CircuitKey, CircuitView, OperatorChange, OperatorSettings, UnixNanos,
};

use super::fixtures::{self, NOW};
use super::{html, nasty, nasty_circuit};
use crate::pages::frame::params::Params;
use crate::pages::settings::{Entered, Known, SettingsPage, Versions};
use crate::pages::view::text::HOUR;
use crate::pages::wallboard::WallboardPage;

pub(super) fn pages() -> Vec<(&'static str, String)> {
    let circuit = || fixtures::wall().circuits[0].clone();
    let reason = "incident 7";
    vec![
        (
            "settings",
            page(circuit(), reason, &[("minimum_calls", "9")]),
        ),
        ("settings unchanged", page(circuit(), "", &[])),
        (
            "settings hostile",
            page(nasty_circuit(), &nasty(), &[("timeout", &nasty())]),
        ),
        ("settings refused", refused(circuit())),
        ("wallboard", board(&fixtures::wall().circuits)),
        ("wallboard hostile", board(&[nasty_circuit()])),
        ("wallboard empty", board(&[])),
    ]
}

fn board(circuits: &[CircuitView]) -> String {
    html(WallboardPage::new(circuits, &[], NOW))
}

fn page(circuit: CircuitView, reason: &str, entered: &[(&str, &str)]) -> String {
    let params: Vec<_> = entered
        .iter()
        .copied()
        .chain([("by", reason), ("reason", reason)])
        .collect();
    let entered = Entered::read(&Params::from(&params[..]), None);
    html(SettingsPage::new(
        known(circuit, reason),
        entered,
        None,
        NOW,
    ))
}

fn refused(circuit: CircuitView) -> String {
    let error = ControlError::Invalid {
        parameter: "settings",
        problem: "must not".to_owned(),
    };
    let entered = Entered::read(
        &Params::from(&[("timeout", "0s")][..]),
        Some("Ada".to_owned()),
    );
    html(SettingsPage::new(
        known(circuit, ""),
        entered,
        Some(error),
        NOW,
    ))
}

/// Returns what the page shows, with versions and a preview if there is a reason.
fn known(circuit: CircuitView, reason: &str) -> Known {
    let values = Settings::default().values();
    let setting = |name| SettingInForce {
        name,
        value: values[name].clone(),
        origin: Origin::Default,
        own: (!reason.is_empty()).then(|| values[name].clone()),
        changed: (!reason.is_empty()).then(|| reason.to_owned()),
    };
    let is_changed = !reason.is_empty();
    Known {
        settings: Settings::names().map(setting).collect(),
        versions: Versions {
            changes: [2, 1]
                .map(|id| version(id, reason))
                .into_iter()
                .filter(|_| is_changed)
                .collect(),
            kept_for: Duration::from_nanos(7 * 24 * HOUR),
        },
        preview: is_changed.then(|| preview(reason)),
        circuit,
    }
}

fn version(id: u64, reason: &str) -> OperatorChange {
    let values = |text: &str| SettingValues::from([("timeout".to_owned(), text.to_owned())]);
    OperatorChange {
        id,
        subject: Subject::Settings,
        key: CircuitKey {
            service: reason.to_owned(),
            name: reason.to_owned(),
        },
        action: Action::Settings,
        reason: reason.to_owned(),
        by: reason.to_owned(),
        time: UnixNanos::new(NOW - HOUR),
        expires: None,
        instances: Vec::new(),
        stored: None,
        settings: Some(OperatorSettings {
            values: values(reason),
            own: values("1s"),
            ..OperatorSettings::default()
        }),
    }
}

fn preview(reason: &str) -> Preview {
    let turn = |to| Turn {
        time: UnixNanos::new(NOW - HOUR / 10),
        to,
        reason: reason.to_owned(),
    };
    let opened = Course {
        openings: 1,
        refused: 250,
        unknown: 3,
        transitions: [EffectiveState::Open, EffectiveState::HalfOpen]
            .map(turn)
            .to_vec(),
    };
    Preview {
        start: UnixNanos::new(NOW - HOUR / 6),
        end: UnixNanos::new(NOW),
        instances: vec![InstancePreview {
            instance: reason.to_owned(),
            state_at_start: EffectiveState::Open,
            calls: 12_345,
            happened: Course::default(),
            present: None,
            changed: Some(opened),
        }],
        left_out: 2,
        not_replayed: vec!["timeout"],
    }
}
