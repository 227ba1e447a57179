//! One version of a circuit's settings, as the page lists it.

use fusebox_collector::model::OperatorChange;

use crate::pages::view::{moment, text};

/// A version.
#[derive(Debug)]
pub(super) struct VersionRow {
    pub(super) id: u64,
    /// When, as HTML.
    pub(super) time: String,
    /// The same in UTC, for the reason of a return to it.
    pub(super) moment: String,
    pub(super) by: String,
    pub(super) reason: String,
    /// Each changed setting: name, value before, value after.
    pub(super) differences: Vec<(String, String, String)>,
    /// When it ended or ends, as HTML.
    pub(super) until: String,
    pub(super) instances: String,
    /// The picked instances, for which a return to it is too.
    pub(super) picked: Vec<String>,
    /// Whether it is the latest, to which there is no need to return.
    pub(super) is_latest: bool,
}

impl VersionRow {
    pub(super) fn new(change: &OperatorChange, is_latest: bool, now: u64) -> Self {
        let settings = change.settings.clone().unwrap_or_default();
        let shown = |text: &str| text::shown(text, 200).into_owned();
        let differences = settings.differences().into_iter();
        Self {
            id: change.id,
            time: moment::short(change.time.get(), now),
            moment: text::day_clock(change.time.get()),
            by: text::name(&change.by).into_owned(),
            reason: text::shown(&change.reason, 500).into_owned(),
            differences: differences
                .map(|(name, before, after)| (shown(name), shown(before), shown(after)))
                .collect(),
            until: moment::some(change.expires.filter(|_| !settings.values.is_empty()), now),
            instances: match change.instances.as_slice() {
                [] => t!("all").to_owned(),
                [one] => text::name(one).into_owned(),
                some => t!("{n} picked", n = some.len()),
            },
            picked: change.instances.clone(),
            is_latest,
        }
    }
}
