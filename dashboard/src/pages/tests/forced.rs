//! Tests of forced circuits: the texts of their cards and pages, and the heading of their group.

use std::time::Duration;

use fusebox::circuit_breaker::EffectiveState;
use opentelemetry::TraceId;

use super::{KEPT, fixtures, html, wall_page};
use crate::pages::circuit::View;

/// Scenario: a circuit opened, and was forced open afterwards.
/// Guarantees: its card has a line with who forced it and why, and names no call that opened it.
#[test]
fn a_forced_card_says_why_and_names_no_call() {
    let mut wall = fixtures::wall();
    wall.circuits = vec![fixtures::circuit(
        "shop",
        "stock",
        EffectiveState::ForcedOpen,
    )];
    wall.circuits[0].last_opened_by = Some(TraceId::from(7));
    let page = wall_page(&wall, &[]);
    let why = "<p class=\"why\" title=\"kim: PG outage, see incident 4711\">";
    assert!(page.contains(why), "{page}");
    assert!(!page.contains("what opened it"), "{page}");
}

/// Guarantees: the form that changes a circuit, which is below all requests on a phone, is linked from the head of the
/// page; pages of the past have no such link.
#[test]
fn the_head_of_a_circuit_leads_to_its_switches() {
    let link = "<a class=\"btn\" href=\"#switch\">";
    for (at, links) in [(None, 1), (Some(fixtures::NOW), 0)] {
        let circuit = fixtures::circuit("shop", "stock", EffectiveState::Open);
        let view = View {
            at,
            ..View::default()
        };
        let page = html(fixtures::circuit_page(circuit, view, KEPT));
        assert_eq!(page.matches(link).count(), links, "{at:?}");
    }
}

/// Guarantees: the heading of the first group describes its content.
#[test]
fn the_first_group_is_called_after_what_is_in_it() {
    use EffectiveState::{Closed, Open};
    for (states, heading) in [
        (&[Open][..], "Not closed"),
        (&[Closed], "Just closed"),
        (&[Open, Closed], "Not closed or just closed"),
    ] {
        let mut wall = fixtures::wall();
        let circuit = |state: &EffectiveState| fixtures::circuit("shop", state.as_str(), *state);
        wall.circuits = states.iter().map(circuit).collect();
        for circuit in &mut wall.circuits {
            circuit.since = wall.at - Duration::from_secs(5);
            circuit.reason = "3 of 3 probes succeeded".to_owned();
        }
        let page = wall_page(&wall, &[]);
        assert!(
            page.contains(&format!("aria-label=\"{heading}\"")),
            "{heading}"
        );
    }
}
