//! What is common to gRPC calls on every listener: how a call is recognised, and the responses that end it.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, Version, request};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};

use super::success_trailers;
use crate::receivers::decompress::Encoding;

const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The body of an answer: framed messages and trailers, or nothing.
pub(crate) type GrpcBody = UnsyncBoxBody<Bytes, Infallible>;

/// Returns whether a request is a gRPC call with protobuf messages.
pub(crate) fn is_grpc(head: &request::Parts) -> bool {
    let content_type = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    head.version == Version::HTTP_2
        && head.method == Method::POST
        && matches!(
            content_type.as_deref(),
            Some("application/grpc" | "application/grpc+proto")
        )
}

/// Answers with framed messages.
pub(crate) fn succeed(framed: Bytes) -> Response<GrpcBody> {
    let messages = Full::new(framed);
    let trailers = async { Some(Ok(success_trailers())) };
    grpc_response(messages.with_trailers(trailers).boxed_unsync())
}

/// The messages of an answer that come one by one.
pub(super) trait Messages: Send + 'static {
    /// Returns the next framed message, or the trailers at the end.
    fn next(&mut self) -> impl Future<Output = Result<Bytes, HeaderMap>> + Send;
}

/// Answers with messages as they come.
pub(super) fn stream(messages: impl Messages) -> Response<GrpcBody> {
    let frames = unfold(Some(messages), |messages| async {
        let mut messages = messages?;
        Some(match messages.next().await {
            Ok(message) => (Ok(Frame::data(message)), Some(messages)),
            Err(trailers) => (Ok(Frame::trailers(trailers)), None),
        })
    });
    grpc_response(StreamBody::new(frames).boxed_unsync())
}

/// Answers with trailers only.
pub(crate) fn fail(trailers: HeaderMap) -> Response<GrpcBody> {
    let mut response = grpc_response(Empty::new().boxed_unsync());
    response.headers_mut().extend(trailers);
    response
}

fn grpc_response(body: GrpcBody) -> Response<GrpcBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(
        GRPC_ACCEPT_ENCODING,
        HeaderValue::from_static(Encoding::ACCEPTED),
    );
    response
}

/// Answers non-gRPC clients in plain HTTP.
pub(crate) fn not_grpc(why: &'static str) -> Response<GrpcBody> {
    let mut response = Response::new(Full::from(why).boxed_unsync());
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
