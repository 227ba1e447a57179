//! Tests of the outages on the page of a circuit: one line each, one line for a flapping breaker, and the log.

use fusebox::circuit_breaker::EffectiveState::{self, Closed, HalfOpen, Open};
use fusebox_collector::model::{CircuitTransition, TimeRange, UnixNanos};

use super::*;
use crate::pages::circuit::range::Shown;
use crate::pages::circuit::{CircuitPage, Known as Of};
use crate::pages::view::text::SECOND;

fn page(turns: &[(u64, &str, EffectiveState, EffectiveState)], state: EffectiveState) -> String {
    let circuit = fixtures::circuit("gateway", "review", state);
    let turn = |(ago, instance, from, to): &(u64, &str, EffectiveState, EffectiveState)| {
        let template = fixtures::transitions().remove(0);
        CircuitTransition {
            key: circuit.key.clone(),
            instance: (*instance).to_owned(),
            time: UnixNanos::new(NOW - ago * SECOND),
            from: *from,
            to: *to,
            reason: format!("{ago} s ago"),
            ..template
        }
    };
    let mut transitions: Vec<_> = turns.iter().map(turn).collect();
    transitions.sort_by_key(|turn| std::cmp::Reverse(turn.time));
    let known = Of {
        changes: Vec::new(),
        transitions,
        requests: TracePage::default(),
        differs: None,
        retention: KEPT,
        circuit,
    };
    let time = TimeRange {
        start: UnixNanos::new(NOW - HOUR),
        end: UnixNanos::new(NOW),
    };
    let shown = Shown {
        range: Range::of(HOUR),
        time,
        history: fixtures::history(),
        missing: None,
    };
    let palette = Palette::default();
    html(CircuitPage::new(
        known,
        View::default(),
        shown,
        NOW,
        &palette,
    ))
}

#[test]
fn an_outage_is_one_line_and_the_log_is_behind() {
    let turns = [
        (400, "a", Closed, Open),
        (399, "b", Closed, Open),
        (395, "a", Open, HalfOpen),
        (394, "a", HalfOpen, Open),
        (390, "b", Open, Closed),
        (380, "a", Open, Closed),
        (30, "a", Closed, Open),
    ];
    let page = page(&turns, Open);
    let (_, list) = page.split_once("<ol class=\"outages\">").expect("a list");
    let (list, rest) = list.split_once("</ol>").expect("its end");
    assert_eq!(list.matches("<li>").count(), 2, "{list}");
    for words in [
        "30 s so far",
        ">20 s<",
        "400 s ago",
        "1 probe failed · 2 instances",
    ] {
        assert!(list.contains(words), "{words}: {list}");
    }
    assert!(!list.contains("399 s ago"), "{list}");
    assert!(rest.contains("Log: 7 transitions"), "{rest}");
    assert!(rest.contains("399 s ago"), "the log has all of them");
}

#[test]
fn a_breaker_that_flaps_is_one_line() {
    let mut turns = Vec::new();
    for ago in [300, 260, 220, 180] {
        turns.push((ago, "a", Closed, Open));
        turns.push((ago - 10, "a", Open, Closed));
    }
    let page = page(&turns, Closed);
    assert!(page.contains("4 outages, out for 40 s in all"), "{page}");
    assert_eq!(page.matches("Each of them").count(), 1);
    // An ended outage is not in progress, and an instance that is gone did not close.
    assert!(!page.contains("so far"));
    let gone = super::outages::page(&[(300, "a", Closed, Open)], Closed);
    assert!(gone.contains("no end reported"), "{gone}");
}
