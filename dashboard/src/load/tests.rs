//! Loads against servers that answer as scripted.

use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;

use super::*;

/// The requests that a server received.
#[derive(Debug, Default)]
struct Received {
    requests: usize,
    bytes: usize,
    content_types: Vec<String>,
    paths: Vec<String>,
}

/// Starts a server that answers its nth request with the nth answer, and all further requests with the last one.
async fn server(answers: Vec<Scripted>) -> (String, Arc<Mutex<Received>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Arc::new(Mutex::new(Received::default()));
    let shared = received.clone();
    let answers = Arc::new(answers);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (shared, answers) = (shared.clone(), answers.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let (shared, answers) = (shared.clone(), answers.clone());
                    async move { serve(request, &shared, &answers).await }
                });
                let builder = Builder::new(TokioExecutor::new());
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (format!("http://{address}"), received)
}

/// An answer: its status, a header and, for gRPC, whether the header is a trailer after a message.
#[derive(Debug, Clone, Copy)]
struct Scripted {
    status: u16,
    header: Option<(&'static str, &'static str)>,
    message: Option<&'static [u8]>,
}

const fn scripted(status: u16, header: Option<(&'static str, &'static str)>) -> Scripted {
    Scripted {
        status,
        header,
        message: None,
    }
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

async fn serve(
    request: http::Request<Incoming>,
    received: &Mutex<Received>,
    answers: &[Scripted],
) -> Result<Response<Body>, hyper::Error> {
    let content_type = request.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let answer = {
        let mut received = received.lock().unwrap();
        let answer = answers[received.requests.min(answers.len() - 1)];
        received.requests += 1;
        received.bytes += body.len();
        received.content_types.push(content_type);
        received.paths.push(path);
        answer
    };
    Ok(answer.into_response())
}

impl Scripted {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::builder().status(self.status);
        let Some(message) = self.message else {
            if let Some((name, value)) = self.header {
                response = response.header(name, value);
            }
            return response.body(Full::default().boxed_unsync()).unwrap();
        };
        let mut frames = vec![Ok(Frame::data(Bytes::from_static(message)))];
        if let Some((name, value)) = self.header {
            let mut trailers = HeaderMap::new();
            trailers.insert(name, HeaderValue::from_static(value));
            frames.push(Ok(Frame::trailers(trailers)));
        }
        let body = StreamBody::new(futures_util::stream::iter(frames));
        response.body(body.boxed_unsync()).unwrap()
    }
}

fn options(endpoint: String) -> LoadOptions {
    LoadOptions {
        endpoint,
        spans: 1_000,
        connections: 2,
        spans_per_request: 50,
        ..LoadOptions::default()
    }
}

#[tokio::test]
async fn every_span_is_sent_once_and_counted() {
    let (endpoint, received) = server(vec![scripted(200, None)]).await;
    let report = run(options(endpoint)).await.unwrap();
    let received = received.lock().unwrap();
    assert_eq!(
        (report.spans, report.requests as usize),
        (1_000, received.requests)
    );
    assert_eq!(report.bytes as usize, received.bytes);
    assert!(received.paths.iter().all(|path| path == "/v1/traces"));
    assert!(
        received
            .content_types
            .iter()
            .all(|kind| kind == "application/x-protobuf")
    );
    assert!(report.refused.is_empty() && report.retried.is_empty());
}

#[tokio::test]
async fn a_full_server_is_tried_again_and_a_refusal_is_not() {
    let later = scripted(503, Some(("retry-after", "0")));
    let answers = vec![later, later, scripted(413, None), scripted(200, None)];
    let (endpoint, _) = server(answers).await;
    let one = LoadOptions {
        connections: 1,
        ..options(endpoint)
    };
    let report = run(one).await.unwrap();
    assert_eq!(report.retried, [("503".to_owned(), 2)].into());
    let refused = report.refused["413"];
    assert_eq!(report.spans + refused, 1_000);
    assert!(refused > 0);
}

#[tokio::test]
async fn grpc_frames_its_messages_and_reads_trailers() {
    // A message of partial success: one span refused.
    let taken = Scripted {
        status: 200,
        header: Some(("grpc-status", "0")),
        message: Some(&[0, 0, 0, 0, 4, 0x0a, 2, 0x08, 1]),
    };
    let refused = scripted(200, Some(("grpc-status", "3")));
    let (endpoint, received) = server(vec![refused, taken]).await;
    let grpc = LoadOptions {
        grpc: true,
        gzip: true,
        connections: 1,
        ..options(endpoint)
    };
    let report = run(grpc).await.unwrap();
    assert_eq!(report.spans_refused, report.requests);
    assert_eq!(
        report.spans + report.spans_refused + report.refused["grpc 3"],
        1_000
    );
    let received = received.lock().unwrap();
    assert!(
        received
            .content_types
            .iter()
            .all(|kind| kind == "application/grpc")
    );
    assert!(received.paths[0].ends_with("TraceService/Export"));
}

#[tokio::test]
async fn an_endpoint_that_is_no_url_is_an_error() {
    let wrong = options("ftp://127.0.0.1".to_owned());
    assert!(matches!(run(wrong).await, Err(LoadError::Endpoint { .. })));
}
