//! Circuits that someone forced: what their cards and pages say of it, and the heading of their group.

use std::time::Duration;

use fusebox::circuit_breaker::EffectiveState;
use opentelemetry::TraceId;

use super::{KEPT, fixtures, html, wall_page};
use crate::pages::circuit::View;

/// Scenario: a circuit tripped, and was forced open afterwards.
/// Guarantees: its card says in a line of its own who forced it and why, and calls nothing what tripped it.
#[test]
fn a_forced_card_says_why_and_names_no_call() {
    let mut wall = fixtures::wall();
    wall.circuits = vec![fixtures::circuit(
        "shop",
        "stock",
        EffectiveState::ForcedOpen,
    )];
    wall.circuits[0].opened_by = Some(TraceId::from(7));
    let page = wall_page(&wall, &[]);
    let why = "<p class=\"why\" title=\"kim: PG outage, see incident 4711\">";
    assert!(page.contains(why), "{page}");
    assert!(!page.contains("what tripped it"), "{page}");
}

/// Guarantees: the switches, which are below all requests on a phone, are one link away from the head of the page; the past
/// has none.
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

/// Guarantees: the heading of the first group names what is in it.
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
