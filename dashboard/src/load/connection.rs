//! One connection, HTTP/1.1 or gRPC over HTTP/2, and the meaning of its answers.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::endpoint::Endpoint;
use fusebox_collector::codec::otlp::rejected_spans;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The wait before a retry without a hint.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);
/// The longest wait, whatever the hint.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// gRPC's RESOURCE_EXHAUSTED and UNAVAILABLE.
const RESOURCE_EXHAUSTED: &str = "8";
const UNAVAILABLE: &str = "14";

/// The answer of a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Accepted, fully or partially.
    Accepted {
        /// Spans rejected (partial success).
        refused_spans: u64,
    },
    /// To be sent again later.
    Later {
        /// The status as text.
        status: String,
        /// How long to wait before that.
        wait: Duration,
    },
    /// Finally refused.
    Refused {
        /// The status as text.
        status: String,
    },
}

/// An open connection.
#[derive(Debug)]
pub(super) enum Connection {
    Http(http1::SendRequest<Full<Bytes>>),
    Grpc(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    pub(super) async fn open(endpoint: &Endpoint) -> Result<Self, Error> {
        let stream = TcpStream::connect(endpoint.authority()).await?;
        // The last packet of a request must not wait for the acknowledgement of the one before.
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        if endpoint.grpc {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(driver);
            Ok(Self::Grpc(sender))
        } else {
            let (sender, driver) = http1::handshake(io).await?;
            tokio::spawn(driver);
            Ok(Self::Http(sender))
        }
    }

    pub(super) async fn send(&mut self, endpoint: &Endpoint, body: Bytes) -> Result<Answer, Error> {
        let request = endpoint.request(Full::new(body));
        match self {
            Self::Http(sender) => {
                sender.ready().await?;
                http_answer(sender.send_request(request).await?).await
            }
            Self::Grpc(sender) => {
                sender.ready().await?;
                grpc_answer(sender.send_request(request).await?).await
            }
        }
    }
}

async fn http_answer(response: http::Response<Incoming>) -> Result<Answer, Error> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    let status = head.status.as_u16().to_string();
    Ok(match head.status {
        success if success.is_success() => Answer::Accepted {
            refused_spans: rejected_spans(&body).unwrap_or(0),
        },
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Answer::Later {
            status,
            wait: retry_after(&head.headers),
        },
        _ => Answer::Refused { status },
    })
}

fn retry_after(headers: &HeaderMap) -> Duration {
    headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map_or(DEFAULT_WAIT, Duration::from_secs)
        .min(MAX_WAIT)
}

async fn grpc_answer(response: http::Response<Incoming>) -> Result<Answer, Error> {
    let (head, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned();
    // An answer without a message may have its status in the headers.
    let trailers = trailers.unwrap_or(head.headers);
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
    let hint = text("google.rpc.retryinfo-bin").or(text("grpc-status-details-bin"));
    Ok(match text("grpc-status") {
        Some("0") => Answer::Accepted {
            refused_spans: message_rejected(collected.to_bytes()),
        },
        // RESOURCE_EXHAUSTED without a retry hint means: do not retry.
        Some(status @ (RESOURCE_EXHAUSTED | UNAVAILABLE))
            if status == UNAVAILABLE || hint.is_some() =>
        {
            Answer::Later {
                status: format!("grpc {status}"),
                wait: DEFAULT_WAIT,
            }
        }
        Some(status) => Answer::Refused {
            status: format!("grpc {status}"),
        },
        None => Answer::Refused {
            status: format!("{} without grpc-status", head.status.as_u16()),
        },
    })
}

/// Returns the rejected spans of a framed message; it is never compressed, as that was not requested.
fn message_rejected(mut framed: Bytes) -> u64 {
    if framed.len() < 5 {
        return 0;
    }
    framed.advance(5);
    rejected_spans(&framed).unwrap_or(0)
}
