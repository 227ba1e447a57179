//! Breakers and policies use tokio's clock. A test that pauses it can cover hours in no time and advance it step by
//! step: nothing sleeps, and nothing depends on the speed of the machine.
//!
//! `cargo run -p fusebox --example test_clock`; in a test it is `#[tokio::test(start_paused = true)]`.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use fusebox::circuit_breaker::{CircuitBreaker, Settings};
use fusebox::resilience::{RateLimiter, RateLimiterSettings, Retry};
use tokio::time::{Instant, advance};

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    let began = Instant::now();
    opens_and_probes().await;
    waits_between_attempts().await;
    waits_for_a_permit().await;
    println!("{:?} have passed on the paused clock", began.elapsed());
}

/// Advances the clock past the open time; the next call is a probe.
async fn opens_and_probes() {
    let settings = Settings {
        minimum_calls: 1,
        open_duration: Duration::from_secs(3_600),
        ..Settings::default()
    };
    let breaker = CircuitBreaker::builder("mail").settings(settings).build();
    let failed = breaker.call(async { Err::<(), _>("no route") }).await;
    println!("{failed:?}, then {:?}", breaker.state());
    advance(Duration::from_secs(3_600)).await;
    println!(
        "an hour later the next call is a probe: {}",
        breaker.is_due()
    );
    let sent = breaker.call(async { Ok::<_, &str>("sent") }).await;
    println!("{sent:?}, then {:?}", breaker.state());
}

/// While all tasks wait, a paused clock jumps to the next timer, so waits need no help.
async fn waits_between_attempts() {
    let began = Instant::now();
    let mut answers = vec![Ok(7), Err("busy"), Err("busy")];
    let retry = Retry::new("stock");
    let stock = retry
        .call(|| std::future::ready(answers.pop().unwrap_or(Ok(0))))
        .await;
    println!("{stock:?} after waits of {:?}", began.elapsed());
}

async fn waits_for_a_permit() {
    let settings = RateLimiterSettings {
        limit: 1,
        period: Duration::from_secs(60),
        max_wait: Duration::from_secs(120),
        ..RateLimiterSettings::default()
    };
    let limiter = RateLimiter::builder("report").settings(settings).build();
    let began = Instant::now();
    for number in 1..=3 {
        let permit = limiter.acquire().await;
        println!("report {number}: {permit:?} after {:?}", began.elapsed());
    }
}
