//! Messages and polls over HTTP: OTLP in protobuf, JSON and gRPC-web; Zipkin in JSON, protobuf and thrift;
//! compressed or not, with or without Content-Length.
//!
//! OTLP is answered in the request's encoding, as specified: an export response, or a `google.rpc.Status`.
//! Zipkin's answer to spans is an empty 202. Rejections of Zipkin's spans, and those before a body is read
//! (path, method, content type), are plain text.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, post};
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderValue, ORIGIN,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, request};
use http_body_util::Full;
use prost::Message;

use super::auth::BEARER_CHALLENGE;
use super::body::RequestBody;
use super::decompress::Encoding;
use super::grpc::{health, reflection};
use super::intake::Intake;
use super::otlp;
use super::otlp_grpc::OtlpGrpc;
use super::refusal::Refusal;
use super::rpc::Status;
use super::{body, control, cors};
use crate::codec::otlp::Accepted;
use crate::codec::{Format, Signal, zipkin};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

const THRIFT: &str = "application/x-thrift";

/// Zipkin's paths by the version of its model.
const ZIPKIN_V1: &str = "/api/v1/spans";
const ZIPKIN_V2: &str = "/api/v2/spans";

/// Serves OTLP/HTTP and Zipkin's spans; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct HttpReceiver {
    intake: Intake,
}

/// Returns the routes on which the web listener accepts messages; `/` is the circuit wall there.
pub(crate) fn routes(intake: Intake) -> Router {
    let calls = OtlpGrpc::new(intake.clone());
    let receiver = HttpReceiver::new(intake);
    let serve = move |request: axum::extract::Request| receiver.clone().serve(request);
    let receive = any(serve.clone());
    let mut routes = Router::new();
    for path in ["v1/traces", "v1/metrics", "v1/logs"] {
        for path in [format!("/{path}"), format!("//{path}"), format!("/{path}/")] {
            routes = routes.route(&path, receive.clone());
        }
    }
    // Zipkin's reporters call here by gRPC, pages in browsers by gRPC-web.
    let calls = any(async move |request: axum::extract::Request| {
        calls
            .serve(request)
            .await
            .map(|answer| answer.map(Body::new))
    });
    let health = [health::CHECK, health::WATCH];
    let paths = otlp::GRPC_PATHS.into_iter().chain(health);
    for path in paths.chain(reflection::PATHS) {
        routes = routes.route(path, calls.clone());
    }
    for path in control::PATHS {
        routes = routes.route(path, receive.clone());
    }
    // Other methods on this path belong to Zipkin's query API.
    routes
        .route(ZIPKIN_V2, post(serve.clone()).options(serve.clone()))
        .route(ZIPKIN_V1, post(serve.clone()).options(serve))
}

impl HttpReceiver {
    pub(crate) fn new(intake: Intake) -> Self {
        Self { intake }
    }

    pub(crate) async fn serve<B: RequestBody>(
        self,
        request: Request<B>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, mut body) = request.into_parts();
        if control::PATHS.contains(&head.uri.path()) {
            return Ok(control::serve(&self.intake, &head, &mut body).await);
        }
        let calls = OtlpGrpc::new(self.intake.clone());
        if let Some(answer) = calls.serve_web(&head, &mut body).await {
            return Ok(answer);
        }
        let tally = self.intake.tally();
        let origin = self.intake.cors.allowed(&head.headers);
        let format = format_of(head.uri.path(), &head.headers, origin.is_some());
        let outcome = self.export(&head, format, &mut body).await;
        // Before discarding the rest, so that a sender that leaves meanwhile is counted too.
        tally.settle(&outcome);
        if outcome.is_err() && !expects_continue(&head.headers) {
            body::discard(&mut body).await;
        }
        let mut answer = match outcome {
            Ok(accepted) => confirm(&accepted, format),
            Err(refusal) => refuse(&refusal, format),
        };
        if let Some(origin) = origin {
            cors::grant(&mut answer, origin);
        }
        Ok(answer)
    }

    async fn export<B: RequestBody>(
        &self,
        head: &request::Parts,
        format: Option<Format>,
        body: &mut B,
    ) -> Result<Accepted, Refusal> {
        let path = head.uri.path();
        let signal = match path {
            ZIPKIN_V1 | ZIPKIN_V2 => Some(Signal::Traces),
            _ => otlp::signal_of_http_path(path),
        };
        let signal = signal.ok_or_else(|| Refusal::NotFound(path.to_owned()))?;
        if head.method != Method::POST {
            return Err(Refusal::MethodNotAllowed);
        }
        self.intake.authorize(head).await?;
        let format = format.ok_or(Refusal::MediaType(match path {
            ZIPKIN_V1 => "Zipkin's v1 is read as application/json or application/x-thrift",
            ZIPKIN_V2 => "Zipkin's v2 is read as application/json or application/x-protobuf",
            _ => "OTLP/HTTP bodies are application/x-protobuf or application/json; gRPC has its own port (4317)",
        }))?;
        let encoding = content_encoding(&head.headers)?;
        let mut reservation = self.intake.begin(None)?;
        let sent = self.intake.read(body, |_| None, &mut reservation).await?;
        let message = self
            .intake
            .inflate(sent, encoding, &mut reservation)
            .await?;
        self.intake
            .accept(signal, format, message, reservation)
            .await
    }
}

/// Returns the format of a content type at a path, ignoring parameters and case.
///
/// A page of an allowed origin may send JSON as plain text, which needs no preflight: `navigator.sendBeacon`
/// does so when the page is left.
fn format_of(path: &str, headers: &HeaderMap, is_allowed_origin: bool) -> Option<Format> {
    let known: &[(&str, Format)] = match path {
        ZIPKIN_V1 => &[
            (JSON, Format::Zipkin(zipkin::Encoding::JsonV1)),
            (THRIFT, Format::Zipkin(zipkin::Encoding::Thrift)),
        ],
        ZIPKIN_V2 => &[
            (JSON, Format::Zipkin(zipkin::Encoding::JsonV2)),
            (PROTOBUF, Format::Zipkin(zipkin::Encoding::Protobuf)),
            (
                "application/protobuf",
                Format::Zipkin(zipkin::Encoding::Protobuf),
            ),
        ],
        _ => &[
            (PROTOBUF, Format::OtlpProtobuf),
            ("application/protobuf", Format::OtlpProtobuf),
            (JSON, Format::OtlpJson),
        ],
    };
    // Zipkin treats a request without a content type as JSON. A browser sends one for any site without a
    // preflight, but with `Origin`; with a content type of JSON it would send a preflight first.
    if let [(JSON, zipkin), ..] = known
        && !headers.contains_key(CONTENT_TYPE)
        && (is_allowed_origin || !headers.contains_key(ORIGIN))
    {
        return Some(*zipkin);
    }
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = match value.split(';').next()?.trim() {
        text if is_allowed_origin && text.eq_ignore_ascii_case("text/plain") => JSON,
        essence => essence,
    };
    let (_, format) = known
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(essence))?;
    Some(*format)
}

fn content_encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let Some(value) = headers.get(CONTENT_ENCODING) else {
        return Ok(Encoding::Identity);
    };
    let name = String::from_utf8_lossy(value.as_bytes());
    Encoding::from_name(&name).ok_or_else(|| Refusal::Encoding(name.into_owned()))
}

/// Returns whether the sender waits for `100 Continue` before it sends the body: then a rejection need not
/// read it.
fn expects_continue(headers: &HeaderMap) -> bool {
    headers
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn confirm(accepted: &Accepted, format: Option<Format>) -> Response<Full<Bytes>> {
    match format {
        Some(Format::OtlpJson) => respond(StatusCode::OK, JSON, otlp::to_json(accepted)),
        Some(Format::Zipkin(_)) => respond(StatusCode::ACCEPTED, TEXT, Vec::new()),
        _ => respond(StatusCode::OK, PROTOBUF, otlp::to_protobuf(accepted)),
    }
}

fn refuse(refusal: &Refusal, format: Option<Format>) -> Response<Full<Bytes>> {
    let status = Status::new(refusal.code(), refusal.to_string(), refusal.retry_after());
    let (content_type, body) = match (refusal, format) {
        (Refusal::NotFound(_) | Refusal::MethodNotAllowed | Refusal::MediaType(_), _)
        | (_, None | Some(Format::Zipkin(_))) => (TEXT, format!("{refusal}\n").into_bytes()),
        (_, Some(Format::OtlpJson)) => (JSON, status.to_json()),
        (_, Some(Format::OtlpProtobuf)) => (PROTOBUF, status.encode_to_vec()),
    };
    let mut response = respond(refusal.http_status(), content_type, body);
    let headers = response.headers_mut();
    if let Some(delay) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(delay.as_secs()));
    }
    match refusal {
        Refusal::MethodNotAllowed => {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        Refusal::Encoding(_) => {
            headers.insert(
                ACCEPT_ENCODING,
                HeaderValue::from_static(Encoding::ACCEPTED),
            );
        }
        Refusal::Unauthenticated => {
            headers.insert(WWW_AUTHENTICATE, BEARER_CHALLENGE);
        }
        _ => {}
    }
    response
}

fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
