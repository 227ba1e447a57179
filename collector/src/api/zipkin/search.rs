//! A search for traces: what the store has for a question, judged on the spans as they are shown.

use axum::extract::State;

use super::super::ApiState;
use super::super::gather::gather;
use super::matching::matches;
use super::params::Params;
use super::plan;
use super::question::Question;
use super::refusal::Refusal;
use super::span::render;
use super::traces::Traces;
use crate::model::Trace;

/// `GET /traces`
pub(super) async fn traces(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Traces, Refusal> {
    let question = Question::read(&params)?;
    let search = plan::search(&question);
    let show = |trace: Trace| {
        let rendered = render(&trace);
        matches(&question, &trace, &rendered).then_some(rendered)
    };
    let found = gather(&state, search, question.limit, show).await?;
    let (traces, missing) = found
        .answer()
        .map_err(|(status, text)| Refusal::new(status, text))?;
    Ok(Traces { traces, missing })
}
