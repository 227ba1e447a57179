//! Tests of the breaker as a whole; tests of a single file are in that file.

mod command;
mod concurrency;
mod conformance;
mod foreign;
mod half_open;
#[cfg(feature = "http")]
mod layer;
mod limits_inside;
mod model;
mod operating;
mod overrides;
mod panics;
mod policies;
mod presets;
mod properties;
mod registry;
mod runtimes;
mod slow_calls;
mod spans;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{
    CircuitBreaker, EffectiveState, Listener, Outcome, Registry, Settings, Transition,
    WindowSettings,
};

/// Records every transition.
#[derive(Default)]
struct Notes(Mutex<Vec<Transition>>);

impl Notes {
    fn take(&self) -> Vec<Transition> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn reasons(&self) -> Vec<String> {
        self.take().into_iter().map(|t| t.reason).collect()
    }
}

impl Listener for Notes {
    fn transition(&self, transition: &Transition) {
        self.0.lock().unwrap().push(transition.clone());
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The settings of Hystrix's own breaker tests (reference configuration B).
fn hystrix() -> Settings {
    Settings {
        window: WindowSettings::Time {
            duration: Duration::from_secs(5),
            buckets: 5,
        },
        minimum_calls: 1,
        failure_rate_percent: 40.0,
        open_duration: ms(200),
        timeout: Some(ms(500)),
        max_concurrent: 20,
        ..Settings::hystrix()
    }
}

fn breaker(settings: Settings) -> CircuitBreaker {
    observed(settings).0
}

fn observed(settings: Settings) -> (CircuitBreaker, Arc<Notes>) {
    let (registry, notes) = (Registry::new(), Arc::new(Notes::default()));
    registry.subscribe(notes.clone());
    let builder = CircuitBreaker::builder("inventory").registry(&registry);
    (builder.settings(settings).build(), notes)
}

/// Makes calls that end immediately, and ignores refusals.
fn calls(breaker: &CircuitBreaker, outcome: Outcome, count: usize) {
    for _ in 0..count {
        if let Ok(permit) = breaker.try_acquire() {
            permit.record(outcome, ms(10));
        }
    }
}

/// Opens a closed breaker with settings [`hystrix`] and waits until a probe may pass.
async fn ready_for_probe(breaker: &CircuitBreaker) {
    calls(breaker, Outcome::Failure, 1);
    assert_eq!(breaker.state(), EffectiveState::Open);
    tokio::time::advance(breaker.settings().open_duration).await;
}
