//! Routes that list, add and remove traces kept beyond the retention.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::params::Params;
use super::{ApiState, Problem};
use crate::model::UnixNanos;
use crate::query::{KeepError, KeepOrder, KeptTrace, read_trace_id};
use crate::receivers::user_name;

/// `bytes_max` is the limit of `bytes`, the size of all copies.
#[derive(Debug, Serialize)]
pub(super) struct List {
    kept: Vec<KeptTrace>,
    bytes: u64,
    bytes_max: u64,
}

/// `GET /api/kept`
pub(super) async fn list(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<List>, Problem> {
    params.only(&[])?;
    let kept = state.query.kept();
    let (bytes, bytes_max) = kept.room();
    Ok(Json(List {
        kept: kept.list(),
        bytes,
        bytes_max,
    }))
}

/// `POST /api/traces/{id}/keep`
pub(super) async fn keep(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    order: Result<Json<KeepOrder>, JsonRejection>,
) -> Result<(StatusCode, Json<KeptTrace>), Problem> {
    let Json(order) = order.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let by = user_name(&headers).unwrap_or_else(|| order.by.clone());
    let trace = state.query.trace_by_text(&id).await?;
    let unknown = || Problem::not_found(format!("no span of trace {id} is stored"));
    let trace = trace.ok_or_else(unknown)?;
    let order = KeepOrder { by, ..order };
    let kept = state.query.kept().keep(trace, order, UnixNanos::now());
    Ok((StatusCode::CREATED, Json(kept.await?)))
}

/// `DELETE /api/kept/{id}`
pub(super) async fn remove(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<KeptTrace>, Problem> {
    let unknown = || Problem::not_found(format!("no trace {id} is kept"));
    let trace = read_trace_id(&id).ok_or_else(unknown)?;
    let removed = state
        .query
        .kept()
        .remove(trace, user_name(&headers))
        .await?;
    removed.map(Json).ok_or_else(unknown)
}

impl KeepError {
    /// Returns the HTTP status of the error.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Already | Self::Arriving { .. } => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Full { .. } | Self::TooMany | Self::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<KeepError> for Problem {
    fn from(error: KeepError) -> Self {
        let (status, detail) = (error.status(), error.to_string());
        match error {
            KeepError::Store(error) => error.into(),
            KeepError::Invalid { parameter, .. } => Self {
                parameter: Some(parameter.to_owned()),
                ..Self::new(status, detail)
            },
            _ => Self::new(status, detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::Fixture;
    use crate::query::Kept;
    use crate::store::StoreError;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_full_disk_is_named() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let path = std::path::Path::new("/data/kept/a.json");
        let problem = Problem::from(KeepError::from(StoreError::io("write", path, full)));
        let expected = "the disk is full, so the trace was not kept";
        assert_eq!((problem.status, &*problem.detail), (507, expected));
    }

    /// Scenario: the copy of a trace is damaged while the trace itself is still stored.
    /// Guarantees: what is stored is shown.
    #[tokio::test]
    async fn a_damaged_copy_does_not_hide_what_is_stored() {
        let fixture = Fixture::with_shop(UnixNanos::now().get());
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::open(dir.path(), 1 << 20).unwrap();
        let query = fixture.state.query.clone().with_kept(kept.clone());
        let stored = query.trace_by_text(ID).await.unwrap().unwrap();
        let order = KeepOrder {
            note: "outage".to_owned(),
            by: "kim".to_owned(),
        };
        // When no more spans are expected.
        let now = UnixNanos::now() + crate::model::MINUTE;
        kept.keep(stored.clone(), order, now).await.unwrap();
        let copy = dir.path().join("kept").join(ID).with_extension("json");
        std::fs::write(copy, "{").unwrap();
        let shown = query.trace_by_text(ID).await.unwrap().unwrap();
        assert_eq!(shown.spans, stored.spans);
    }
}
