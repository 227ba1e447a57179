//! Reads the body of a request before the request is admitted: one that sends none must not keep the room, or the turn,
//! of others. Uploads are too large for it and have room of their own (`Cost::Upload`).

use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::{Problem, tempo};

/// Bytes of a body: forms, orders, registrations and calls have limits of their own up to it.
pub(super) const BYTES_MAX: usize = 64 << 10;
/// How long a body may take to arrive after its headers.
const TIME_MAX: Duration = Duration::from_secs(2);

/// Returns the request with its body in memory, or the answer that refuses it.
pub(super) async fn received(request: Request) -> Result<Request, Response> {
    if request.body().is_end_stream() {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    let (status, problem) = match timeout(TIME_MAX, to_bytes(body, BYTES_MAX)).await {
        Ok(Ok(body)) => return Ok(Request::from_parts(head, Body::from(body))),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => {
            let problem = format!("the body did not arrive within {} s", TIME_MAX.as_secs());
            (StatusCode::REQUEST_TIMEOUT, problem)
        }
    };
    Err(match tempo::is_call(&head) {
        true => tempo::fail_call(status, &problem),
        false => Problem::new(status, problem).into_response(),
    })
}

fn unreadable(error: &axum::Error) -> (StatusCode, String) {
    let mut causes =
        std::iter::successors(std::error::Error::source(error), |error| error.source());
    match causes.any(|cause| cause.is::<http_body_util::LengthLimitError>()) {
        true => (
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body has more than {BYTES_MAX} bytes"),
        ),
        false => (
            StatusCode::BAD_REQUEST,
            format!("the body cannot be read: {error}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Bytes;
    use axum::extract::DefaultBodyLimit;
    use axum::routing::post;
    use futures_util::stream;
    use tower::ServiceExt;

    use super::*;
    use crate::api::bounded;
    use crate::api::tests::Fixture;
    use crate::query::Cost;

    /// Answers with the length of a body.
    fn router() -> Router {
        let length = || post(|body: Bytes| async move { body.len().to_string() });
        Router::new().route("/form", length()).route(
            "/upload",
            length().layer(DefaultBodyLimit::max(2 * BYTES_MAX)),
        )
    }

    fn request(path: &str, body: Body) -> Request {
        Request::post(path).body(body).unwrap()
    }

    fn nothing() -> Body {
        Body::from_stream(stream::pending::<std::io::Result<Bytes>>())
    }

    /// *Scenario*: clients send the headers of a form, and of files to upload, and nothing more.
    /// *Guarantees*: all other requests find room; the forms are refused.
    #[tokio::test(start_paused = true)]
    async fn bodies_that_do_not_arrive_keep_no_room() {
        let queries = Fixture::new().state.query;
        let router = bounded(router(), queries.clone(), || ().into_response());
        let send = |path| tokio::spawn(router.clone().oneshot(request(path, nothing())));
        let forms: Vec<_> = (0..5).map(|_| send("/form")).collect();
        let uploads: Vec<_> = (0..5).map(|_| send("/upload")).collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        for cost in [Cost::Light, Cost::Heavy, Cost::Wall(1)] {
            assert!(queries.admission().admit(cost).await.is_ok(), "{cost:?}");
        }
        for form in forms {
            let answer = form.await.unwrap().unwrap();
            assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
        }
        uploads.iter().for_each(tokio::task::JoinHandle::abort);
    }

    /// *Scenario*: bodies of forms and uploads at the limit, and a byte beyond.
    /// *Guarantees*: only the form beyond is refused.
    #[tokio::test]
    async fn the_longest_body_arrives_whole_and_a_longer_one_is_refused() {
        let queries = Fixture::new().state.query;
        let router = bounded(router(), queries, || ().into_response());
        let lengths = [
            ("/form", BYTES_MAX, StatusCode::OK),
            ("/form", BYTES_MAX + 1, StatusCode::PAYLOAD_TOO_LARGE),
            ("/upload", BYTES_MAX + 1, StatusCode::OK),
        ];
        for (path, length, status) in lengths {
            let sent = request(path, Body::from(vec![b'x'; length]));
            let answer = router.clone().oneshot(sent).await.unwrap();
            assert_eq!(answer.status(), status, "{path} {length}");
        }
    }
}
