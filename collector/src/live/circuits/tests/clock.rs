//! The collector's clock is ahead for a moment and then corrected.

use super::*;

/// *Scenario*: the clock is an hour ahead when a breaker opens; it is set back, the breaker closes and reports on, another
/// instance does not.
/// *Guarantees*: the wall follows the present: the breaker is closed, its calls are counted, the silent instance becomes
/// stale, and a restart shows the same.
#[tokio::test(start_paused = true)]
async fn the_wall_follows_a_clock_that_was_set_back() {
    let world = World::new();
    let (mut a, mut b) = (
        FakeBreaker::new("a", at(0.0)),
        FakeBreaker::new("b", at(0.0)),
    );
    let ahead = |second: f64| at(3_600.0 + second);
    world.report(&a, at(1.0)).await;
    b.count("success", 0, 1);
    world.report(&b, ahead(2.0)).await;
    let open = EffectiveState::Open;
    world.turn(&mut a, open, "errors", ahead(3.0)).await;
    world
        .turn(&mut a, EffectiveState::Closed, "recovered", at(10.0))
        .await;
    for second in 11..40 {
        a.count("success", 0, 2);
        world.report(&a, at(f64::from(second))).await;
    }
    let check = |view: CircuitView| {
        assert_eq!(view.state, EffectiveState::Closed, "{view:?}");
        let [a, b] = &view.instances[..] else {
            panic!("{view:?}");
        };
        assert!(a.since <= UnixNanos::new(at(10.0)), "{a:?}");
        assert!(b.stale, "{b:?}");
    };
    let view = world.only(at(39.5));
    assert_eq!(view.calls.success, 20, "{view:?}");
    check(view);
    let World { dir, circuits, .. } = world;
    drop(circuits);
    let (circuits, _) = super::open(&dir, at(41.0));
    check(
        circuits
            .wall_now(UnixNanos::new(at(41.0)))
            .circuits
            .remove(0),
    );
}
