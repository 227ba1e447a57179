//! The possible values of a field: known words, names of services and operations, or else the values in the
//! newest traces of the range.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::params::Params;
use super::tags::{Inspected, Sample};
use crate::api::ApiState;
use crate::api::dialect::{NAMES_MAX, with_missing};
use crate::api::refusal::Refusal;
use crate::model::{Place, SpanKind, StatusCode};
use crate::query::Partial;
use crate::traceql::{Field, Intrinsic, TraceView, Value, status_word};

const VALUES_DEFAULT: usize = 1_000;
/// Services whose operations are listed.
const SERVICES_MAX: usize = 100;
/// Longest listed value, bytes: longer ones are not useful in a list.
const VALUE_BYTES_MAX: usize = 1_024;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Typed {
    #[serde(rename = "type")]
    value_type: &'static str,
    value: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TypedValues {
    tag_values: Vec<Typed>,
    metrics: Inspected,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Values {
    tag_values: Vec<String>,
    metrics: Inspected,
}

/// `GET /tempo/api/v2/search/tag/{tag}/values?q&start&end&limit`: the tag is a field as in queries.
pub(super) async fn typed(
    State(state): State<ApiState>,
    Path(tag): Path<String>,
    params: Params,
) -> Result<Response, Refusal> {
    let field = Field::parse(&tag);
    let field = field.map_err(|problem| Refusal::bad(format!("invalid tag name: {problem}")))?;
    let (values, bytes) = values(&state, field, &params).await?;
    let (missing, tag_values) = (values.missing_words(), values.value);
    let metrics = Inspected::new(bytes);
    let answer = Json(TypedValues {
        tag_values,
        metrics,
    });
    Ok(with_missing(answer.into_response(), missing.as_deref()))
}

/// `GET /tempo/api/search/tag/{tag}/values?start&end&limit`: the tag is an attribute's key, or a field.
pub(super) async fn plain(
    State(state): State<ApiState>,
    Path(tag): Path<String>,
    params: Params,
) -> Result<Response, Refusal> {
    let attribute = || Field::Attribute {
        place: None,
        key: tag.clone(),
    };
    let field = match Field::parse(&tag) {
        Ok(field @ Field::Intrinsic(_)) => field,
        _ => attribute(),
    };
    let (values, bytes) = values(&state, field, &params).await?;
    let metrics = Inspected::new(bytes);
    let missing = values.missing_words();
    let mut tag_values: Vec<_> = values.value.into_iter().map(|one| one.value).collect();
    tag_values.dedup();
    let answer = Json(Values {
        tag_values,
        metrics,
    });
    Ok(with_missing(answer.into_response(), missing.as_deref()))
}

/// Returns the values of a field, sorted, and the number of bytes read.
async fn values(
    state: &ApiState,
    field: Field,
    params: &Params,
) -> Result<(Partial<Vec<Typed>>, usize), Refusal> {
    let limit = params.limit(VALUES_DEFAULT, NAMES_MAX)?;
    let is_filtered = params.value("q").is_some();
    let known = match &field {
        Field::Intrinsic(Intrinsic::Status) => Some(statuses().into()),
        Field::Intrinsic(Intrinsic::Kind) => Some(kinds().into()),
        _ if is_filtered => None,
        field if is_service(field) => Some(state.query.service_names().await?),
        Field::Intrinsic(Intrinsic::Name) => Some(operations(state, limit).await?),
        _ => None,
    };
    let value_type = match &field {
        Field::Intrinsic(Intrinsic::Status | Intrinsic::Kind) => "keyword",
        _ => "string",
    };
    if let Some(known) = known {
        let typed = |value| Typed { value_type, value };
        let known = known.map(|known| known.into_iter().take(limit).map(typed).collect());
        return Ok((known, 0));
    }
    let sample = Sample::new(params, field.exists())?;
    let found = Found {
        field,
        values: BTreeSet::new(),
        limit,
    };
    let (found, bytes) = sample.read(state, found, Found::look).await?;
    let values: Vec<_> = found.values.into_iter().collect();
    Ok((values.into(), bytes))
}

fn is_service(field: &Field) -> bool {
    match field {
        Field::Intrinsic(intrinsic) => *intrinsic == Intrinsic::RootService,
        Field::Attribute { place, key } => {
            key == "service.name" && matches!(place, None | Some(Place::Resource))
        }
    }
}

fn statuses() -> Vec<String> {
    let all = [StatusCode::Error, StatusCode::Ok, StatusCode::Unset];
    all.map(|code| status_word(code).to_owned()).to_vec()
}

fn kinds() -> Vec<String> {
    let kinds = (0..6).map(SpanKind::from_otlp);
    let words: BTreeSet<_> = kinds.map(|kind| kind.as_str().to_owned()).collect();
    words.into_iter().collect()
}

async fn operations(state: &ApiState, limit: usize) -> Result<Partial<Vec<String>>, Refusal> {
    let mut names = BTreeSet::new();
    let services = state.query.service_names().await?;
    let mut missing = services.missing;
    for service in services.value.iter().take(SERVICES_MAX) {
        let operations = state.query.operations(service).await?;
        missing = missing.or(operations.missing);
        names.extend(operations.value);
        if names.len() >= limit {
            break;
        }
    }
    let value = names.into_iter().collect();
    Ok(Partial { value, missing })
}

struct Found {
    field: Field,
    values: BTreeSet<Typed>,
    limit: usize,
}

impl Found {
    fn look(&mut self, view: &TraceView<'_>, at: usize) {
        let value = view.value(at, &self.field);
        self.add(&value);
    }

    fn add(&mut self, value: &Value<'_>) {
        let value_type = match value {
            Value::Nil => return,
            Value::List(items) => return items.iter().for_each(|item| self.add(item)),
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Duration(_) => "duration",
            Value::Status(_) | Value::Kind(_) => "keyword",
            Value::Text(_) => "string",
        };
        let value = value.to_string();
        if self.values.len() < self.limit && value.len() <= VALUE_BYTES_MAX {
            self.values.insert(Typed { value_type, value });
        }
    }
}
