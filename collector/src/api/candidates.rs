//! The rows of several searches as one list, newest first, each trace once.

use std::collections::{HashSet, VecDeque};

use opentelemetry::TraceId;

use crate::model::{TraceQuery, TraceSummary};
use crate::query::{QueryError, QueryService};

/// Reads pages of the store as they are needed.
#[derive(Debug)]
pub(super) struct Candidates {
    query: QueryService,
    searches: Vec<Search>,
    seen: HashSet<TraceId>,
    missing: Option<String>,
}

/// One search of the store, as far as it is read.
#[derive(Debug)]
struct Search {
    /// The next page; `None` after the last.
    next: Option<TraceQuery>,
    rows: VecDeque<TraceSummary>,
}

impl Candidates {
    pub(super) fn new(query: &QueryService, searches: Vec<TraceQuery>) -> Self {
        let searches = searches.into_iter().map(|search| Search {
            next: Some(search),
            rows: VecDeque::new(),
        });
        Self {
            query: query.clone(),
            searches: searches.collect(),
            seen: HashSet::new(),
            missing: None,
        }
    }

    /// Returns the next trace; `None` when there is none any more.
    pub(super) async fn next(&mut self) -> Result<Option<TraceId>, QueryError> {
        loop {
            for search in &mut self.searches {
                while let Some(page) = search.next.take_if(|_| search.rows.is_empty()) {
                    let page = search.read(&self.query, page).await?;
                    self.missing = page.or(self.missing.take());
                }
            }
            let Some(id) = self.newest() else {
                return Ok(None);
            };
            if self.seen.insert(id) {
                return Ok(Some(id));
            }
        }
    }

    /// Returns why the store may have left out rows so far.
    pub(super) fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    fn newest(&mut self) -> Option<TraceId> {
        let start = |search: &&mut Search| search.rows.front().map(|row| row.start_unix_nanos);
        let search = self.searches.iter_mut().max_by_key(start)?;
        search.rows.pop_front().map(|row| row.trace_id)
    }
}

impl Search {
    /// Reads a page and returns why rows may be missing in it.
    async fn read(
        &mut self,
        query: &QueryService,
        search: TraceQuery,
    ) -> Result<Option<String>, QueryError> {
        let page = query.search(search.clone()).await?;
        self.rows = page.traces.into();
        self.next = page.next.map(|cursor| TraceQuery {
            cursor: Some(cursor),
            ..search
        });
        Ok(page.missing)
    }
}
