//! Reads the body of a request before the request is admitted: one that sends none must not keep the room, or the turn,
//! of others. Uploads are too large for it and have room of their own (`Cost::Upload`).

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::problem::RETRY_AFTER;
use super::{Problem, tempo};

/// Bytes of a body: forms, orders, registrations and calls have limits of their own up to it.
pub(super) const BYTES_MAX: usize = 64 << 10;
/// Bytes of all bodies from their headers to the answer, on every connection: 512 of the longest.
const ROOM_BYTES: usize = 32 << 20;
/// How long a body may take to arrive after its headers, with the wait for room.
const TIME_MAX: Duration = Duration::from_secs(2);

/// The memory of all bodies; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM_BYTES)))
    }
}

impl Bodies {
    /// Returns the request with its body in memory and the room that it takes, or the answer that refuses it.
    pub(super) async fn receive(
        &self,
        request: Request,
    ) -> Result<(Request, Option<OwnedSemaphorePermit>), Response> {
        if request.body().is_end_stream() {
            return Ok((request, None));
        }
        let (head, body) = request.into_parts();
        let announced = body.size_hint().upper();
        let announced = announced.and_then(|bytes| u32::try_from(bytes).ok());
        let bytes = announced.unwrap_or(u32::MAX).clamp(1, BYTES_MAX as u32);
        let deadline = Instant::now() + TIME_MAX;
        let room = timeout_at(deadline, Arc::clone(&self.0).acquire_many_owned(bytes)).await;
        let Ok(Ok(room)) = room else {
            let problem = "too many requests are being received; try again in a few seconds";
            return Err(refuse(&head, StatusCode::SERVICE_UNAVAILABLE, problem));
        };
        let (status, problem) = match timeout_at(deadline, to_bytes(body, BYTES_MAX)).await {
            Ok(Ok(body)) => return Ok((Request::from_parts(head, Body::from(body)), Some(room))),
            Ok(Err(error)) => unreadable(&error),
            Err(_) => {
                let problem = format!("the body did not arrive within {} s", TIME_MAX.as_secs());
                (StatusCode::REQUEST_TIMEOUT, problem)
            }
        };
        Err(refuse(&head, status, &problem))
    }
}

fn refuse(head: &Parts, status: StatusCode, problem: &str) -> Response {
    let mut response = match tempo::is_call(head) {
        true => tempo::fail_call(status, problem),
        false => Problem::new(status, problem).into_response(),
    };
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
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

    /// *Scenario*: thousands of clients announce long forms, and wait.
    /// *Guarantees*: they take a bounded room; others are refused with a hint, and admitted once it is free.
    #[tokio::test(start_paused = true)]
    async fn bodies_of_all_connections_have_a_bounded_room() {
        let bodies = Bodies::default();
        let form = || request("/form", Body::from(vec![b'x'; BYTES_MAX]));
        let mut received = Vec::new();
        for _ in 0..ROOM_BYTES / BYTES_MAX {
            received.push(bodies.receive(form()).await.unwrap());
        }
        let refused = bodies.receive(form()).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key(header::RETRY_AFTER));
        received.pop();
        assert!(bodies.receive(form()).await.is_ok());
        assert!(
            bodies
                .receive(request("/form", Body::empty()))
                .await
                .is_ok()
        );
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
