//! Injects faults into the shop: those set on the page, else those of the story.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval};
use tracing::{debug, warn};

use super::control::ShopControl;
use super::process::Shop;
use super::story::{FAULTY, second_of_story};
use crate::shop::fault::{Fault, FaultKind};

/// Injects and removes faults for as long as it is polled.
pub(super) async fn run(shop: Arc<Shop>, control: Arc<ShopControl>) {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .build()
        .unwrap_or_default();
    let start = Instant::now();
    let mut tick = interval(Duration::from_millis(500));
    let mut in_force = [FaultKind::None; FAULTY.len()];
    control.set_addresses(shop.addresses());
    loop {
        tick.tick().await;
        let second = second_of_story(start.elapsed().as_secs());
        control.set_second(second);
        for (service, current) in FAULTY.into_iter().zip(&mut in_force) {
            let wanted = control.fault(service, second);
            if wanted != *current && apply(&shop, &client, service, *current, wanted).await {
                *current = wanted;
                control.set_in_force(service, wanted);
            }
        }
    }
}

/// Injects a fault into every instance of a service; returns whether it was successful.
async fn apply(
    shop: &Shop,
    client: &reqwest::Client,
    service: &str,
    current: FaultKind,
    wanted: FaultKind,
) -> bool {
    debug!(
        service,
        from = current.as_str(),
        to = wanted.as_str(),
        "fault"
    );
    for instance in shop.instances_of(service) {
        if wanted == FaultKind::Killed {
            instance.kill().await;
            continue;
        }
        if let Err(error) = instance.restart().await {
            warn!(service, %error, "could not restart");
            return false;
        }
        let url = format!("http://{}/_fault", instance.addr);
        if let Err(error) = client.put(url).json(&Fault::of(wanted)).send().await {
            debug!(service, %error, "could not set the fault of a service");
            return false;
        }
    }
    true
}
