//! The groups of traces of a search whose differences can be shown.

use fusebox_collector::model::{Grade, TraceSummary};

/// The slow group is one in this many traces.
const SLOW_PART: usize = 10;

/// A group of traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The slowest tenth.
    Slow,
    /// The traces that failed for their caller.
    Failed,
}

impl Asked {
    /// Both groups.
    pub(crate) const ALL: [Self; 2] = [Self::Slow, Self::Failed];

    /// Returns its value in a URL.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Failed => "failed",
        }
    }

    /// Returns its name on pages.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Slow => t!("slow ones"),
            Self::Failed => t!("failed ones"),
        }
    }

    /// Parses its value in a URL.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|asked| asked.word() == word)
    }

    /// Returns the traces of the group, and the others.
    pub(crate) fn split(self, traces: &[TraceSummary]) -> [Vec<&TraceSummary>; 2] {
        let mut those: Vec<&TraceSummary> = traces.iter().collect();
        match self {
            Self::Slow => {
                those.sort_by_key(|trace| std::cmp::Reverse(trace.duration_nanos));
                let others = those.split_off(those.len().div_ceil(SLOW_PART));
                [those, others]
            }
            Self::Failed => {
                let is_failed = |trace: &&TraceSummary| trace.grade() == Grade::Failed;
                let (failed, others) = those.into_iter().partition(is_failed);
                [failed, others]
            }
        }
    }
}
