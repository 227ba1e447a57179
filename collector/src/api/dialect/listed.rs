//! Traces of a list of ids: read one after the other until the answer is full, or the time of a search is over.

use tokio::time::{Instant, timeout_at};

use super::gather::Answered;
use super::scan::TIME_MAX;
use crate::model::Trace;
use crate::query::QueryError;

/// The traces read so far, and when reading ends.
#[derive(Debug)]
pub(in crate::api) struct Listed {
    answer: Answered,
    deadline: Instant,
}

/// What came of one id.
#[derive(Debug)]
pub(in crate::api) enum Outcome {
    /// Its trace is in the answer.
    Added,
    /// It is not known.
    Unknown,
    /// Its trace does not fit, and why.
    TooLarge(String),
    /// The time is over, in words.
    TimeOver(String),
    /// The store failed, which says nothing about the other ids.
    Failed(QueryError),
}

impl Default for Listed {
    fn default() -> Self {
        Self::until(Instant::now() + TIME_MAX)
    }
}

impl Listed {
    /// Returns a list that is read until then.
    pub(in crate::api) fn until(deadline: Instant) -> Self {
        Self {
            answer: Answered::default(),
            deadline,
        }
    }

    /// Returns how many bytes the next trace may have.
    pub(in crate::api) fn room(&self) -> usize {
        self.answer.room()
    }

    /// Adds the trace that is being read within `room`; once the time is over, the reader stops.
    ///
    /// # Errors
    /// When it is no id.
    pub(in crate::api) async fn add(
        &mut self,
        read: impl Future<Output = Result<Option<Trace>, QueryError>>,
    ) -> Result<Outcome, QueryError> {
        let over = || Outcome::TimeOver(format!("{} s had passed", TIME_MAX.as_secs()));
        // Quick reads end before the timer fires, which has a resolution of a millisecond.
        if Instant::now() >= self.deadline {
            return Ok(over());
        }
        let Ok(read) = timeout_at(self.deadline, read).await else {
            return Ok(over());
        };
        let trace = match read {
            Ok(Some(trace)) => trace,
            Ok(None) => return Ok(Outcome::Unknown),
            Err(error @ QueryError::Store(_)) => return Ok(Outcome::Failed(error)),
            Err(error) => return Err(error),
        };
        if let Some(limit) = self.answer.limit_for(&trace) {
            return Ok(Outcome::TooLarge(limit));
        }
        self.answer.push(trace);
        Ok(Outcome::Added)
    }

    /// Returns the traces, and what is missing of them.
    pub(in crate::api) fn into_parts(self) -> (Vec<Trace>, Option<String>) {
        self.answer.into_parts()
    }
}
