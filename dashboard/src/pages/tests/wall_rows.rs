//! Tests of a wall with many circuits: which are cards and which are rows, and the sizes of a page and of a tick.

use fusebox::circuit_breaker::EffectiveState;

use super::{fixtures, live, wall_page};
use crate::pages::wall::{Shape, WallView, arrange};

fn count(html: &str, class: &str) -> usize {
    html.matches(class).count()
}

/// *Guarantees*: with more circuits than fill a screen, the first that are not closed are cards and all others rows;
/// cards or rows can be selected.
#[test]
fn many_circuits_are_rows_but_what_is_not_closed() {
    let wall = fixtures::big_wall(1_000);
    let rows = |html: &str| count(html, " line\"") + count(html, " line is-stale\"");
    let page = wall_page(&wall, &[]);
    assert_eq!((count(&page, "<article"), rows(&page)), (200, 194));
    for (value, expected) in [("rows", 200), ("cards", 0), ("instances", 0)] {
        let page = wall_page(&wall, &[("view", value)]);
        assert_eq!(rows(&page), expected, "{value}");
        assert!(page.contains(&format!("value=\"{value}\" selected")));
    }
    let mut few = wall.clone();
    few.circuits.truncate(20);
    assert_eq!(rows(&wall_page(&few, &[])), 0);
    few.circuits = wall.circuits[..21].to_vec();
    assert!(rows(&wall_page(&few, &[])) > 0);
}

/// *Scenario*: every breaker of ten thousand is open.
#[test]
fn a_page_of_an_outage_of_everything_has_a_bounded_size() {
    let mut wall = fixtures::big_wall(10_000);
    for circuit in &mut wall.circuits {
        circuit.state = EffectiveState::Open;
    }
    let page = wall_page(&wall, &[]);
    assert_eq!(count(&page, "class=\"card is-open\""), 6);
    assert_eq!(count(&page, "class=\"card is-open line\""), 194);
    assert!(page.len() <= 300_000, "{} bytes", page.len());
}

/// *Guarantees*: pages with the same circuits share one message, and those with very many filters do not use memory.
#[test]
fn what_pages_with_one_view_are_sent_is_made_once() {
    let tick = live::Tick::new(fixtures::big_wall(100), None);
    let filtered = |number: usize| WallView {
        filter: number.to_string(),
        ..WallView::default()
    };
    let (view, other) = (
        WallView::default(),
        WallView {
            page: 1,
            ..WallView::default()
        },
    );
    assert!(std::sync::Arc::ptr_eq(&tick.view(&view), &tick.view(&view)));
    assert!(!std::sync::Arc::ptr_eq(
        &tick.view(&view),
        &tick.view(&other)
    ));
    let many: Vec<_> = (0..100).map(|n| tick.view(&filtered(n))).collect();
    let kept = many
        .iter()
        .filter(|view| std::sync::Arc::strong_count(view) > 1)
        .count();
    assert!((1..=32).contains(&kept), "{kept}");
}

#[test]
fn a_row_says_what_is_not_normal() {
    let mut wall = fixtures::wall();
    wall.circuits.truncate(1);
    wall.circuits[0].state = EffectiveState::Open;
    let view = WallView::default();
    let (groups, _) = arrange(&wall, &view);
    assert_eq!(
        groups[0].shapes(view.density).next(),
        Some((0, Shape::Card))
    );
    let open = wall_page(&wall, &[("view", "rows")]);
    assert!(open.contains("</svg>Open</span>"), "{open}");
    wall.circuits[0].state = EffectiveState::Closed;
    wall.circuits[0].reason.clear();
    let closed = wall_page(&wall, &[("view", "rows")]);
    assert!(!closed.contains("</svg>Closed</span>"), "{closed}");
    assert!(closed.contains("<span class=\"sr\">closed: </span>"));
}
