//! What services have around their breakers on `/metrics`, under the names that dashboards of resilience4j query: bulkheads,
//! rate limiters, retries and time limiters. The slots of a breaker are a bulkhead of its name.

use fusebox::resilience::{EventKind, Kind};

use super::circuits::labels;
use super::exposition::Exposition;
use crate::live::circuits::InstanceFigures;
use crate::model::policy::PolicyView;

/// Policies shown: some four lines each.
const POLICIES_MAX: usize = 1_000;

pub(super) fn write(text: &mut Exposition, all: &[PolicyView], circuits: &[InstanceFigures]) {
    if all.is_empty() && circuits.is_empty() {
        return;
    }
    let shown = &all[..all.len().min(POLICIES_MAX)];
    write_bulkheads(text, shown, circuits);
    let of = |kind: Kind| shown.iter().filter(move |one| one.kind == kind.as_str());
    let of_limiters: [(&str, &str, &str); 2] = [
        (
            "available_permissions",
            "Permits that are free.",
            "available",
        ),
        (
            "waiting_threads",
            "Calls that wait for a permit.",
            "waiting",
        ),
    ];
    for (name, help, word) in of_limiters {
        let name = format!("resilience4j_ratelimiter_{name}");
        text.family(&name, "gauge", help);
        for one in of(Kind::RateLimiter) {
            if let Some(value) = one.now.get(word) {
                text.sample(&name, &labels_of(one, &[]), *value);
            }
        }
    }
    write_ends(
        text,
        "retry",
        "Calls with retries, by their end.",
        of(Kind::Retry),
        &[
            ("successful_without_retry", EventKind::Succeeded),
            ("successful_with_retry", EventKind::SucceededAfterRetry),
            ("failed_without_retry", EventKind::Failed),
            ("failed_with_retry", EventKind::FailedAfterRetry),
        ],
    );
    write_ends(
        text,
        "timelimiter",
        "Calls with a time limit, by their end.",
        of(Kind::TimeLimiter),
        &[
            ("successful", EventKind::Succeeded),
            ("failed", EventKind::Failed),
            ("timeout", EventKind::TimedOut),
        ],
    );
}

/// Writes what is free and what there is of bulkheads, and of the slots of breakers.
fn write_bulkheads(text: &mut Exposition, policies: &[PolicyView], circuits: &[InstanceFigures]) {
    let free = "resilience4j_bulkhead_available_concurrent_calls";
    let all = "resilience4j_bulkhead_max_allowed_concurrent_calls";
    for (name, help, word) in [
        (free, "Calls that may begin at once.", "available"),
        (all, "Calls that may run at once.", "limit"),
    ] {
        text.family(name, "gauge", help);
        for one in policies
            .iter()
            .filter(|one| one.kind == Kind::Bulkhead.as_str())
        {
            if let Some(value) = one.now.get(word) {
                text.sample(name, &labels_of(one, &[]), *value);
            }
        }
        for circuit in circuits {
            let Some(slots) = circuit.max_concurrent.filter(|slots| *slots > 0) else {
                continue;
            };
            let value = match word {
                "available" => slots.saturating_sub(circuit.in_flight.into()),
                _ => slots,
            };
            text.sample(name, &labels(circuit, &[]), value);
        }
    }
}

/// Writes the calls of a kind of policy by how they ended.
fn write_ends<'a>(
    text: &mut Exposition,
    kind: &str,
    help: &str,
    policies: impl Iterator<Item = &'a PolicyView>,
    ends: &[(&str, EventKind)],
) {
    let name = format!("resilience4j_{kind}_calls_total");
    text.family(&name, "counter", help);
    for one in policies {
        for (word, event) in ends {
            if let Some(count) = one.total.get(event.as_str()) {
                text.sample(&name, &labels_of(one, &[("kind", word)]), *count);
            }
        }
    }
}

fn labels_of<'a>(policy: &'a PolicyView, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let own = [
        ("application", policy.service.as_str()),
        ("name", policy.name.as_str()),
    ];
    own.iter().chain(more).copied().collect()
}
