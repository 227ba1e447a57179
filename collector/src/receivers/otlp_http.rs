//! OTLP over HTTP: protobuf and JSON, compressed or not, with or without Content-Length.
//!
//! Answers are in the request's encoding, as the OTLP specification asks: an export response, or a
//! `google.rpc.Status`. What is wrong before a body is looked at (path, method, content type) is plain text.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, request};
use http_body::Body;
use http_body_util::Full;
use prost::Message;

use super::body;
use super::decompress::Encoding;
use super::intake::Intake;
use super::refusal::Refusal;
use super::rpc::Status;
use super::signal::{Signal, Taken};
use crate::pipeline::Patience;

/// Serves OTLP/HTTP; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct OtlpHttp {
    intake: Intake,
}

/// How a request, and so its answer, is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Protobuf,
    Json,
    /// For what is wrong before the format is known.
    Text,
}

impl OtlpHttp {
    /// Returns a receiver that hands over to that intake.
    pub(crate) fn new(intake: Intake) -> Self {
        Self { intake }
    }

    /// Answers one request.
    pub(crate) async fn serve<B>(
        self,
        request: Request<B>,
    ) -> Result<Response<Full<Bytes>>, Infallible>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let tally = self.intake.tally();
        let (head, mut body) = request.into_parts();
        let format = Format::of(&head.headers);
        let outcome = self.export(&head, format, &mut body).await;
        if outcome.is_err() && !waits_to_be_asked(&head.headers) {
            body::discard(&mut body).await;
        }
        tally.settle(&outcome);
        Ok(match outcome {
            Ok(taken) => confirm(&taken, format.unwrap_or(Format::Text)),
            Err(refusal) => refuse(&refusal, format.unwrap_or(Format::Text)),
        })
    }

    async fn export<B>(
        &self,
        head: &request::Parts,
        format: Option<Format>,
        body: &mut B,
    ) -> Result<Taken, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let signal = Signal::from_http_path(head.uri.path())
            .ok_or_else(|| Refusal::NotFound(head.uri.path().to_owned()))?;
        if head.method != Method::POST {
            return Err(Refusal::MethodNotAllowed);
        }
        self.intake.authorize(&head.headers)?;
        let format = format.ok_or(Refusal::MediaType(
            "OTLP/HTTP bodies are application/x-protobuf or application/json; gRPC has its own port (4317)",
        ))?;
        let encoding = content_encoding(&head.headers)?;
        let mut reservation = self.intake.begin(Patience::until(None))?;
        let sent = self.intake.read(body, |_| None, &mut reservation).await?;
        let mut message = self
            .intake
            .inflate(sent, encoding, &mut reservation)
            .await?;
        if format == Format::Json {
            message = self
                .intake
                .transcode(signal, message, &mut reservation)
                .await?;
        }
        self.intake.take(signal, message, reservation).await
    }
}

impl Format {
    /// Returns the format of a content type; its parameters and its case do not matter.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = value.split(';').next()?.trim();
        let known = [
            ("application/x-protobuf", Self::Protobuf),
            ("application/protobuf", Self::Protobuf),
            ("application/json", Self::Json),
        ];
        known
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(essence))
            .map(|&(_, format)| format)
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
        })
    }
}

/// Returns how the body is compressed.
fn content_encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let Some(value) = headers.get(CONTENT_ENCODING) else {
        return Ok(Encoding::Identity);
    };
    let name = String::from_utf8_lossy(value.as_bytes());
    Encoding::from_name(&name).ok_or_else(|| Refusal::Encoding(name.into_owned()))
}

/// Returns whether the sender holds its body back until we ask for it: then a refusal need not read it.
fn waits_to_be_asked(headers: &HeaderMap) -> bool {
    headers
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn confirm(taken: &Taken, format: Format) -> Response<Full<Bytes>> {
    let body = match format {
        Format::Json => taken.to_json(),
        Format::Protobuf | Format::Text => taken.to_protobuf(),
    };
    respond(StatusCode::OK, format, body)
}

fn refuse(refusal: &Refusal, format: Format) -> Response<Full<Bytes>> {
    let format = match refusal {
        Refusal::NotFound(_) | Refusal::MethodNotAllowed | Refusal::MediaType(_) => Format::Text,
        _ => format,
    };
    let status = Status::new(refusal.code(), refusal.to_string(), refusal.retry_after());
    let body = match format {
        Format::Protobuf => status.encode_to_vec(),
        Format::Json => status.to_json(),
        Format::Text => format!("{refusal}\n").into_bytes(),
    };
    let mut response = respond(refusal.http_status(), format, body);
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
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"fusebox\""),
            );
        }
        _ => {}
    }
    response
}

fn respond(status: StatusCode, format: Format, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, format.content_type());
    response
}
