//! Notifications on `/metrics`: deliveries to each target, and failures.

use super::exposition::Exposition;
use crate::notify::{Overview, TargetReport};

type Count = fn(&TargetReport) -> u64;

pub(super) fn write(text: &mut Exposition, found: &Overview) {
    if found.targets.is_empty() {
        return;
    }
    let counts: [(_, _, Count); 3] = [
        ("sent", "Messages delivered.", |target| target.sent),
        (
            "failed",
            "Attempts to deliver a message that failed.",
            |target| target.failed,
        ),
        (
            "given_up",
            "Messages that a target refused until they were given up.",
            |target| target.given_up,
        ),
    ];
    for (name, help, count) in counts {
        let name = format!("fusebox_collector_notifications_{name}_total");
        text.family(&name, "counter", help);
        for target in &found.targets {
            let labels = [
                ("target", target.name.as_str()),
                ("channel", target.channel),
            ];
            text.sample(&name, &labels, count(target));
        }
    }
    let under_way = found.incidents.iter().filter(|one| one.ended.is_none());
    let name = "fusebox_collector_incidents";
    text.single(name, "gauge", "Incidents under way.", under_way.count());
    let name = "fusebox_collector_incidents_not_kept_total";
    text.single(
        name,
        "counter",
        "Incidents for which there was no room.",
        found.not_kept,
    );
}
