//! Messages over gRPC: OTLP's three unary methods, Zipkin's one and that of the control channel, on the HTTP
//! stack of the other listeners; and gRPC's health and reflection. Pages in browsers call the first four by gRPC-web, on
//! every listener.
//!
//! gRPC is HTTP/2 with a five-byte frame and trailers. Writing these by hand keeps the message as one piece
//! of raw bytes (it is walked, never decoded) and avoids a second server stack.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, request};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, timeout_at};

use super::body::RequestBody;
use super::control::PollRefusal;
use super::decompress::Encoding;
use super::grpc::web::{self, Web};
use super::grpc::{
    GrpcBody, answer_by, fail, frame, health, is_grpc, message_length, not_grpc, reflection,
    refusal_trailers, short_trailers, succeed, success_trailers, unframe,
};
use super::intake::Intake;
use super::refusal::Refusal;
use super::{body, control, cors, otlp};
use crate::codec::Format;
use crate::pipeline::Reservation;

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

#[derive(Debug, Clone)]
pub(crate) struct OtlpGrpc {
    intake: Intake,
}

impl OtlpGrpc {
    pub(crate) fn new(intake: Intake) -> Self {
        Self { intake }
    }

    /// Answers a page in a browser, which calls, or asks whether it may; `None` where a request is of no page.
    pub(crate) async fn serve_web<B: RequestBody>(
        &self,
        head: &request::Parts,
        body: &mut B,
    ) -> Option<Response<Full<Bytes>>> {
        if let Some(answer) = self.intake.cors.preflight(head) {
            return Some(answer);
        }
        let web = Web::of(head)?;
        let outcome = self.call(head, Some(web), body).await;
        if outcome.is_err() {
            body::discard(body).await;
        }
        let mut answer = match outcome {
            Ok(message) => web.answer(&frame(&message), &success_trailers()),
            Err(refusal) => web.answer(b"", &refusal_trailers(&refusal)),
        };
        if let Some(origin) = self.intake.cors.allowed(&head.headers) {
            cors::grant(&mut answer, origin);
        }
        Some(answer)
    }

    /// Answers one call.
    pub(crate) async fn serve<B: RequestBody + Send + 'static>(
        self,
        request: Request<B>,
    ) -> Result<Response<GrpcBody>, Infallible> {
        let (head, mut body) = request.into_parts();
        if let Some(answer) = self.serve_web(&head, &mut body).await {
            return Ok(answer.map(BodyExt::boxed_unsync));
        }
        let path = head.uri.path();
        if reflection::PATHS.contains(&path) && is_grpc(&head) {
            return Ok(self
                .reflect(&head, body)
                .await
                .unwrap_or_else(|refusal| refuse(&refusal)));
        }
        let held = match path {
            _ if !is_grpc(&head) => None,
            health::WATCH => Some(self.watch(&head, &mut body).await),
            _ if control::GRPC_PATHS.contains(&path) => {
                let framed = control::call(&self.intake, &head, &mut body).await;
                Some(framed.map(succeed))
            }
            _ => None,
        };
        if let Some(answer) = held {
            let refuse =
                |refusal: PollRefusal| fail(short_trailers(refusal.code(), &refusal.to_string()));
            return Ok(answer.unwrap_or_else(refuse));
        }
        // Unlike in HTTP/1.1 a rejected body need not be read to its end: HTTP/2 resets the stream with
        // NO_ERROR.
        Ok(match self.call(&head, None, &mut body).await {
            Ok(answer) => confirm(&answer),
            Err(Refusal::MediaType(why)) => not_grpc(why),
            Err(refusal) => refuse(&refusal),
        })
    }

    /// Answers with the health and its changes; without a token, as a single check.
    async fn watch<B: RequestBody>(
        &self,
        head: &request::Parts,
        body: &mut B,
    ) -> Result<Response<GrpcBody>, PollRefusal> {
        let question = unframe(health::read(body).await?)?;
        let place = control::count(&self.intake, head)?;
        self.intake.probed(head);
        let health = self.intake.ingest.health().clone();
        Ok(health::watch(&question.message, health, place)?)
    }

    async fn reflect<B: RequestBody + Send + 'static>(
        &self,
        head: &request::Parts,
        body: B,
    ) -> Result<Response<GrpcBody>, Refusal> {
        self.intake.authorize(head).await?;
        Ok(reflection::serve(body))
    }

    /// Returns the message that answers a call in time, and counts how it went.
    async fn call<B: RequestBody>(
        &self,
        head: &request::Parts,
        web: Option<Web>,
        body: &mut B,
    ) -> Result<Vec<u8>, Refusal> {
        let tally = self.intake.tally();
        let deadline = answer_by(&head.headers, Instant::now());
        let answer = self.answer(head, web, deadline, body);
        let outcome = match deadline {
            Some(at) => timeout_at(at, answer)
                .await
                .unwrap_or(Err(Refusal::Deadline)),
            None => answer.await,
        };
        tally.settle(&outcome);
        outcome
    }

    /// Returns the message that answers a call.
    async fn answer<B: RequestBody>(
        &self,
        head: &request::Parts,
        web: Option<Web>,
        deadline: Option<Instant>,
        body: &mut B,
    ) -> Result<Vec<u8>, Refusal> {
        if web.is_none() && !is_grpc(head) {
            return Err(Refusal::MediaType(
                "this port speaks gRPC (HTTP/2, POST, application/grpc); OTLP/HTTP has its own port (4318)",
            ));
        }
        let path = head.uri.path();
        if path == health::CHECK {
            // Like `/healthz`, without a token or a reservation: a full collector is alive.
            let sent = health::read(body).await?;
            let framed = match web {
                Some(Web::Text) => unframe(web::decode_text(&sent)?)?,
                _ => unframe(sent)?,
            };
            self.intake.probed(head);
            let is_healthy = self.intake.ingest.health().problem().is_none();
            return health::answer(&framed.message, is_healthy);
        }
        self.intake.authorize(head).await?;
        let (signal, format) = otlp::message_of_grpc_path(path)
            .ok_or_else(|| Refusal::UnknownMethod(path.to_owned()))?;
        let encoding = message_encoding(&head.headers)?;
        let mut reservation = self.intake.begin(deadline)?;
        let sent = self.read(web, body, &mut reservation).await?;
        let message = self.unpack(sent, encoding, &mut reservation).await?;
        let accepted = self
            .intake
            .accept(signal, format, message, reservation)
            .await?;
        Ok(match format {
            // Zipkin's `ReportResponse` has no fields.
            Format::Zipkin(_) => Vec::new(),
            _ => otlp::to_protobuf(&accepted),
        })
    }

    /// Reads the frame of a call.
    async fn read<B: RequestBody>(
        &self,
        web: Option<Web>,
        body: &mut B,
        reservation: &mut Reservation,
    ) -> Result<Bytes, Refusal> {
        if web != Some(Web::Text) {
            return self.intake.read(body, message_length, reservation).await;
        }
        let text = self.intake.read(body, |_| None, reservation).await?;
        reservation.resize(text.len() / 4 * 7).await?;
        let framed = web::decode_text(&text)?;
        drop(text);
        reservation.resize(framed.len()).await?;
        Ok(framed)
    }

    /// Returns the message of a frame, inflated.
    async fn unpack(
        &self,
        sent: Bytes,
        encoding: Encoding,
        reservation: &mut Reservation,
    ) -> Result<Bytes, Refusal> {
        let framed = unframe(sent)?;
        match (framed.compressed, encoding) {
            (false, _) => Ok(framed.message),
            (true, Encoding::Identity) => Err(Refusal::Malformed(
                "the message is marked as compressed, without a grpc-encoding".to_owned(),
            )),
            (true, encoding) => {
                self.intake
                    .inflate(framed.message, encoding, reservation)
                    .await
            }
        }
    }
}

fn message_encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let Some(value) = headers.get(GRPC_ENCODING) else {
        return Ok(Encoding::Identity);
    };
    let name = String::from_utf8_lossy(value.as_bytes());
    Encoding::from_name(&name).ok_or_else(|| Refusal::Encoding(name.into_owned()))
}

fn confirm(message: &[u8]) -> Response<GrpcBody> {
    succeed(frame(message))
}

fn refuse(refusal: &Refusal) -> Response<GrpcBody> {
    fail(refusal_trailers(refusal))
}
