//! Retry, rate limiter, bulkhead, time limiter and hedge: each alone, and all in one command.
//!
//! `cargo run -p fusebox --example resilience`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use fusebox::circuit_breaker::CircuitBreaker;
use fusebox::resilience::{
    Bulkhead, BulkheadSettings, Event, Hedge, HedgeSettings, Listener, RateLimiter,
    RateLimiterSettings, Registry, Retry, RetrySettings, TimeLimiter, TimeLimiterSettings,
};

struct Print;

impl Listener for Print {
    fn event(&self, event: &Event) {
        let (policy, kind) = (event.policy.as_str(), event.kind.as_str());
        println!(
            "  {policy} {}: {kind}, attempt {}, wait {:?}",
            event.name, event.attempt, event.wait
        );
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    Registry::global().subscribe(Arc::new(Print));
    retry_alone().await;
    limiters_alone().await;
    hedge_alone().await;
    all_in_one_command().await;
}

async fn retry_alone() {
    println!("an inventory that is busy twice:");
    let stock = stock_retry().call(busy_twice()).await;
    println!("  {stock:?}");
}

fn stock_retry() -> Retry {
    let settings = RetrySettings {
        wait: Duration::from_millis(20),
        ..RetrySettings::default()
    };
    Retry::builder("stock").settings(settings).build()
}

/// Simulates a request to another service, which fails the first two times.
fn busy_twice() -> impl FnMut() -> std::future::Ready<Result<u32, &'static str>> + Clone {
    let asked = Arc::new(AtomicU32::new(0));
    move || {
        std::future::ready(match asked.fetch_add(1, Relaxed) {
            0 | 1 => Err("busy"),
            _ => Ok(7),
        })
    }
}

async fn limiters_alone() {
    println!("three mails, two a second:");
    let settings = RateLimiterSettings {
        limit: 2,
        ..RateLimiterSettings::default()
    };
    let mails = RateLimiter::builder("mail").settings(settings).build();
    for to in ["ada", "bob", "cy"] {
        match mails.call(|| async move { Ok::<_, &str>(to) }).await {
            Ok(to) => println!("  sent to {to}"),
            Err(error) => println!("  not sent: {error}"),
        }
    }
    println!("two reports, one at a time:");
    let settings = BulkheadSettings {
        max_concurrent: 1,
        max_wait: Duration::from_secs(1),
        ..BulkheadSettings::default()
    };
    let reports = Bulkhead::builder("report").settings(settings).build();
    let report = || async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok::<_, &str>("done")
    };
    let both = tokio::join!(reports.call(report), reports.call(report));
    println!("  {both:?}");
}

async fn hedge_alone() {
    println!("a search whose first attempt hangs:");
    let settings = HedgeSettings {
        delay: Duration::from_millis(20),
        ..HedgeSettings::default()
    };
    let hedge = Hedge::builder("search").settings(settings).build();
    let asked = AtomicU32::new(0);
    let found = hedge.call(|| {
        let hangs = asked.fetch_add(1, Relaxed) == 0;
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Ok::<_, &str>("found")
        }
    });
    println!("  {:?}", found.await);
}

async fn all_in_one_command() {
    println!("retry ( breaker ( rate limiter ( time limiter ( bulkhead ( call ))))):");
    let timeout = Duration::from_millis(200);
    let command = CircuitBreaker::new("stock")
        .command()
        .rate_limiter(&RateLimiter::new("stock"))
        .time_limiter(
            &TimeLimiter::builder("stock")
                .settings(TimeLimiterSettings { timeout })
                .build(),
        )
        .bulkhead(&Bulkhead::new("stock"))
        .deadline(Duration::from_secs(2))
        .retry(&stock_retry());
    let command = command.run(busy_twice()).fallback(|_| async { Ok(0) });
    let (stock, execution) = command.execute_observed().await;
    println!("  {stock:?} after {} attempts", execution.attempts());
}
