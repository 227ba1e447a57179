//! The searchable names by scope: those in the newest traces of the range, and the intrinsic ones.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::params::Params;
use super::search::candidates;
use crate::api::ApiState;
use crate::api::dialect::{NAMES_MAX, Reach, shortened};
use crate::api::refusal::Refusal;
use crate::model::{Condition, Place, Span, TimeRange};
use crate::query::QueryError;
use crate::store::cancel::{self, off_worker};
use crate::sync::Mutex;
use crate::traceql::{Field, Intrinsic, Query, TraceView, word_of};

/// The scope of the fields that every span has.
const INTRINSIC: &str = "intrinsic";
/// How much is read to find names: people wait for a list while they type.
const READ: Reach = Reach {
    traces: 200,
    spans: 50_000,
    time: Duration::from_secs(3),
};
const TRACE_BYTES_READ: usize = 8 << 20;

#[derive(Debug, Serialize)]
struct Scope {
    name: &'static str,
    tags: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ByScope {
    scopes: Vec<Scope>,
    metrics: Inspected,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Names {
    tag_names: BTreeSet<String>,
    metrics: Inspected,
}

/// How much was read for names (`tempopb.MetadataMetrics`).
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Inspected {
    inspected_bytes: String,
}

impl Inspected {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            inspected_bytes: bytes.to_string(),
        }
    }
}

/// `GET /tempo/api/v2/search/tags?scope&q&start&end&limit`
pub(super) async fn by_scope(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Refusal> {
    let (scopes, bytes) = scopes(&state, &params).await?;
    let answer = ByScope {
        scopes,
        metrics: Inspected::new(bytes),
    };
    Ok(Json(answer).into_response())
}

/// `GET /tempo/api/search/tags?scope&start&end&limit`: without a scope, the names in resources and spans.
pub(super) async fn names(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Refusal> {
    let (scopes, bytes) = scopes(&state, &params).await?;
    let is_any = params.value("scope").is_none();
    let wanted = scopes
        .into_iter()
        .filter(|scope| !is_any || matches!(scope.name, "span" | "resource"));
    let answer = Names {
        tag_names: wanted.flat_map(|scope| scope.tags).collect(),
        metrics: Inspected::new(bytes),
    };
    Ok(Json(answer).into_response())
}

async fn scopes(state: &ApiState, params: &Params) -> Result<(Vec<Scope>, usize), Refusal> {
    let limit = params.limit(NAMES_MAX, NAMES_MAX)?;
    let wanted = params
        .value("scope")
        .filter(|scope| *scope != "all" && *scope != "none");
    let known = Field::ANYWHERE.map(word_of);
    if let Some(scope) = wanted.filter(|scope| *scope != INTRINSIC && !known.contains(scope)) {
        return Err(Refusal::bad(format!("invalid scope: {}", shortened(scope))));
    }
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted == name);
    let mut found = Keys::default();
    let mut bytes = 0;
    if wanted != Some(INTRINSIC) {
        (found, bytes) = Keys::read(state, params).await?;
    }
    let mut scopes = Vec::new();
    for (place, keys) in Field::ANYWHERE.into_iter().zip(found.0) {
        let name = word_of(place);
        if is_wanted(name) && !keys.is_empty() {
            let tags = keys.into_iter().take(limit).collect();
            scopes.push(Scope { name, tags });
        }
    }
    if is_wanted(INTRINSIC) {
        let names = Intrinsic::names().into_iter().map(str::to_owned);
        scopes.push(Scope {
            name: INTRINSIC,
            tags: names.take(limit).collect(),
        });
    }
    Ok((scopes, bytes))
}

/// The keys of attributes, by place in the order of `Field::ANYWHERE`.
#[derive(Debug, Default)]
struct Keys([BTreeSet<String>; 5]);

impl Keys {
    async fn read(state: &ApiState, params: &Params) -> Result<(Self, usize), Refusal> {
        let sample = Sample::new(params, None)?;
        sample.read(state, Self::default(), Self::add).await
    }

    fn add(&mut self, view: &TraceView<'_>, at: usize) {
        let span = view.span(at);
        for (place, keys) in Field::ANYWHERE.into_iter().zip(&mut self.0) {
            of_place(span, place, &mut |key| {
                if !keys.contains(key) && keys.len() < NAMES_MAX {
                    keys.insert(key.to_owned());
                }
            });
        }
    }
}

fn of_place(span: &Span, place: Place, visit: &mut impl FnMut(&str)) {
    let mut all = |attributes: &[(String, crate::model::Value)]| {
        attributes.iter().for_each(|(key, _)| visit(key));
    };
    match place {
        Place::Span => all(&span.attributes),
        Place::Resource => all(&span.resource.attributes),
        Place::Scope => all(&span.scope.attributes),
        Place::Event => span.events.iter().for_each(|event| all(&event.attributes)),
        Place::Link => span.links.iter().for_each(|link| all(&link.attributes)),
    }
}

/// The newest traces of a range, whose spans are scanned for names and values.
pub(super) struct Sample {
    range: TimeRange,
    /// Selects spans; all of them without a valid query, because people ask while they type.
    query: Arc<Query>,
    condition: Option<Condition>,
}

impl Sample {
    /// Reads the parameters; a span must also meet the condition.
    pub(super) fn new(params: &Params, condition: Option<Condition>) -> Result<Self, Refusal> {
        let everything = || Query::parse("{ }").expect("it is a query");
        let query = params
            .query()
            .ok()
            .flatten()
            .filter(|query| !query.is_metric());
        Ok(Self {
            range: params.range()?,
            query: Arc::new(query.unwrap_or_else(everything)),
            condition,
        })
    }

    /// Passes each span to `look`; returns what was collected, and the number of bytes read.
    pub(super) async fn read<T: Send + 'static>(
        self,
        state: &ApiState,
        collected: T,
        look: fn(&mut T, &TraceView<'_>, usize),
    ) -> Result<(T, usize), Refusal> {
        let (query, range) = (&self.query, self.range);
        let mut scan = candidates(state, query, range, self.condition, READ).await;
        let collected = Arc::new(Mutex::new(Some(collected)));
        let mut bytes = 0;
        while let Some(trace) = scan.next(TRACE_BYTES_READ).await? {
            bytes += crate::query::bytes_of(&trace.spans);
            let (query, collected) = (Arc::clone(&self.query), Arc::clone(&collected));
            let work = off_worker(Path::new("trace"), move || {
                let view = TraceView::new(&trace)?;
                for set in query.find(&view)?.sets {
                    for at in &set.spans {
                        cancel::spend(0)?;
                        if let Some(collected) = collected.lock().as_mut() {
                            look(collected, &view, *at);
                        }
                    }
                }
                Ok(())
            });
            // A trace that takes longer than there is time gives what was found in it by then.
            if let Some(looked) = scan.within(work).await {
                looked.map_err(QueryError::from)?;
            }
        }
        let collected = collected.lock().take();
        Ok((collected.expect("it is taken once"), bytes))
    }
}
