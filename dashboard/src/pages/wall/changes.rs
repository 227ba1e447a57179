//! The changes of operators that were in force at the shown time of the past: of circuits, log levels and statuses.

use std::collections::BTreeMap;

use fusebox::control::{Action, EXPIRY_MAX};
use fusebox_collector::live::circuits::{JournalFilter, Recorded};
use fusebox_collector::model::{OperatorChange, Registered, TimeRange, UnixNanos};

use crate::pages::Pages;
use crate::pages::frame::error::PageError;
use crate::pages::view::href::Href;
use crate::pages::view::{action, text};

/// Changes that are listed.
const CHANGES_MAX: usize = 10;
/// Entries of the journal that are read.
const READ_MAX: usize = 1_000;

/// A change that was in force.
#[derive(Debug)]
pub(crate) struct PastChange {
    pub(crate) target: String,
    pub(crate) href: String,
    pub(crate) words: String,
}

/// Returns the changes in force at a time, latest first.
pub(super) async fn at(pages: &Pages, at: u64) -> Result<Vec<PastChange>, PageError> {
    // Only settings may be in force for longer, and those are on the page of their circuit.
    let range = TimeRange::until(UnixNanos::new(at), EXPIRY_MAX);
    let control = pages.query.circuits().control();
    let filter = JournalFilter {
        without_registry: true,
        ..JournalFilter::default()
    };
    let entries = control.journal(range, filter, READ_MAX).await?;
    let changes = entries
        .into_iter()
        .filter_map(|entry| match entry.recorded {
            Recorded::Change(change) => Some(change),
            Recorded::Event(_) | Recorded::Registry(_) => None,
        });
    let mut shown = in_force(changes, UnixNanos::new(at));
    let registry = pages.query.circuits().registry();
    let statuses = registry.forced_at(UnixNanos::new(at)).await?;
    shown.extend(statuses.iter().filter_map(status));
    shown.truncate(CHANGES_MAX);
    Ok(shown)
}

/// Returns the status that was set for an instance.
fn status(registered: &Registered) -> Option<PastChange> {
    let (registration, forced) = (&registered.registration, registered.forced.as_ref()?);
    let (service, instance) = (&registration.service, &registration.instance);
    Some(PastChange {
        target: format!("{} → {}", text::name(service), text::name(instance)),
        href: Href::new("/changes")
            .with("service", service)
            .with("instance", instance)
            .to_string(),
        words: words(forced.status.as_str(), &forced.by, &forced.reason),
    })
}

fn words(what: &str, who: &str, why: &str) -> String {
    t!(
        "{what} by {who}: “{why}”",
        what = what,
        who = text::name(who),
        why = text::shown(why, 300)
    )
}

/// Returns what of these changes, latest first, was in force: of each target the latest for all instances, and those for
/// picked ones since then.
fn in_force(changes: impl Iterator<Item = OperatorChange>, at: UnixNanos) -> Vec<PastChange> {
    let mut replaced = BTreeMap::new();
    let lasted = |change: &OperatorChange| change.action != Action::Reset && !change.is_over(at);
    let latest = changes.filter(|change| {
        let target = (change.key.clone(), change.subject);
        let is_replaced = *replaced.get(&target).unwrap_or(&false);
        replaced.insert(target, is_replaced || change.instances.is_empty());
        !is_replaced && lasted(change)
    });
    latest
        .take(CHANGES_MAX)
        .map(|change| shown(&change))
        .collect()
}

fn shown(change: &OperatorChange) -> PastChange {
    let key = &change.key;
    PastChange {
        target: format!("{} → {}", text::name(&key.service), text::name(&key.name)),
        href: Href::new("/changes")
            .with("service", &key.service)
            .to_string(),
        words: words(&action::what(change), &change.by, &change.reason),
    }
}

#[cfg(test)]
mod tests {
    use fusebox::control::Subject;
    use fusebox_collector::model::CircuitKey;

    use super::*;

    fn change(id: u64, name: &str, action: Action, instances: &[&str]) -> OperatorChange {
        OperatorChange {
            id,
            subject: Subject::Breaker,
            key: CircuitKey {
                service: "shop".to_owned(),
                name: name.to_owned(),
            },
            action,
            reason: "full".to_owned(),
            by: "Ada".to_owned(),
            time: UnixNanos::new(id),
            expires: Some(UnixNanos::new(id + 100)),
            instances: instances.iter().map(|id| (*id).to_owned()).collect(),
            settings: None,
            stored: None,
        }
    }

    #[test]
    fn only_what_was_in_force_is_shown() {
        let changes = [
            change(7, "stock", Action::Reset, &["a"]),
            change(6, "stock", Action::ForceOpen, &[]),
            change(5, "stock", Action::Disable, &[]),
            change(4, "price", Action::Reset, &[]),
            change(3, "price", Action::ForceOpen, &[]),
            change(1, "review", Action::ForceOpen, &[]),
        ];
        let shown = in_force(changes.into_iter(), UnixNanos::new(102));
        let shown: Vec<_> = shown
            .iter()
            .map(|one| (one.target.as_str(), one.words.as_str()))
            .collect();
        assert_eq!(shown, [("shop → stock", "Force open by Ada: “full”")]);
    }
}
