//! Faults that come and go: what a person switched on the page, else a fixed story that repeats.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval};
use tracing::{debug, warn};

use super::control::ShopControl;
use super::process::Shop;
use crate::shop::fault::{Fault, FaultKind};

/// The services that can be made to fail; the others only feel it.
pub(super) const FAULTY: [&str; 5] = ["inventory", "price", "review", "recommendation", "legacy"];

/// One chapter of the story: from one second of it to another, that service has that fault.
struct Chapter {
    from_seconds: u64,
    to_seconds: u64,
    service: &'static str,
    kind: FaultKind,
}

/// The story repeats after that long.
const STORY_SECONDS: u64 = 120;

/// What happens by itself. The first fault comes early: half a minute after the start a breaker is open.
const STORY: [Chapter; 5] = [
    Chapter {
        from_seconds: 8,
        to_seconds: 26,
        service: "inventory",
        kind: FaultKind::Failing,
    },
    Chapter {
        from_seconds: 40,
        to_seconds: 55,
        service: "review",
        kind: FaultKind::Slow,
    },
    Chapter {
        from_seconds: 66,
        to_seconds: 78,
        service: "recommendation",
        kind: FaultKind::Killed,
    },
    Chapter {
        from_seconds: 88,
        to_seconds: 98,
        service: "price",
        kind: FaultKind::Failing,
    },
    Chapter {
        from_seconds: 92,
        to_seconds: 104,
        service: "review",
        kind: FaultKind::Failing,
    },
];

/// Brings faults and takes them away for as long as it is polled.
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
        let second = start.elapsed().as_secs() % STORY_SECONDS;
        control.set_second(second);
        for (service, current) in FAULTY.into_iter().zip(&mut in_force) {
            let wanted = control
                .switched(service)
                .unwrap_or_else(|| told(&control, service, second));
            if wanted != *current && apply(&shop, &client, service, *current, wanted).await {
                *current = wanted;
                control.set_in_force(service, wanted);
            }
        }
    }
}

/// Returns what the story says of that service at that second.
fn told(control: &ShopControl, service: &str, second: u64) -> FaultKind {
    if !control.by_themselves() {
        return FaultKind::None;
    }
    STORY
        .iter()
        .find(|chapter| {
            chapter.service == service
                && (chapter.from_seconds..chapter.to_seconds).contains(&second)
        })
        .map_or(FaultKind::None, |chapter| chapter.kind)
}

/// Returns what happens next in the story after that second: which service gets which fault (or none), and how
/// many seconds from then.
pub(super) fn next_chapter(second: u64) -> (&'static str, FaultKind, u64) {
    let turns = STORY.iter().flat_map(|chapter| {
        let ends = (chapter.service, FaultKind::None, chapter.to_seconds);
        [(chapter.service, chapter.kind, chapter.from_seconds), ends]
    });
    let wait = |at: u64| (at + STORY_SECONDS - second % STORY_SECONDS - 1) % STORY_SECONDS + 1;
    turns
        .map(|(service, kind, at)| (service, kind, wait(at)))
        .min_by_key(|turn| turn.2)
        .unwrap_or((FAULTY[0], FaultKind::None, STORY_SECONDS))
}

/// Makes a service have that fault; says whether it has it now.
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
            debug!(service, %error, "could not tell the service its fault");
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_turn_of_the_story_is_known_at_every_second() {
        assert_eq!(next_chapter(0), ("inventory", FaultKind::Failing, 8));
        assert_eq!(next_chapter(8), ("inventory", FaultKind::None, 18));
        assert_eq!(next_chapter(110), ("inventory", FaultKind::Failing, 18));
    }

    #[test]
    fn the_story_brings_a_fault_early_and_never_two_for_one_service() {
        assert!(STORY.iter().any(|chapter| chapter.from_seconds < 15));
        for (index, chapter) in STORY.iter().enumerate() {
            assert!(
                chapter.from_seconds < chapter.to_seconds && chapter.to_seconds < STORY_SECONDS
            );
            assert!(FAULTY.contains(&chapter.service));
            for other in &STORY[index + 1..] {
                let apart = chapter.to_seconds <= other.from_seconds
                    || other.to_seconds <= chapter.from_seconds;
                assert!(chapter.service != other.service || apart);
            }
        }
    }
}
