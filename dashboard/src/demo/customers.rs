//! The shop's customers: a steady rate of requests at the gateway, most for a product page, some for reviews.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

/// One request in this many asks for reviews alone.
const REVIEWS_EVERY: u64 = 5;
/// Products that the shop sells.
const PRODUCTS: u32 = 40;
/// How long a customer waits.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Most requests in flight, however slow the shop is.
const IN_FLIGHT_MAX: usize = 200;

/// Makes requests for as long as it is polled.
pub(super) async fn run(gateway: String, requests_per_second: u32) {
    let client = reqwest::Client::builder()
        .timeout(REQUEST_TIMEOUT)
        .build()
        .unwrap_or_default();
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT_MAX));
    let mut tick = interval(Duration::from_secs(1) / requests_per_second.max(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for count in 0_u64.. {
        tick.tick().await;
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let request = client.get(next_url(&gateway, count));
        tokio::spawn(async move {
            if let Err(error) = request.send().await {
                debug!(%error, "a request failed");
            }
            drop(place);
        });
    }
}

/// Returns the URL of the next customer's request.
fn next_url(gateway: &str, count: u64) -> String {
    let product = fastrand::u32(1..=PRODUCTS);
    match count % REVIEWS_EVERY {
        0 => format!("{gateway}/reviews/{product}"),
        _ => format!("{gateway}/product/{product}"),
    }
}
