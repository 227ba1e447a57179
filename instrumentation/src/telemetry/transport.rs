//! The connections of all exports: HTTP/1.1 and gRPC, in plain text or over TLS by rustls with ring.
//!
//! The connections have their own thread and runtime, so that an export does not need the application's runtime, which
//! may be shutting down. An exporter passes in a request and waits for the response on its own thread.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{mpsc, oneshot};
use tracing::Dispatch;

use super::InitError;
use super::protocol::Protocol;

/// Most bytes of a response that are read.
const MAX_RESPONSE: usize = 64 * 1024;
/// Bytes before a gRPC message: whether it is compressed, and its length.
const GRPC_PREFIX: usize = 5;
/// How long an idle connection is kept: shorter than proxies do (60 s and more), which may close it just as a request
/// arrives.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

type Connections = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Passes requests to the thread of the connections, which ends with the last handle.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    /// Each exporter has at most one request in progress.
    jobs: mpsc::UnboundedSender<Job>,
}

#[derive(Debug)]
struct Job {
    protocol: Protocol,
    request: Request<Bytes>,
    timeout: Duration,
    done: oneshot::Sender<Result<Response<Bytes>, TransportError>>,
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("{0}")]
    Connection(String),
    #[error("answer longer than {MAX_RESPONSE} bytes")]
    TooLong,
    #[error("the export thread has ended")]
    Ended,
}

impl Transport {
    /// Starts the thread. `authorities` are read from a file and replace the system's.
    pub(crate) fn start(authorities: Option<RootCertStore>) -> Result<Self, InitError> {
        let roots = authorities.unwrap_or_else(system_roots);
        let (jobs, queue) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(InitError::Thread)?;
        let serve = move || {
            // Logs of the HTTP and TLS libraries must not be exported in turn.
            tracing::dispatcher::with_default(&Dispatch::none(), || {
                runtime.block_on(serve(queue, roots));
            });
        };
        let thread = std::thread::Builder::new().name("fusebox-export".into());
        thread.spawn(serve).map_err(InitError::Thread)?;
        Ok(Self { jobs })
    }

    /// Sends a request; the future needs no runtime.
    pub(crate) async fn send(
        &self,
        protocol: Protocol,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, TransportError> {
        self.hand_in(protocol, request, timeout)
            .await
            .unwrap_or(Err(TransportError::Ended))
    }

    /// As [`send`](Self::send), blocking this thread, which must not run a runtime.
    pub(super) fn send_blocking(
        &self,
        protocol: Protocol,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, TransportError> {
        self.hand_in(protocol, request, timeout)
            .blocking_recv()
            .unwrap_or(Err(TransportError::Ended))
    }

    fn hand_in(
        &self,
        protocol: Protocol,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> oneshot::Receiver<Result<Response<Bytes>, TransportError>> {
        let (done, response) = oneshot::channel();
        // If the thread has ended, the channel of the response is closed.
        let _ = self.jobs.send(Job {
            protocol,
            request,
            timeout,
            done,
        });
        response
    }
}

async fn serve(mut queue: mpsc::UnboundedReceiver<Job>, roots: RootCertStore) {
    let (http, grpc) = (connections(&roots, false), connections(&roots, true));
    while let Some(job) = queue.recv().await {
        let connections = match job.protocol {
            Protocol::HttpProtobuf => http.clone(),
            Protocol::Grpc => grpc.clone(),
        };
        tokio::spawn(async move {
            let exchange = exchange(connections, job.protocol, job.request);
            let result = tokio::time::timeout(job.timeout, exchange).await;
            let result = result.unwrap_or(Err(TransportError::TimedOut(job.timeout)));
            let _ = job.done.send(result);
        });
    }
}

async fn exchange(
    connections: Connections,
    protocol: Protocol,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, TransportError> {
    let request = match protocol {
        Protocol::HttpProtobuf => request,
        Protocol::Grpc => to_grpc(request),
    };
    let response = connections.request(request.map(Full::new)).await;
    let response = response.map_err(|error| connection_error(&error))?;
    let (mut head, body) = response.into_parts();
    let body = Limited::new(body, MAX_RESPONSE).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => TransportError::TooLong,
        false => connection_error(&*error),
    })?;
    if protocol == Protocol::Grpc && head.status.is_success() {
        head.status = grpc_status(&head.headers, body.trailers());
    }
    let body = body.to_bytes();
    let body = match protocol {
        Protocol::HttpProtobuf => body,
        Protocol::Grpc => body.slice(GRPC_PREFIX.min(body.len())..),
    };
    Ok(Response::from_parts(head, body))
}

/// Frames the message of an OTLP request as gRPC does.
fn to_grpc(mut request: Request<Bytes>) -> Request<Bytes> {
    let headers = request.headers_mut();
    let compression = headers.remove(header::CONTENT_ENCODING);
    let is_compressed = u8::from(compression.is_some());
    headers.extend(compression.map(|how| (header::HeaderName::from_static("grpc-encoding"), how)));
    let content_type = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.remove(header::CONTENT_LENGTH);
    request.map(|message| {
        let mut framed = BytesMut::with_capacity(GRPC_PREFIX + message.len());
        framed.put_u8(is_compressed);
        // The SDK's limits keep a message far below 4 GiB.
        framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        framed.put(message);
        framed.freeze()
    })
}

/// Returns the HTTP status that corresponds to gRPC's; it decides whether to send again.
fn grpc_status(headers: &HeaderMap, trailers: Option<&HeaderMap>) -> StatusCode {
    let status = |headers: &HeaderMap| headers.get("grpc-status").cloned();
    let status = status(headers).or_else(|| trailers.and_then(status));
    let number = status.and_then(|status| status.to_str().ok()?.parse::<u8>().ok());
    match number {
        Some(0) => StatusCode::OK,
        // The retryable codes of the OTLP specification.
        Some(1 | 4 | 10 | 11 | 14 | 15) => StatusCode::SERVICE_UNAVAILABLE,
        Some(8) => StatusCode::TOO_MANY_REQUESTS,
        Some(7) => StatusCode::FORBIDDEN,
        Some(12) => StatusCode::NOT_FOUND,
        Some(16) => StatusCode::UNAUTHORIZED,
        Some(3) => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Uses the message of the innermost cause: refused, unknown name, bad certificate.
fn connection_error(error: &(dyn std::error::Error + 'static)) -> TransportError {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    let innermost = chain.last().map(ToString::to_string);
    TransportError::Connection(innermost.unwrap_or_default())
}

fn connections(roots: &RootCertStore, is_grpc: bool) -> Connections {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3")
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    let connector = match is_grpc {
        true => connector.enable_http2().wrap_connector(tcp),
        false => connector.enable_http1().wrap_connector(tcp),
    };
    Client::builder(TokioExecutor::new())
        .http2_only(is_grpc)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_timer(TokioTimer::new())
        .build(connector)
}

/// Returns the authorities that the system trusts; without any, no https endpoint can be reached.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Reads the authorities of a PEM file.
pub(super) fn roots_of_file(path: &str) -> Result<RootCertStore, String> {
    let describe =
        |what: &dyn Display| format!("certificates {path:?}: {what}; the system's are used");
    let pem = std::fs::read(path).map_err(|error| describe(&error))?;
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err(describe(&"no certificate that can be read")),
        _ => Ok(roots),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_a_problem() {
        let folder = std::env::temp_dir();
        let path = folder.join(format!("fusebox-authorities-{}.pem", std::process::id()));
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let path = path.to_str().unwrap();
        for text in ["", "no certificate", broken, &key.serialize_pem()] {
            std::fs::write(path, text).unwrap();
            let problem = roots_of_file(path).unwrap_err();
            let expected = "no certificate that can be read; the system's are used";
            assert!(problem.ends_with(expected), "{problem}");
        }
        std::fs::write(path, certificate).unwrap();
        assert_eq!(roots_of_file(path).unwrap().len(), 1);
        std::fs::remove_file(path).unwrap();
        assert!(roots_of_file(path).unwrap_err().contains("certificates"));
    }
}
