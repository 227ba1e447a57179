//! What Jaeger's pages send: traces to archive, which are kept beyond the retention, and files of OTLP to show, which are
//! answered in Jaeger's form and not stored.

use std::path::Path as FilePath;

use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tokio::time::timeout;

use super::answer::{Answer, Failure};
use super::params::{Params, trace_id};
use super::search::{Found, View, find, render};
use crate::api::dialect::Refuse;
use crate::api::{ApiState, Problem};
use crate::model::UnixNanos;
use crate::query::{KeepError, KeepOrder, QueryError, TRACE_BYTES_MAX, UPLOAD_TIME_MAX, read_file};
use crate::receivers::user_name;
use crate::store::cancel::off_worker;

/// The note of archived traces: Jaeger's pages ask for none.
const NOTE: &str = "archived by Jaeger's API";
/// Who archived, if the request does not say it.
const UNNAMED: &str = "a user of Jaeger's API";

/// `POST /jaeger/api/archive/{id}`; archiving it again changes nothing.
pub(super) async fn archive(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Answer<Vec<()>>, Failure> {
    let trace = find(&state.query, &trace_id(&id)?, TRACE_BYTES_MAX).await?;
    let trace = trace.ok_or_else(Failure::no_such_trace)?;
    let order = KeepOrder {
        note: NOTE.to_owned(),
        by: user_name(&headers).unwrap_or_else(|| UNNAMED.to_owned()),
    };
    let kept = state.query.kept().keep(trace, order, UnixNanos::now());
    match kept.await {
        Ok(_) | Err(KeepError::Already) => Ok(Answer::of(Vec::new(), false)),
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// `POST /jaeger/api/transform`
pub(super) async fn transform(params: Params, request: Request) -> Result<Response, Failure> {
    let view = View::read(&params)?;
    let file = timeout(UPLOAD_TIME_MAX, Bytes::from_request(request, &())).await;
    let too_slow = |_| {
        Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            "the file did not arrive in time",
        )
    };
    let file = file
        .map_err(too_slow)?
        .map_err(|error| Failure::new(error.status(), error.body_text()))?;
    let read = off_worker(FilePath::new("traces"), move || Ok(read_file(&file)));
    let traces = read.await.map_err(QueryError::from)?;
    let wrong = |error| Failure::new(StatusCode::BAD_REQUEST, format!("{error}"));
    let found = Found {
        traces: traces.map_err(wrong)?,
        remarks: Vec::new(),
    };
    Ok(render(found, view))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;
    use crate::api::router;
    use crate::api::tests::{Fixture, shop};
    use crate::query::Kept;

    const SHOP: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    async fn post(fixture: &Fixture, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
        let request = Request::post(format!("/jaeger/api/{path}"));
        let request = request.body(body.into()).unwrap();
        let answer = router(fixture.state.clone())
            .oneshot(request)
            .await
            .unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// *Scenario*: a trace is archived from its page, twice, and an unknown one is.
    /// *Guarantees*: it is kept once, with a note; the answers have Jaeger's form.
    #[tokio::test]
    async fn an_archived_trace_is_kept() {
        let ago = UnixNanos::now() - 2 * crate::model::MINUTE;
        let mut fixture = Fixture::with_shop(ago.get());
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::open(dir.path(), 1 << 20).unwrap();
        fixture.state.query = fixture.state.query.clone().with_kept(kept.clone());
        let done = json!({"data": [], "total": 0, "limit": 0, "offset": 0, "errors": null});
        for _ in 0..2 {
            let answer = post(&fixture, &format!("archive/{SHOP}"), "").await;
            assert_eq!(answer, (StatusCode::OK, done.clone()));
        }
        let list = kept.list();
        assert_eq!(
            (list.len(), &*list[0].note, &*list[0].by),
            (1, NOTE, UNNAMED)
        );
        let (status, answer) = post(&fixture, "archive/1f", "").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(answer["errors"][0]["msg"], "trace not found");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_does_not_arrive_is_refused() {
        let nothing = futures_util::stream::pending::<std::io::Result<Vec<u8>>>();
        let (status, _) = post(&Fixture::new(), "transform", Body::from_stream(nothing)).await;
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    }

    /// *Guarantees*: a file of OTLP comes back in Jaeger's form and is not stored; another is refused.
    #[tokio::test]
    async fn a_file_of_otlp_is_transformed() {
        let fixture = Fixture::new();
        let file = shop(UnixNanos::now().get()).to_string();
        let (status, answer) = post(&fixture, "transform", file).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let trace = &answer["data"][0];
        assert_eq!(trace["traceID"], SHOP);
        assert_eq!(trace["spans"].as_array().unwrap().len(), 5);
        assert_eq!(trace["warnings"], Value::Null);
        let (status, _, _) = fixture.get(&format!("/jaeger/api/traces/{SHOP}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        for (file, problem) in [
            ("{}", "no trace in JSON"),
            ("{\"resourceSpans\": []}", "no valid spans"),
        ] {
            let (status, answer) = post(&fixture, "transform", file).await;
            assert_eq!(status, StatusCode::BAD_REQUEST);
            let message = answer["errors"][0]["msg"].as_str().unwrap();
            assert!(message.contains(problem), "{message}");
        }
    }
}
