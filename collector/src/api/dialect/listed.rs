//! Traces by a list of ids, read sequentially until the answer is full or the time of a search is over.

use tokio::time::{Instant, timeout_at};

use super::gather::Answered;
use super::scan::TIME_MAX;
use crate::model::Trace;
use crate::query::QueryError;

/// The traces so far, and the deadline.
#[derive(Debug)]
pub(in crate::api) struct Listed {
    answer: Answered,
    deadline: Instant,
}

/// The result of reading one id.
#[derive(Debug)]
pub(in crate::api) enum Outcome {
    Added,
    Unknown,
    /// Its trace does not fit; the text says why.
    TooLarge(String),
    TimeOver(String),
    /// The store failed, which says nothing about other ids.
    Failed(QueryError),
}

impl Default for Listed {
    fn default() -> Self {
        Self::until(Instant::now() + TIME_MAX)
    }
}

impl Listed {
    pub(in crate::api) fn until(deadline: Instant) -> Self {
        Self {
            answer: Answered::default(),
            deadline,
        }
    }

    pub(in crate::api) fn room(&self) -> usize {
        self.answer.room()
    }

    /// Adds the trace from `read`, which must read it within `room`; reading stops once the time is over.
    ///
    /// # Errors
    /// When the id is invalid.
    pub(in crate::api) async fn add(
        &mut self,
        read: impl Future<Output = Result<Option<Trace>, QueryError>>,
    ) -> Result<Outcome, QueryError> {
        let over = || Outcome::TimeOver(format!("{} s had passed", TIME_MAX.as_secs()));
        // Quick reads end before the timer fires, whose resolution is a millisecond.
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

    pub(in crate::api) fn into_parts(self) -> (Vec<Trace>, Option<String>) {
        self.answer.into_parts()
    }
}
