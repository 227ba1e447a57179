//! How the page of a circuit is displayed: the parts of its address, and the links to the page displayed otherwise.

use fusebox::circuit_breaker::Outcome;
use fusebox_collector::model::{CircuitKey, Condition, TimeRange, TraceQuery};

use crate::pages::frame::error::PageError;
use crate::pages::frame::params::Params;
use crate::pages::view::href::Href;
use crate::pages::view::{state, text};

/// Requests listed.
const REQUESTS_MAX: usize = 15;

/// How the circuit is displayed, from the URL.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// The time shown; `None`: now.
    pub(crate) at: Option<u64>,
    /// The requested time, if nothing was heard of the circuit yet and a later one is shown.
    pub(crate) unheard_at: Option<u64>,
    /// The outcome of the listed requests.
    pub(crate) outcome: String,
    /// Whether failing and passing calls are compared.
    pub(crate) differs: bool,
    /// The range of the chart, if one was chosen.
    pub(crate) range: Option<String>,
}

/// The tabs of requests, by their outcome in a search.
pub(super) const TABS: [&str; 5] = ["", "failure", "timeout", "rejected", "fallback"];

pub(super) fn tab_word(outcome: &'static str) -> &'static str {
    match Outcome::parse(outcome) {
        Some(outcome) => state::outcome_word(outcome),
        None if outcome.is_empty() => t!("all"),
        None => t!("fell back"),
    }
}

impl View {
    /// Reads it from the URL.
    pub(crate) fn read(params: &Params) -> Result<Self, PageError> {
        let outcome = params.get("outcome").unwrap_or_default();
        if !TABS.contains(&outcome) {
            return Err(PageError::Invalid(t!(
                "outcome: {value} is none of the outcomes of this page",
                value = format!("{outcome:?}")
            )));
        }
        Ok(Self {
            at: params.at()?,
            unheard_at: None,
            outcome: outcome.to_owned(),
            differs: params.get("differs").is_some(),
            range: params.get("range").map(str::to_owned),
        })
    }

    pub(super) fn query(&self, key: &CircuitKey, range: TimeRange) -> TraceQuery {
        let through = Condition::Circuit(key.name.clone());
        let mut query = TraceQuery::in_range(range)
            .with([Condition::service(&key.service), through])
            .with(Condition::parse_outcome(&self.outcome));
        query.limit = REQUESTS_MAX;
        query
    }

    pub(super) fn href(&self, key: &CircuitKey, outcome: &str, differs: bool) -> Href {
        Href::circuit(key)
            .with_some("at", self.at.map(text::datetime_local))
            .with_some("outcome", (!outcome.is_empty()).then_some(outcome))
            .with_some("differs", differs.then_some(1))
            .with_some("range", self.range.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_that_is_not_listed_is_refused() {
        let read = |outcome: &str| {
            let given = ("outcome".to_owned(), outcome.to_owned());
            View::read(&Params::from(vec![given]))
        };
        for known in TABS {
            assert_eq!(read(known).unwrap().outcome, known);
        }
        assert!(matches!(read("banana"), Err(PageError::Invalid(_))));
    }
}
