//! How a trace is looked at; every bit of it stands in the URL.

use std::collections::HashSet;

use opentelemetry::SpanId;

use super::call_tree::Folds;
use crate::pages::frame::params::Params;
use crate::pages::view::href::Href;

/// Toggled folds in a URL (16 digits each).
const FOLDS_MAX: usize = 200;

/// How a trace is looked at; every bit of it stands in the URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TraceView {
    /// The span whose detail is open.
    pub(crate) span: Option<SpanId>,
    /// What is folded away.
    pub(crate) folds: Folds,
    /// What is looked for.
    pub(crate) find: String,
    /// First visible row to draw.
    pub(crate) from: usize,
    /// First visible row not to draw.
    pub(crate) to: usize,
}

impl TraceView {
    /// Reads it from the URL.
    pub(crate) fn read(params: &Params, rows_max: usize) -> Self {
        let from = params.number("from", 0);
        let to = params.number("to", from.saturating_add(rows_max));
        let toggled = params
            .word("fold")
            .unwrap_or_default()
            .split(',')
            .take(FOLDS_MAX);
        Self {
            span: params.word("span").and_then(|id| SpanId::from_hex(id).ok()),
            folds: Folds {
                levels: params
                    .word("depth")
                    .and_then(|d| d.parse().ok())
                    .filter(|d| *d > 0),
                toggled: toggled.filter_map(|id| SpanId::from_hex(id).ok()).collect(),
            },
            find: params.get("q").unwrap_or_default().to_owned(),
            from,
            to: to.min(from.saturating_add(rows_max)),
        }
    }

    /// Returns its URL below that one, without the range of rows.
    pub(crate) fn href(&self, base: Href) -> Href {
        let mut toggled: Vec<String> = self.folds.toggled.iter().map(SpanId::to_string).collect();
        toggled.sort_unstable();
        let toggled = (!toggled.is_empty()).then(|| toggled.join(","));
        base.with_some("span", self.span)
            .with_some("depth", self.folds.levels)
            .with_some("fold", toggled)
            .with_some("q", (!self.find.is_empty()).then_some(&self.find))
    }

    /// Returns the view with one row's fold turned round.
    pub(crate) fn toggled(&self, id: SpanId) -> Self {
        let mut view = self.clone();
        if !view.folds.toggled.remove(&id) {
            view.folds.toggled.insert(id);
        }
        view
    }

    /// Returns the view with that many levels open and nothing toggled.
    pub(crate) fn levels(&self, levels: Option<usize>) -> Self {
        let toggled = HashSet::new();
        let folds = Folds { levels, toggled };
        Self {
            folds,
            ..self.clone()
        }
    }
}
